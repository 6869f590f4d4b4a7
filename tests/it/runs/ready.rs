//! The scenarios that come with the program, over its own servers and over real ones.

use std::path::Path;

use quick_junit::{Report, TestCaseStatus};

use super::{FAILED, LOOK, Ran, command, results, test};
use crate::support::broker::{Make, over_each_broker};
use crate::support::call::Args;
use crate::support::coturn::{self, Coturn};
use crate::support::mosquitto::Mosquitto;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// The scenarios with this tag, by the files they come from.
fn tagged(tag: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let has_tag = |path: &std::path::PathBuf| {
        let source = std::fs::read_to_string(path).unwrap();
        source.lines().any(|line| line.starts_with("tags") && line.contains(&format!("{tag:?}")))
    };
    files.filter(has_tag).map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn the_quick_ones_pass_and_are_reported() {
    let _turn = Turn::call();
    let folder = TempDir::new("quick");
    let (junit, html) = (folder.file("junit.xml"), folder.file("report.html"));
    let args = Args::new(["--tag", "quick"]).option("--junit", &junit).option("--report", &html);
    let ran = test(args, &folder);
    let quick = tagged("quick");
    ran.assert_passed(&quick.iter().map(String::as_str).collect::<Vec<_>>());

    let report = Report::deserialize_from_str(&std::fs::read_to_string(junit).unwrap()).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (quick.len(), 0, 0));
    for suite in &report.test_suites {
        assert_eq!((suite.tests, suite.failures), (1, 0), "{suite:?}");
        assert!(quick.iter().any(|name| *name == *suite.name), "{suite:?}");
        assert!(matches!(suite.test_cases[0].status, TestCaseStatus::Success { .. }), "{suite:?}");
    }
    let page = std::fs::read_to_string(html).unwrap();
    assert!(quick.iter().all(|name| page.contains(&format!("</span> {name}</h2>"))), "a section each");
    // Alice and bob of smoke have pictures, and so lines over time.
    assert!(page.matches("<svg").count() >= 2 && page.contains("<polyline"), "no plots");
    assert!(!results(&folder).exists(), "a run that passes leaves nothing");
}

fn passes_over_real_servers(make: Make) {
    let _turn = Turn::call();
    let (broker, turn, folder) = (make.open(), Coturn::long_term(), TempDir::new("real"));
    let names = ["smoke", "relay-only", "busy", "declined", "hold", "glare"];
    let args = Args::new(names).option("--broker", broker.url()).option("--ice", turn.udp_url());
    let password = folder.write("turn", coturn::PASSWORD);
    let login = args.option("--ice-user", coturn::USER).option("--ice-password-file", password);
    test(login, &folder).assert_passed(&names);
}

over_each_broker!(passes_over_real_servers);

/// A broker that is not the test's own cannot be ended by it: that is told, and is no success.
#[test]
fn what_cannot_run_is_skipped_with_its_reason() {
    let (mosquitto, folder) = (Mosquitto::anonymous(), TempDir::new("skipped"));
    let junit = folder.file("junit.xml");
    let args = || Args::new(["broker-restart", "--broker", &mosquitto.url()]);
    let ran = test(args().option("--junit", &junit), &folder);
    ran.assert_counts(0, 0, 1);
    assert_eq!((ran.status, &ran.run("broker-restart")["result"]), (FAILED, &"skipped".into()));
    let reason = ran.faults("broker-restart");
    assert!(reason.contains("end the broker server") && reason.contains("restart_broker"), "{reason}");

    let report = Report::deserialize_from_str(&std::fs::read_to_string(junit).unwrap()).unwrap();
    let TestCaseStatus::Skipped { message, .. } = &report.test_suites[0].test_cases[0].status else {
        panic!("{report:?}");
    };
    assert_eq!(message.as_ref().map(|message| message.as_str()), Some(reason.as_str()));

    let output = command(args(), &folder).output(folder.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("skip broker-restart") && text.contains(&reason), "{text}");
    assert!(text.contains("1 run: 0 passed, 0 failed, 1 skipped"), "{text}");
    assert_eq!(output.status.code(), Some(FAILED));
    assert!(!results(&folder).exists());
}

/// Somebody's broker is restarted by the command that the scenario names for it.
#[test]
fn a_real_broker_is_restarted_in_mid_call() {
    let _turn = Turn::call();
    let (mut mosquitto, folder) = (Mosquitto::anonymous(), TempDir::new("restart"));
    let (wanted, done) = (folder.file("wanted"), folder.file("done"));
    let script = format!("touch {}; until test -e {}; do sleep 0.05; done", wanted.display(), done.display());
    let source = format!(
        r#"
        [servers]
        restart_broker = ["sh", "-c", "{script}"]
        [peers.bob]
        [peers.bob.expect]
        events = ["connected", "offline", "online", "ended"]
        no_events = ["reconnecting"]
        [peers.alice]
        calls = "bob"
        [peers.alice.expect]
        events = ["connected", "offline", "online", "ended"]
        # Each is online once before, and has to be online again afterwards.
        [[steps]]
        wait = "online"
        peer = ["alice", "bob"]
        [[steps]]
        wait = "first_frame"
        peer = ["alice", "bob"]
        [[steps]]
        restart = "broker"
        [[steps]]
        wait = "online"
        peer = ["alice", "bob"]
        within = "30s"
        "#
    );
    let file = folder.write("restart.toml", &source);
    let tring = command(Args::new([file]).and(["--broker", &mosquitto.url()]), &folder).spawn();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !wanted.exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    mosquitto.restart();
    std::fs::write(done, "").unwrap();
    Ran::of(tring).assert_passed(&["restart"]);
}
