//! Which servers a login was given for, and that no other gets it. Pure.
//!
//! A login is user, password and client certificate of a broker, or user, password and secret of a TURN server. It is
//! bound to the servers of its own layer or, where that names none, of the next layer below. A server is its scheme,
//! host and port: `mqtt://` and `mqtts://` of one host are two.
//!
//! - [`Servers::of`]: the servers that each layer names
//! - [`Servers::withholds`]: whether a login of a layer must not go to the servers in force
//! - [`Withheld`]: what is not sent, for the user
//! - [`keep_bound`]: the same for peers of a test, whose file may name servers of its own

use std::collections::BTreeMap;
use std::ffi::OsString;

use media::peer::config::{IceServerKind, IceUrl};
use signalling::mqtt::{BrokerUrl, Scheme};

use super::definition;
use super::values::{Choice, Origin};

/// Settings that belong together: servers, and what lets us in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Broker,
    Ice,
}

impl Group {
    pub(crate) const ALL: [Self; 2] = [Self::Broker, Self::Ice];

    /// The key that names the servers.
    pub(crate) const fn servers(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Ice => "ice",
        }
    }

    /// The keys that hold the login, those for files and for the environment alone too.
    pub(crate) const fn logins(self) -> &'static [&'static str] {
        match self {
            Self::Broker => &["user", "password-file", "password", "cert", "key"],
            Self::Ice => &["ice-user", "ice-password-file", "ice-password", "ice-secret-file", "ice-secret"],
        }
    }

    /// The group whose login this key is part of.
    pub(crate) fn of_login(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.logins().contains(&key))
    }

    /// What tells the servers of these addresses apart; nothing for one that takes no login.
    fn identities(self, addresses: &[String]) -> Vec<String> {
        addresses.iter().filter_map(|address| self.identity(address)).collect()
    }

    fn identity(self, address: &str) -> Option<String> {
        // What is no address is refused elsewhere; until then it is a server of its own.
        match self {
            Self::Broker => Some(address.parse::<BrokerUrl>().map_or_else(
                |_| address.to_owned(),
                |url| {
                    let scheme = match url.scheme {
                        Scheme::Mqtt => "mqtt",
                        Scheme::Mqtts => "mqtts",
                        Scheme::Ws => "ws",
                        Scheme::Wss => "wss",
                    };
                    format!("{scheme} {} {}", url.host.to_ascii_lowercase(), url.port)
                },
            )),
            Self::Ice => match address.parse::<IceUrl>() {
                Ok(IceUrl { kind: IceServerKind::Stun, .. }) => None,
                // Its text holds scheme, host, port and transport.
                Ok(url) => Some(url.to_string().to_ascii_lowercase()),
                Err(_) => Some(address.to_owned()),
            },
        }
    }

    /// What to pass for a login of its own.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Broker => "pass a login of its own with it: --user and --password-file, or --cert and --key",
            Self::Ice => "pass a login of its own with it: --ice-user and --ice-password-file, or --ice-secret-file",
        }
    }
}

/// Takes the logins out of what a peer inherits, settings and variables, that are not for the servers named for that peer
/// alone: `named` has the settings of a file that somebody else may have written. The groups that lost something.
pub(crate) fn keep_bound(
    named: &BTreeMap<String, Vec<String>>,
    settings: &mut BTreeMap<String, Vec<String>>,
    env: &mut BTreeMap<String, String>,
) -> Vec<Group> {
    let mut lost = Vec::new();
    for group in Group::ALL {
        let Some(servers) = named.get(group.servers()) else { continue };
        let given = settings.get(group.servers()).map(Vec::as_slice).unwrap_or_default();
        if is_covered(group, servers, given) {
            continue;
        }
        let before = settings.len() + env.len();
        for key in group.logins() {
            settings.remove(*key);
            env.remove(&definition::variable(key));
        }
        if settings.len() + env.len() < before {
            lost.push(group);
        }
    }
    lost
}

/// True when every server of `named` that takes a login is one of `given`.
fn is_covered(group: Group, named: &[String], given: &[String]) -> bool {
    let given = group.identities(given);
    group.identities(named).iter().all(|server| given.contains(server))
}

/// The servers that the layers name, the highest layer first.
#[derive(Debug)]
pub(super) struct Servers {
    group: Group,
    layers: Vec<(Origin, Vec<String>)>,
    default: Vec<String>,
}

impl Servers {
    /// Takes note of what each layer names, the highest first, and of what holds where none does.
    pub(super) fn of(group: Group, layers: &[Choice], default: Vec<String>) -> Self {
        let layers = layers.iter().map(|choice| (choice.origin.clone(), texts(&choice.values))).collect();
        Self { group, layers, default }
    }

    /// What is in force.
    fn now(&self) -> &[String] {
        self.layers.first().map_or(&self.default, |(_, addresses)| addresses)
    }

    /// The servers that a login of this layer was given for.
    fn given_with(&self, login: &Origin) -> &[String] {
        let own_or_below = self.layers.iter().find(|(origin, _)| origin.rank() >= login.rank());
        if let Some((_, addresses)) = own_or_below {
            return addresses;
        }
        match login {
            // Both are said for one run: what is typed names the server that the variables are for.
            Origin::Flag | Origin::Variable(_) => self.now(),
            // A login at the top of a file that names no server there is for the servers of its profiles.
            Origin::Profile { .. } | Origin::Top { .. } | Origin::Default => {
                let of_profile = self.layers.iter().find(|(origin, _)| matches!(origin, Origin::Profile { .. }));
                of_profile.map_or(&self.default, |(_, addresses)| addresses)
            }
        }
    }

    /// What is said of a login of this layer that must not go to the servers in force; `None` when it may.
    pub(super) fn withholds(&self, key: &str, login: &Origin) -> Option<Withheld> {
        let given = self.given_with(login);
        (!is_covered(self.group, self.now(), given)).then(|| Withheld {
            group: self.group,
            keys: vec![key.to_owned()],
            origin: login.clone(),
            given_with: given.to_vec(),
            now: self.now().to_vec(),
        })
    }
}

/// Part of a login that is not sent, since it was given for other servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Withheld {
    pub(crate) group: Group,
    /// Settings of one layer.
    keys: Vec<String>,
    origin: Origin,
    given_with: Vec<String>,
    now: Vec<String>,
}

impl Withheld {
    /// Puts together what is of one layer and so was given for the same servers.
    pub(super) fn add_to(self, all: &mut Vec<Self>) {
        let is_of_it = |other: &&mut Self| other.group == self.group && other.origin.rank() == self.origin.rank();
        match all.iter_mut().find(is_of_it) {
            Some(other) => other.keys.extend(self.keys),
            None => all.push(self),
        }
    }

    /// What is not sent and why. `file` is the settings file.
    pub(crate) fn words(&self, file: &str) -> String {
        let keys = match self.keys.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => self.keys.concat(),
        };
        let origin = match &self.origin {
            Origin::Variable(_) => "environment".to_owned(),
            Origin::Profile { name, .. } => format!("profile {name} in {file}"),
            Origin::Top { .. } => file.to_owned(),
            origin @ (Origin::Flag | Origin::Default) => origin.words(file),
        };
        let given = match &self.given_with[..] {
            [] => "were given without a server".to_owned(),
            servers => format!("are for {}", servers.join(", ")),
        };
        let now = self.now.join(", ");
        format!("{keys} ({origin}) {given}, and are not sent to {now}")
    }
}

/// Several addresses in one text are told apart by commas, as in a variable.
fn texts(values: &[OsString]) -> Vec<String> {
    let texts = values.iter().map(|value| value.to_string_lossy().into_owned()).collect::<Vec<String>>();
    texts.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(origin: Origin, servers: &str) -> Choice {
        Choice { origin, values: vec![servers.into()] }
    }

    fn variable() -> Origin {
        Origin::Variable("TRING_X".into())
    }

    fn profile() -> Origin {
        Origin::Profile { name: "home".into(), line: 3 }
    }

    fn top() -> Origin {
        Origin::Top { line: 1 }
    }

    fn is_withheld(group: Group, layers: &[(Origin, &str)], login: &Origin) -> bool {
        let layers: Vec<Choice> = layers.iter().map(|(origin, servers)| choice(origin.clone(), servers)).collect();
        let default = if group == Group::Broker { vec!["mqtt://127.0.0.1:1883".to_owned()] } else { Vec::new() };
        Servers::of(group, &layers, default).withholds("user", login).is_some()
    }

    #[test]
    fn a_login_stays_with_the_servers_of_its_layer() {
        use Origin::Flag;
        let broker = |layers: &[(Origin, &str)], login: &Origin| is_withheld(Group::Broker, layers, login);
        let home = (profile(), "mqtts://home,mqtts://spare");
        // Nothing above the profile names another server.
        assert!(!broker(std::slice::from_ref(&home), &profile()));
        assert!(!broker(&[(Flag, "mqtts://SPARE:8883"), home.clone()], &profile()), "one of the list");
        for other in
            ["mqtts://other", "mqtt://home:8883", "mqtts://home:8884", "mqtts://home,mqtts://other", "wss://home"]
        {
            assert!(broker(&[(Flag, other), home.clone()], &profile()), "{other}");
            assert!(broker(&[(variable(), other), home.clone()], &profile()), "{other}");
            // What is given on the layer that names the server is for that server.
            assert!(!broker(&[(variable(), other), home.clone()], &variable()), "{other}");
            assert!(!broker(&[(Flag, other), home.clone()], &Flag), "{other}");
            // A password in the environment was for the server that was in force below.
            assert!(broker(&[(Flag, other), home.clone()], &variable()), "{other}");
        }
        // Without any other server it is for the one that is typed.
        assert!(!broker(&[(Flag, "mqtt://typed")], &variable()));
        // A file without a broker speaks of the default one.
        assert!(broker(&[(Flag, "mqtt://typed")], &profile()));
        assert!(!broker(&[(Flag, "mqtt://127.0.0.1")], &profile()));
        assert!(!broker(&[], &profile()));
    }

    #[test]
    fn the_top_of_a_file_is_for_its_profiles_unless_it_names_a_server_too() {
        let broker = |layers: &[(Origin, &str)], login: &Origin| is_withheld(Group::Broker, layers, login);
        assert!(!broker(&[(profile(), "mqtts://home")], &top()));
        assert!(broker(&[(Origin::Flag, "mqtts://other"), (profile(), "mqtts://home")], &top()));
        assert!(broker(&[(profile(), "mqtts://home"), (top(), "mqtts://top")], &top()));
        assert!(!broker(&[(top(), "mqtts://top")], &profile()), "a profile takes the server of the top");
    }

    #[test]
    fn stun_servers_take_no_login() {
        let ice = |layers: &[(Origin, &str)], login: &Origin| is_withheld(Group::Ice, layers, login);
        let home = (profile(), "stun:a,turn:home");
        assert!(!ice(&[(Origin::Flag, "stun:other"), home.clone()], &profile()));
        assert!(!ice(&[(Origin::Flag, "stun:other,turn:HOME:3478?transport=udp"), home.clone()], &profile()));
        assert!(ice(&[(Origin::Flag, "turn:other"), home], &profile()));
        assert!(ice(&[(Origin::Flag, "turn:other")], &profile()), "a file that names no server gives to none");
        assert!(!ice(&[(Origin::Flag, "turn:other")], &variable()));
    }

    #[test]
    fn a_server_that_a_scenario_names_gets_no_login_of_the_options() {
        let all = |pairs: &[(&str, &str)]| {
            let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), vec![(*value).to_owned()]);
            pairs.iter().map(pair).collect::<BTreeMap<String, Vec<String>>>()
        };
        let inherited =
            all(&[("broker", "mqtts://ours"), ("user", "u"), ("ice", "turn:ours"), ("ice-user", "i"), ("fps", "9")]);
        let variables = ["TRING_PASSWORD", "TRING_ICE_SECRET"].map(|name| (name.to_owned(), "x".to_owned()));
        let left = |named: &[(&str, &str)]| {
            let (mut settings, mut env) = (inherited.clone(), BTreeMap::from(variables.clone()));
            let lost = keep_bound(&all(named), &mut settings, &mut env);
            (lost, settings.into_keys().collect::<Vec<_>>().join(" "), env.into_keys().collect::<Vec<_>>().join(" "))
        };
        let (lost, settings, env) = left(&[("broker", "mqtt://ours"), ("user", "mine")]);
        assert_eq!((lost, settings.as_str()), (vec![Group::Broker], "broker fps ice ice-user"));
        assert_eq!(env, "TRING_ICE_SECRET");
        let (lost, settings, env) = left(&[("ice", "turn:theirs")]);
        assert_eq!((lost, settings.as_str()), (vec![Group::Ice], "broker fps ice user"));
        assert_eq!(env, "TRING_PASSWORD");
        for named in [&[][..], &[("broker", "mqtts://ours:8883")], &[("ice", "stun:theirs")], &[("user", "mine")]] {
            assert_eq!(left(named).0, [], "{named:?}");
        }
    }

    #[test]
    fn it_is_said_why() {
        let layers = [choice(Origin::Flag, "mqtt://other"), choice(profile(), "mqtts://home")];
        let servers = Servers::of(Group::Broker, &layers, Vec::new());
        let mut all = Vec::new();
        for (key, line) in [("user", 3), ("password-file", 4)] {
            let origin = Origin::Profile { name: "home".into(), line };
            servers.withholds(key, &origin).unwrap().add_to(&mut all);
        }
        let words: Vec<String> = all.iter().map(|withheld| withheld.words("c.toml")).collect();
        assert_eq!(
            words,
            ["user and password-file (profile home in c.toml) are for mqtts://home, and are not sent to mqtt://other"]
        );
    }
}
