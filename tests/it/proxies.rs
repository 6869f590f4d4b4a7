//! Proxies on the way to brokers over TLS: which broker is reached through one, and what is said of one that does not
//! lead there. Whole calls through a proxy that is the only way out are in [`crate::lab`].

use crate::support::call::{self, Args, Ended};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::proxy::{self, Kind, Proxy};
use crate::support::turn::Turn;
use crate::support::{TempDir, free_port};

/// `call` over a broker with these variables, to nobody: the broker is reached, or the error tells why not.
fn call_over(mosquitto: &Mosquitto, envs: &[(&str, String)]) -> Ended {
    let args = Args::new(["call", "nobody", "--answer-timeout", "1s"]).and(call::TEST_MEDIA);
    let args = args.and(["--id", "alice", "--broker", &mosquitto.url()]);
    Ended::wait(&mut Tring::command(args.option("--ca-file", mosquitto.ca_file())).envs(envs.to_vec()).spawn())
}

fn reached_the_broker(ended: &Ended) -> bool {
    ended.course().first() == Some(&"online")
}

#[test]
fn a_broker_over_tls_is_reached_through_a_proxy_of_either_kind() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::tls();
    for kind in [Kind::Http, Kind::Socks5] {
        let proxy = Proxy::start(kind);
        let by = |name, password: &str| vec![(name, proxy.url(password))];
        assert!(reached_the_broker(&call_over(&mosquitto, &by("ALL_PROXY", proxy::PASSWORD))), "{kind:?}");
        assert_eq!((proxy.tunnels_to(mosquitto.port()), proxy.refused()), (1, 0), "{kind:?}");
        let around = [by("HTTPS_PROXY", proxy::PASSWORD), vec![("NO_PROXY", "127.0.0.0/8".to_owned())]].concat();
        assert!(reached_the_broker(&call_over(&mosquitto, &around)), "{kind:?}");
        assert_eq!(proxy.tunnels_to(mosquitto.port()), 1, "{kind:?}");
        let refused = call_over(&mosquitto, &by("https_proxy", "guessed"));
        let told = refused.error();
        assert_eq!(refused.status, 20, "{told}");
        assert!(told.contains("the proxy 127.0.0.1") && told.contains("login"), "{kind:?}: {told}");
        assert!(!told.contains("guessed") && !told.contains(proxy::USER), "{kind:?}: {told}");
    }
}

#[test]
fn a_proxy_that_does_not_lead_to_the_broker_is_told_with_its_cause() {
    let _turn = Turn::small_call();
    let (mosquitto, http) = (Mosquitto::tls(), Proxy::start(Kind::Http));
    let closed = format!("127.0.0.1:{}", free_port());
    let without_login = http.url("").split('@').nth(1).unwrap().to_owned();
    for (variable, words) in [
        (
            format!("http://{closed}"),
            [format!("the proxy {closed} is not reached: connection refused"), "HTTPS_PROXY".into()],
        ),
        (
            "http://no.such.host.invalid:1".to_owned(),
            ["the proxy no.such.host.invalid:1 is not reached: its name has no address".into(), "HTTPS_PROXY".into()],
        ),
        (
            format!("http://{without_login}"),
            [format!("the proxy {without_login} wants a login"), "(407); put user and password into the URL".into()],
        ),
        (
            format!("socks5h://{}", mosquitto.url().split("//").nth(1).unwrap()),
            ["the proxy ".into(), "NO_PROXY".into()],
        ),
    ] {
        let ended = call_over(&mosquitto, &[("HTTPS_PROXY", variable.clone())]);
        let told = ended.error();
        eprintln!("{told}");
        assert_eq!(ended.status, 20, "{variable}: {told}");
        assert!(words.iter().all(|words| told.contains(words.as_str())), "{variable}: {told}");
    }
    let ended = call_over(&mosquitto, &[("HTTPS_PROXY", "ftp://carol:secret@proxy".to_owned())]);
    assert_eq!(ended.status, 2, "{}", ended.error());
    assert!(ended.error().contains("HTTPS_PROXY") && !ended.error().contains("secret"), "{}", ended.error());
}

#[test]
fn a_broker_without_tls_is_reached_around_every_proxy() {
    let _turn = Turn::small_call();
    let mosquitto = Mosquitto::anonymous();
    let args = Args::new(["call", "nobody", "--answer-timeout", "1s", "--id", "alice", "--broker", &mosquitto.url()]);
    for variable in ["ftp://no.proxy.at.all".to_owned(), format!("http://127.0.0.1:{}", free_port())] {
        let ended =
            Ended::wait(&mut Tring::command(args.clone().and(call::TEST_MEDIA)).env("ALL_PROXY", &variable).spawn());
        assert!(reached_the_broker(&ended), "{variable}");
    }
}

#[test]
fn the_doctor_names_the_proxy_on_the_way_and_its_fault() {
    let (mosquitto, proxy) = (Mosquitto::tls(), Proxy::start(Kind::Http));
    let folder = TempDir::new("doctor");
    let look = |password: &str| {
        let args =
            Args::new(["doctor", "--id", "alice", "--broker", &mosquitto.url(), "--video", "test", "--audio", "tone"]);
        let args = args.and(["--play", "none", "--show", "none"]).option("--ca-file", mosquitto.ca_file());
        let output = Tring::command(args).env("HTTPS_PROXY", proxy.url(password)).output(folder.path());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let told = look(proxy::PASSWORD);
    assert!(told.contains("through the proxy 127.0.0.1:"), "{told}");
    assert!(told.lines().any(|line| line.starts_with("ok") && line.contains("tls")), "{told}");
    assert!(told.lines().any(|line| line.starts_with("ok") && line.contains("topics")), "{told}");
    assert_eq!(proxy.refused(), 0);
    let told = look("guessed");
    assert!(told.contains("wants a login") && told.contains("put user and password into the URL"), "{told}");
    assert!(!told.contains("guessed"), "{told}");
}
