//! Every expectation that there is fails where it should, with what came instead.

use std::collections::BTreeSet;

use quick_junit::{Report, TestCaseStatus};
use serde_json::Value;

use super::{FAILED, command, results, scenario, test};
use crate::support::TempDir;
use crate::support::call::Args;
use crate::support::process::Tring;
use crate::support::turn::Turn;

/// The one that only a call that did not come about can fail: there is no other codec.
const OF_NO_CALL: &str = "audio_codec";

/// All that can be expected, by the schema.
fn all() -> BTreeSet<String> {
    let folder = TempDir::new("schema");
    let output = Tring::command(["test", "--schema"]).output(folder.path());
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    schema["$defs"]["Expectations"]["properties"].as_object().unwrap().keys().cloned().collect()
}

/// True when a part of a call can be judged by it, by what the program says of a file that does.
fn is_of_windows(key: &str, folder: &TempDir) -> bool {
    let source = format!("[peers.bob]\n[[steps]]\nexpect = {{ {key} = \"0\" }}\npeer = \"bob\"\n");
    let file = folder.write("window.toml", &source);
    let output = command(Args::new(["--list"]).and([file]), folder).output(folder.path());
    !String::from_utf8_lossy(&output.stderr).contains("whole call alone")
}

/// The failed checks of a peer, of a step or of the whole call: what was looked at, and whether it was known.
fn failed(run: &Value, peer: &str, step: &Value) -> Vec<(String, bool)> {
    let checks = run["checks"].as_array().unwrap().iter();
    let of_it = checks.filter(|check| check["peer"] == peer && check["step"] == *step && check["passed"] == false);
    of_it.map(|check| (check["expectation"].as_str().unwrap().to_owned(), !check["seen"].is_null())).collect()
}

#[test]
fn every_expectation_fails_where_it_should() {
    let _turn = Turn::call();
    let folder = TempDir::new("figures");
    let (junit, html) = (folder.file("junit.xml"), folder.file("report.html"));
    let args = Args::new([scenario("figures")]).option("--junit", &junit).option("--report", &html);
    let ran = test(args, &folder);
    ran.assert_counts(0, 1, 0);
    assert_eq!(ran.status, FAILED);
    let run = ran.run("figures");

    let mut wanted = all();
    assert!(wanted.remove(OF_NO_CALL));
    let of_call = failed(run, "alice", &Value::Null);
    let unknown: Vec<&String> = of_call.iter().filter(|(_, known)| !known).map(|(key, _)| key).collect();
    assert!(unknown.is_empty(), "not known of a call that has them: {unknown:?}");
    assert_eq!(of_call.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>(), wanted, "one case each");
    let of_windows: BTreeSet<String> = wanted.into_iter().filter(|key| is_of_windows(key, &folder)).collect();
    for peer in ["alice", "bob"] {
        let of_window = failed(run, peer, &Value::from(4));
        let unknown: Vec<&String> = of_window.iter().filter(|(_, known)| !known).map(|(key, _)| key).collect();
        assert!(unknown.is_empty(), "not known of {peer}'s part of a call that has them: {unknown:?}");
        assert_eq!(of_window.into_iter().map(|(key, _)| key).collect::<BTreeSet<_>>(), of_windows, "one case each");
    }
    // Bob himself is content.
    assert!(failed(run, "bob", &Value::Null).is_empty());
    let failures = run["checks"].as_array().unwrap().iter().filter(|check| check["passed"] == false).count();
    assert_eq!(run["faults"].as_array().unwrap().len(), failures, "each is told, and nothing else went wrong");

    let report = Report::deserialize_from_str(&std::fs::read_to_string(junit).unwrap()).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (1, 1, 0));
    let case = &report.test_suites[0].test_cases[0];
    let TestCaseStatus::NonSuccess { description: Some(description), .. } = &case.status else { panic!("{case:?}") };
    assert_eq!(description.as_str().lines().count(), failures, "{description:?}");
    let page = std::fs::read_to_string(html).unwrap();
    assert_eq!(page.matches("<li>").count(), failures, "each fault stands in the report");
    assert!(page.matches("<svg").count() >= 2, "plots of alice and bob");

    let kept = results(&folder).join("figures");
    assert_eq!(run["folder"].as_str(), kept.to_str());
    let read = |name: &str| std::fs::read_to_string(kept.join(name)).unwrap();
    assert!(read("exchange.txt").contains("── offer ──"), "{}", read("exchange.txt"));
    assert_eq!(read("outcome.txt").matches("FAILED").count(), failures);
    for peer in ["alice", "bob"] {
        let events = read(&format!("{peer}.events.ndjson"));
        let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "summary", "{last}");
        assert!(kept.join(format!("{peer}.log")).exists());
    }
}

#[test]
fn what_is_not_known_fails() {
    let _turn = Turn::call();
    let folder = TempDir::new("silent");
    let ran = test(Args::new([scenario("silent")]), &folder);
    assert_eq!(ran.status, FAILED);
    let of_alice =
        ["audio_loss", "audio_network_loss", "audio_latency", "sync", "mos", "first_audio_within", "concealed"];
    let of_alice = of_alice.into_iter().chain(["reconnected_within"]).collect();
    let of_carol = BTreeSet::from([OF_NO_CALL, "video_codec", "path", "fps", "duration"]);
    for (peer, wanted) in [("alice", of_alice), ("carol", of_carol)] {
        let failed = failed(ran.run("silent"), peer, &Value::Null);
        let unknown: BTreeSet<&str> = failed.iter().filter(|(_, known)| !known).map(|(key, _)| key.as_str()).collect();
        assert_eq!((unknown, failed.len()), (wanted.clone(), wanted.len()), "{:#}", ran.run("silent"));
    }
}
