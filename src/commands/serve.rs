//! `tring serve`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::json;

use crate::cli;
use crate::config::secret::{secret, text_of, warn_if_open};
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::platform::paths::state_folder;
use crate::platform::signals;
use crate::servers::broker::{Access, BrokerConfig};
use crate::servers::tls::certificate::{CertificateError, Identity};
use crate::servers::tls::own::{self, Files, Names};
use crate::servers::tls::{Tls, TlsConfig};
use crate::servers::turn::{Credentials, PeerPolicy, Transports, TurnConfig};
use crate::servers::{REALM, Serve, ServeConfig, ServeError};

/// Login on loopback, where the broker needs none but TURN always does (RFC 8656 §5).
const LOCAL_LOGIN: &str = "tring";

/// Relayed addresses of one user: a call takes one for each address of the machine and each URL of the relay, and twice that
/// while it looks for another path.
const USER_QUOTA: usize = 60;

pub(crate) async fn run(options: cli::Serve, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    let logins = Logins::resolve(&options)?;
    let listen = |port| SocketAddr::new(options.listen, port);
    let outer = relay_ip(options.listen);
    let peers = if options.relay_public_only { PeerPolicy::PublicOnly } else { PeerPolicy::PrivateToo };
    let secured = options.tls_port.map(|port| Secured::prepare(&options, listen(port), outer)).transpose()?;
    let (tls, ca_file) = secured.map(|secured| (secured.config, secured.ca_file)).unzip();
    let config = ServeConfig {
        broker: BrokerConfig {
            mqtt: listen(options.mqtt_port),
            websocket: listen(options.websocket_port),
            access: logins.access.clone(),
        },
        turn: TurnConfig {
            listen: listen(options.turn_port),
            transports: Transports::UdpAndTcp,
            relay_ip: outer,
            realm: REALM.into(),
            credentials: logins.credentials.clone(),
            peers,
            quota: options.relay_quota.map(NonZeroUsize::get).or_else(|| logins.quota()),
        },
        tls,
    };
    let mut serve = Serve::start(config).await?;
    print(&serve, &printer, &logins, outer, ca_file.flatten().as_deref());
    let mut ends = signals::heed();
    let outcome = tokio::select! {
        end = ends.next() => Ok(ExitStatus::of(end)),
        error = serve.ended() => Err(error.into()),
    };
    serve.stop().await;
    outcome
}

/// The port for everything over TLS.
struct Secured {
    config: TlsConfig,
    /// what clients pass as --ca-file, where the certificate is of our making
    ca_file: Option<PathBuf>,
}

impl Secured {
    /// Reads the certificate, or makes one, and warns of what clients will mind.
    fn prepare(options: &cli::Serve, listen: SocketAddr, outer: IpAddr) -> Result<Self, ServeError> {
        let (files, ca_file) = match (&options.cert, &options.key) {
            (Some(certificate), Some(key)) => {
                warn_if_open(key);
                (Files { certificate: certificate.clone(), key: key.clone() }, None)
            }
            // The parser lets none of the two come alone.
            (Some(_), None) | (None, _) => {
                let folder = state_folder().ok_or(CertificateError::NoFolder)?;
                let names = Names::new([listen.ip(), outer], &options.tls_name)?;
                let files = own::prepare(&folder, &names, SystemTime::now())?;
                let certificate = files.certificate.clone();
                (files, Some(certificate))
            }
        };
        let identity = Identity::read(&files.certificate, &files.key)?;
        if let Some(flaw) = identity.flaw(SystemTime::now()) {
            tracing::warn!("the certificate in {} {flaw}", files.certificate.display());
        }
        Ok(Self { config: TlsConfig { listen, identity, files }, ca_file })
    }
}

/// Who is let in.
struct Logins {
    access: Access,
    credentials: Credentials,
}

impl Logins {
    fn resolve(options: &cli::Serve) -> Result<Self, Failure> {
        let password = secret(options.password_file.as_deref(), options.password.as_ref())?;
        let access = match (&options.users_file, &options.user, &password) {
            (Some(file), _, _) => Access::Users(read_users(file)?),
            (None, Some(user), Some(password)) => Access::Password { user: user.clone(), password: password.clone() },
            (None, None, None) if options.read_along => Access::ReadAlong,
            (None, None, None) => Access::Anonymous,
            (None, Some(_), None) => {
                return Err(Failure::usage("--user needs a password; pass --password-file or TRING_PASSWORD"));
            }
            (None, None, Some(_)) => return Err(Failure::usage("a password needs a user name too; pass --user")),
        };
        let shared = secret(options.ice_secret_file.as_deref(), None)?;
        let credentials = match (shared, options.user.clone().zip(password)) {
            (Some(shared), _) => Credentials::SharedSecret(shared),
            (None, Some((user, password))) => Credentials::LongTerm { user, password },
            (None, None) => Credentials::LongTerm { user: LOCAL_LOGIN.into(), password: LOCAL_LOGIN.into() },
        };
        Ok(Self { access, credentials })
    }

    /// How many relayed addresses a user may have where nobody says otherwise: twice what the calls of one peer take. One
    /// login for all tells nobody apart.
    const fn quota(&self) -> Option<usize> {
        match self.credentials {
            Credentials::SharedSecret(_) => Some(USER_QUOTA),
            Credentials::LongTerm { .. } => None,
        }
    }

    /// What a peer passes to the broker.
    fn broker_options(&self) -> String {
        match &self.access {
            Access::Anonymous | Access::ReadAlong => String::new(),
            Access::Password { user, .. } => format!(" --user {user} --password-file FILE"),
            Access::Users(_) => " --user ID --password-file FILE".to_owned(),
        }
    }

    /// What a peer passes for the relay.
    fn ice_options(&self) -> String {
        match (&self.credentials, &self.access) {
            (Credentials::SharedSecret(_), _) => "--ice-secret-file FILE".to_owned(),
            (Credentials::LongTerm { user, password }, Access::Anonymous | Access::ReadAlong) => {
                format!("--ice-user {user} --ice-password-file <(echo {password})")
            }
            (Credentials::LongTerm { user, .. }, _) => format!("--ice-user {user} --ice-password-file FILE"),
        }
    }
}

/// Reads `ID:PASSWORD` lines; blank lines and those that begin with `#` are passed over.
fn read_users(file: &Path) -> Result<BTreeMap<String, String>, Failure> {
    users_of(&text_of(file)?).map_err(|line| Failure::usage(format!("{} line {line}: use ID:PASSWORD", file.display())))
}

/// The users of such a text, or the number of the line that is none. Blanks around an ID do not belong to it.
fn users_of(text: &str) -> Result<BTreeMap<String, String>, usize> {
    let mut users = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (id, password) = line.split_once(':').ok_or(index + 1)?;
        let id = id.trim_end();
        if id.is_empty() || password.trim().is_empty() {
            return Err(index + 1);
        }
        users.insert(id.to_owned(), password.to_owned());
    }
    Ok(users)
}

/// What a client has to be told, as it would type it.
fn print(serve: &Serve, printer: &Printer, logins: &Logins, outer: IpAddr, ca_file: Option<&Path>) {
    // Nobody can connect to a wildcard.
    let reachable = |addr: SocketAddr| SocketAddr::new(outer, addr.port());
    let mqtt = reachable(serve.broker.mqtt_addr());
    let websocket = reachable(serve.broker.websocket_addr());
    let turn = reachable(serve.turn.addr());
    let secured = serve.tls.as_ref().map(|tls| TlsTold::new(tls, reachable(tls.addr()), ca_file));
    if printer.is_json() {
        let line = json!({
            "v": crate::output::events::VERSION, "ts": crate::platform::clock::unix_ms(), "event": "serving",
            "mqtt": format!("mqtt://{mqtt}"), "websocket": format!("ws://{websocket}/mqtt"),
            "turn": format!("turn:{turn}"), "turn_tcp": format!("turn:{turn}?transport=tcp"),
            "tls": secured.map(|told| told.json()), "call_id": null, "peer": null,
        });
        return printer.result(&line.to_string());
    }
    let (login, ice) = (logins.broker_options(), logins.ice_options());
    let (over_tls, by_tls) = secured.map(|told| (told.addresses(), told.options(&login, &ice))).unwrap_or_default();
    printer.result(&format!(
        "broker   mqtt://{mqtt} and ws://{websocket}/mqtt\n\
         relay    turn:{turn} (STUN and TURN over UDP, and with ?transport=tcp)\n{over_tls}\n\
         Peers join with\n  tring listen --id bob --broker mqtt://{mqtt}{login}\n  \
         tring call bob --id alice --broker mqtt://{mqtt}{login}\n\
         and where the direct path fails, on both sides, with\n  --ice turn:{turn} {ice}\n{by_tls}\nCtrl-C ends."
    ));
}

/// What a client has to be told of the port for everything over TLS.
struct TlsTold<'a> {
    mqtt: String,
    websocket: String,
    turn: String,
    fingerprint: &'a str,
    ca_file: Option<&'a Path>,
}

impl<'a> TlsTold<'a> {
    fn new(tls: &'a Tls, addr: SocketAddr, ca_file: Option<&'a Path>) -> Self {
        Self {
            mqtt: format!("mqtts://{addr}"),
            websocket: format!("wss://{addr}/mqtt"),
            turn: format!("turns:{addr}"),
            fingerprint: tls.fingerprint(),
            ca_file,
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "mqtt": self.mqtt, "websocket": self.websocket, "turn": self.turn,
            "fingerprint": self.fingerprint, "ca_file": self.ca_file,
        })
    }

    fn addresses(&self) -> String {
        let Self { mqtt, websocket, turn, fingerprint, .. } = self;
        let file = self.ca_file.map(|file| {
            format!("\n         made here: peers need a copy of {} and pass it as --ca-file", file.display())
        });
        format!(
            "TLS      {mqtt}, {websocket} and {turn}, all on one port\n         certificate SHA-256 {fingerprint}{}\n",
            file.unwrap_or_default()
        )
    }

    /// What a peer passes that gets nothing out but this port.
    fn options(&self, login: &str, ice: &str) -> String {
        let file = self.ca_file.map(|_| " --ca-file serve.crt").unwrap_or_default();
        format!(
            "Where nothing but that one TCP port is reached:\n  --broker {}{login} --ice {} {ice}{file}\n",
            self.websocket, self.turn
        )
    }
}

/// The address that peers see of a relay listening on `listen`: for a wildcard the one that leads out of this machine.
fn relay_ip(listen: IpAddr) -> IpAddr {
    if !listen.is_unspecified() {
        return listen;
    }
    let probe = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation (RFC 5737); connecting a UDP socket sends nothing.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    probe().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_remarks_are_no_users() {
        let users = users_of("# who may call\n\n  \t\nalice:a:b\r\n  bob : blank \n   # nobody\n").unwrap();
        assert_eq!(
            users.into_iter().collect::<Vec<_>>(),
            [("alice".into(), "a:b".into()), ("bob".into(), " blank ".into())]
        );
        for (text, line) in [("alice:a\nbob\n", 2), (":a", 1), ("alice:", 1), ("\nalice:  \n", 2)] {
            assert_eq!(users_of(text), Err(line), "{text:?}");
        }
    }
}
