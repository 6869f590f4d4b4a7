//! Many calls at once, over real Mosquitto and over the program's own servers, judged by what the load says of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::call::{Args, Ended, TEST_MEDIA};
use crate::support::mosquitto::Mosquitto;
use crate::support::process::Tring;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// All calls of a load, and what it took: more than one call takes.
const LOAD_PATIENCE: Duration = Duration::from_secs(90);

fn load(args: Args) -> Tring {
    Tring::spawn(Args::new(["load"]).and(args))
}

fn ended(tring: &mut Tring) -> Ended {
    tring.wait_exit(LOAD_PATIENCE);
    Ended::wait(tring)
}

fn calls(ended: &Ended) -> Vec<&Value> {
    ended.events.iter().filter(|event| event["event"] == "load_call").collect()
}

/// What an HTTP client gets there.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn ten_calls_at_once_connect_and_prometheus_sees_them() {
    let (_turn, broker) = (Turn::whole_machine(), Mosquitto::anonymous());
    let args = Args::new(["--calls", "10", "--rate", "10/s", "--talk", "6s", "--size", "320x240"]);
    let mut many = load(args.option("--broker", broker.url()).option("--prometheus", "127.0.0.1:0"));
    let address = many.wait_event("metrics", PATIENCE)["address"].as_str().unwrap().to_owned();
    assert!(get(&address, "/other").starts_with("HTTP/1.1 404"));
    many.wait_event("load_call", LOAD_PATIENCE);
    let text = get(&address, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("application/openmetrics-text"), "{text}");
    for line in ["tring_load_calls_wanted 10", "# TYPE tring_load_setup_seconds histogram", "# EOF"] {
        assert!(text.lines().any(|given| given == line), "{line} in {text}");
    }
    let done = text.lines().find_map(|line| line.strip_prefix("tring_load_calls_total{outcome=\"done\"} "));
    assert!(done.unwrap().parse::<u32>().unwrap() >= 1, "{text}");

    let ended = ended(&mut many);
    let step = ended.event("load");
    assert_eq!(ended.status, 0, "{step}");
    assert_eq!((&step["at_once"], &step["placed"]), (&10.into(), &10.into()));
    assert_eq!((&step["connected"], &step["failed"]), (&10.into(), &0.into()), "{step}");
    for figure in ["setup_ms", "answer_to_connected_ms", "first_frame_ms", "round_trip_ms"] {
        let spread = ["p50", "p95", "p99"].map(|p| step[figure][p].as_f64().unwrap());
        assert!(spread[0] > 0.0 && spread.is_sorted() && spread[2] < 20_000.0, "{figure}: {step}");
    }
    assert!(step["loss"]["p50"].as_f64().is_some_and(|loss| loss < 0.05), "{step}");
    assert!(step["process"]["cores_per_call"].as_f64().is_some_and(|cores| cores > 0.0), "{step}");
    assert!(step["process"]["memory_per_call_bytes"].as_u64().is_some_and(|bytes| bytes > 10_000), "{step}");
    let calls = calls(&ended);
    assert_eq!(calls.len(), 10);
    let mut callers: Vec<&str> = calls.iter().map(|call| call["caller"].as_str().unwrap()).collect();
    callers.sort_unstable();
    callers.dedup();
    assert_eq!(callers.len(), 10, "each has an ID of its own");
    for call in calls {
        assert_eq!((&call["outcome"], &call["status"]), (&"done".into(), &0.into()), "{call}");
        let duration = call["duration_ms"].as_f64().unwrap();
        assert!((5_500.0..9_000.0).contains(&duration), "{call}");
    }
}

#[test]
fn steps_come_one_after_the_other_and_make_a_curve_without_any_broker() {
    let (_turn, dir) = (Turn::small_call(), TempDir::new("load"));
    let curve = dir.path().join("load.svg");
    let args = Args::new(["--calls", "1,3", "--rate", "10/s", "--talk", "1s", "--relay-only"]);
    let mut steps = load(args.option("--curve", &curve));
    let ended = ended(&mut steps);
    assert_eq!(ended.status, 0);
    let at_once = |event: &&Value| event["event"] == "load";
    let found: Vec<&Value> = ended.events.iter().filter(at_once).map(|event| &event["at_once"]).collect();
    assert_eq!(found, [1, 3]);
    assert!(calls(&ended).iter().all(|call| call["path"] == "relay-relay"), "{:?}", calls(&ended));
    let svg = std::fs::read_to_string(curve).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
}

#[test]
fn calls_to_nobody_are_counted_as_such_and_the_status_tells() {
    let (_turn, broker) = (Turn::small_call(), Mosquitto::anonymous());
    let args = Args::new(["--calls", "3", "--rate", "10/s", "--to", "nobody-{1..3}", "--talk", "1s"]);
    let mut none = load(args.option("--broker", broker.url()));
    let ended = ended(&mut none);
    let step = ended.event("load");
    assert_eq!((ended.status, &step["causes"]["offline"], &step["connected"]), (30, &3.into(), &0.into()), "{step}");
    assert_eq!(step["setup_ms"]["p50"], Value::Null, "unknown is no zero");
    assert!(ended.error().contains("3 offline") && ended.error().contains("--fail-above"), "{}", ended.error());
    let answerers: Vec<&Value> = calls(&ended).iter().map(|call| &call["answerer"]).collect();
    assert_eq!(answerers.len(), 3);
}

#[test]
fn whoever_is_busy_is_counted_and_a_share_may_be_allowed() {
    let (_turn, broker) = (Turn::small_call(), Mosquitto::anonymous());
    let mut there = load(Args::new(["--answerers", "1", "--id", "there"]).option("--broker", broker.url()));
    let two = || {
        let args = Args::new(["--calls", "2", "--rate", "1/s", "--to", "there-answerer-1", "--talk", "4s"]);
        args.option("--broker", broker.url()).option("--id", "here")
    };
    // It tells nothing until it is called; whoever watches sees when it is online.
    let mut contacts = Tring::spawn(Args::new(["contacts", "there-answerer-1"]).option("--broker", broker.url()));
    contacts.wait_event_where("presence", PATIENCE, |event| event["state"] == "available");
    let ended = ended(&mut load(two().option("--fail-above", "50%")));
    let step = ended.event("load");
    assert_eq!((ended.status, &step["causes"]["busy"], &step["connected"]), (0, &1.into(), &1.into()), "{step}");

    contacts.wait_event_where("presence", PATIENCE, |event| event["state"] == "available");
    let strict = self::ended(&mut load(two()));
    assert_eq!((strict.status, &strict.event("load")["failed"]), (30, &1.into()));

    there.interrupt();
    let there = self::ended(&mut there);
    assert_eq!((there.status, &there.event("load")["connected"]), (0, &2.into()));
    assert!(calls(&there).iter().any(|call| call["caller"] == "here-caller-1"), "{:?}", calls(&there));
}

#[test]
fn a_broker_that_is_not_there_is_what_is_wrong() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broker = format!("mqtt://{gone}");
    for to in [&[][..], &["--to", "bob"]] {
        let mut alone = load(Args::new(["--calls", "2", "--broker", &broker]).and(to.iter().copied()));
        assert_eq!(ended(&mut alone).status, 20, "{to:?}");
    }
    let mut nowhere = load(Args::new(["--to", "bob"]));
    let ended = ended(&mut nowhere);
    assert!(ended.status == 2 && ended.error().contains("--broker"), "{}", ended.error());
}

#[test]
fn ctrl_c_ends_all_calls_in_order() {
    let (_turn, broker) = (Turn::small_call(), Mosquitto::anonymous());
    let args = Args::new(["--calls", "3", "--rate", "10/s", "--talk", "1h", "--prometheus", "127.0.0.1:0"]);
    let mut long = load(args.option("--broker", broker.url()));
    let address = long.wait_event("metrics", PATIENCE)["address"].as_str().unwrap().to_owned();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !get(&address, "/metrics").contains("tring_load_calls_active 3") {
        assert!(std::time::Instant::now() < deadline, "the calls never began");
        std::thread::sleep(Duration::from_millis(50));
    }
    long.interrupt();
    let ended = ended(&mut long);
    assert_eq!((ended.status, &ended.event("load")["failed"]), (130, &0.into()), "cut off is not failed");
}

#[test]
fn a_light_side_and_a_whole_one_talk_to_each_other() {
    let (_turn, broker) = (Turn::small_call(), Mosquitto::anonymous());
    let link = |id: &str| Args::new(["--id", id]).option("--broker", broker.url());
    let mut bob = Tring::spawn(Args::new(["listen", "--answer", "auto", "--once"]).and(TEST_MEDIA).and(link("bob")));
    bob.wait_event("online", PATIENCE);
    let mut alice = Tring::spawn(Args::new(["call", "bob", "--light", "--duration", "5s"]).and(link("alice")));
    let (alice, bob) = (Ended::wait(&mut alice), Ended::wait(&mut bob));
    assert_eq!((alice.status, bob.status), (0, 0));
    let (counted, seen) = (&alice.summary()["received"], &bob.summary()["received"]);
    for received in [counted, seen] {
        assert!(received["video"]["frames"].as_u64().unwrap() > 60, "{received}");
        assert!(received["audio"]["frames"].as_u64().unwrap() > 100, "{received}");
    }
    assert!(seen["audio"]["tones_heard"].as_array().unwrap().len() >= 4, "the loop is the test tone: {seen}");
    assert_eq!(seen["video"]["latency_p50_ms"], Value::Null, "a loop has no stamp to measure by");
    assert_eq!((&counted["video"]["latency_p50_ms"], &counted["audio"]["tone_hz"]), (&Value::Null, &Value::Null));
    assert!(alice.events.iter().any(|event| event["event"] == "first_audio"));
}

#[test]
fn agents_share_the_calls_and_meet_across_bridged_brokers() {
    let _turn = Turn::small_call();
    let here = Mosquitto::anonymous();
    let there = Mosquitto::bridged(&here);
    let agent = |id: &str, broker: &Mosquitto| {
        let runners = ["--from", "near", "--from", "far", "--from", "both"];
        let mut agent = Tring::spawn(Args::new(["agent", "--id", id, "--broker", &broker.url()]).and(runners));
        agent.wait_event("online", PATIENCE);
        agent
    };
    let (_berlin, _tokyo) = (agent("berlin", &here), agent("tokyo", &there));
    let of = |id: &str| Args::new(["--id", id, "--size", "320x240"]).option("--broker", here.url());

    let mut contacts = Tring::spawn(Args::new(["contacts", "far-tokyo-answerer-4", "--broker", &here.url()]));
    let mut far = load(of("far").and(["--agent", "tokyo", "--answerers", "4"]));
    contacts.wait_event_where("presence", PATIENCE, |event| event["state"] == "available");
    let calls = ["--calls", "4", "--talk", "4s", "--to", "far-tokyo-answerer-{1..4}"];
    let near = ended(&mut load(of("near").and(["--agent", "berlin"]).and(calls)));
    let step = near.event("load");
    assert_eq!((near.status, &step["connected"], &step["failed"]), (0, &4.into(), &0.into()), "{step}");
    assert!(there.log().contains("Received PUBLISH from far-tokyo-answerer-1"), "they answer at the other broker");
    far.interrupt();
    assert_eq!(ended(&mut far).event("load")["connected"], 4);

    let both =
        ended(&mut load(of("both").and(["--agent", "berlin", "--agent", "tokyo", "--calls", "5", "--talk", "3s"])));
    assert_eq!((both.status, &both.event("load")["connected"]), (0, &5.into()));
    let callers: Vec<&str> = self::calls(&both).iter().filter_map(|call| call["caller"].as_str()).collect();
    let at = |agent: &str| callers.iter().filter(|caller| caller.contains(agent)).count();
    assert_eq!((at("berlin"), at("tokyo")), (3, 2), "{callers:?}");
    let nobody = ended(&mut load(of("both").and(["--agent", "rome", "--calls", "1"])));
    assert!(nobody.status == 13 && nobody.error().contains("rome"), "{}", nobody.error());
}
