use std::net::SocketAddr;

use clap::Parser as _;
use signalling::id::Nonce;
use signalling::mqtt::{MqttVersion, TlsFiles};

use super::*;
use crate::calltest::agent::permit::Own;
use crate::calltest::agent::serving::Serving;
use crate::cli::{Cli, Command};
use crate::servers::broker::{self, Access, Broker, BrokerConfig};

const PATIENCE: Duration = Duration::from_secs(30);

fn id(text: &str) -> PeerId {
    text.parse().unwrap()
}

async fn broker() -> (Broker, String) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = BrokerConfig { mqtt: any, websocket: any, access: Access::Anonymous };
    let broker = broker::start(broker).await.unwrap();
    let url = format!("mqtt://{}", broker.mqtt_addr());
    (broker, url)
}

fn config(me: &str, url: &str) -> LinkConfig {
    LinkConfig {
        me: id(me),
        run: Nonce(me.len() as u64),
        brokers: vec![url.parse().unwrap()],
        version: MqttVersion::V3,
        login: None,
        tls: TlsFiles::default(),
        proxies: signalling::mqtt::Proxies::default(),
        template: topics(),
        audience: Audience::Anyone,
        sealing: None,
    }
}

/// Berlin, online. Its parts are started as this test program, which knows none of their options and says so.
async fn berlin(url: &str) -> (JoinHandle<()>, CancellationToken) {
    let words = ["tring", "agent", "--id", "berlin", "--from", "runner", "--broker", url];
    let Command::Agent(options) = Cli::try_parse_from(words).unwrap().command else { unreachable!() };
    let own = Own::of(&options.link, id("berlin")).unwrap();
    let (link, handle, mut events) = Link::new(config("berlin", url)).unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(link.run(stop.clone()));
    let up = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap();
    assert!(matches!(up, Some(LinkEvent::Up { .. })), "{up:?}");
    let stopped = stop.clone();
    let serving = tokio::spawn(async move {
        let _ended = Serving::new(own, handle, 2).run(events, stopped.cancelled_owned()).await;
    });
    (serving, stop)
}

fn part(name: &str, arguments: &[&str]) -> Launch {
    let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    Launch { name: name.into(), program: Program::Tring { arguments }, env: BTreeMap::new(), folder: "/".into() }
}

async fn all(mut handle: PeerHandle) -> Vec<PeerOutput> {
    let mut told = Vec::new();
    while let Some(next) = tokio::time::timeout(PATIENCE, handle.told.recv()).await.unwrap() {
        told.push(next);
    }
    told
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_an_error_at_once() {
    let (broker, url) = broker().await;
    let agents = Agents::connect(config("runner", &url), &[id("berlin")]).await.unwrap();
    let failure = agents.start(&id("berlin"), &part("bob", &["listen", "--id", "bob"])).await.unwrap_err();
    assert_eq!(failure.status, ExitStatus::Offline);
    assert!(failure.text.contains("berlin is not there"), "{}", failure.text);
    agents.close().await;
    broker.stop().await;
}

#[tokio::test]
async fn what_a_part_tells_and_its_end_come_from_the_agent() {
    let (broker, url) = broker().await;
    let (serving, stop) = berlin(&url).await;
    let agents = Agents::connect(config("runner", &url), &[id("berlin")]).await.unwrap();
    let bob = agents.start(&id("berlin"), &part("bob", &["listen", "--id", "bob"])).await.unwrap();
    let told = all(bob).await;
    assert!(told.iter().any(|told| matches!(told, PeerOutput::Log(_) | PeerOutput::Text(_))), "{told:?}");
    assert!(matches!(told.last(), Some(PeerOutput::Ended(Some(status))) if *status != 0), "{told:?}");
    let refused = part("carol", &["listen", "--id", "carol", "--record", "a.webm"]);
    let carol = all(agents.start(&id("berlin"), &refused).await.unwrap()).await;
    assert!(
        matches!(&carol[..], [PeerOutput::Log(why), PeerOutput::Ended(Some(2))] if why.contains("--record")),
        "{carol:?}"
    );
    agents.close().await;
    stop.cancel();
    tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
    broker.stop().await;
}

#[tokio::test]
async fn variables_and_foreign_programs_stay_here() {
    let (broker, url) = broker().await;
    let agents = Agents::connect(config("runner", &url), &[id("berlin")]).await.unwrap();
    let mut secret = part("bob", &["listen"]);
    secret.env.insert("TRING_PASSWORD".into(), "hidden".into());
    let failure = agents.start(&id("berlin"), &secret).await.unwrap_err();
    assert!(failure.text.contains("TRING_PASSWORD") && !failure.text.contains("hidden"), "{}", failure.text);
    let foreign = Launch { program: Program::Foreign { command: vec!["sh".into()] }, ..part("bob", &[]) };
    let failure = agents.start(&id("berlin"), &foreign).await.unwrap_err();
    assert!(failure.text.contains("foreign"), "{}", failure.text);
    agents.close().await;
    broker.stop().await;
}
