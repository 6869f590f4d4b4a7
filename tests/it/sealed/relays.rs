//! A relay between two brokers stands for a broker with full control.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rumqttc::{Client, Event, Packet, QoS};
use serde_json::{Value, json};

use super::{alice, bob};
use crate::support::call::Ended;
use crate::support::mallory::options;
use crate::support::mosquitto::Mosquitto;
use crate::support::turn::Turn;
use crate::support::{PATIENCE, TempDir};

/// Something that was published: topic, bytes.
type Said = (String, Vec<u8>);

/// Passes on what alice says at one broker and bob at another, changed by `how`, which is given what was said before too.
fn relay(ports: [u16; 2], how: impl FnMut(&[Said], Said) -> Vec<Said> + Send + 'static) {
    let how = Arc::new(Mutex::new((Vec::new(), how)));
    let ends = ports.map(|port| Client::new(options("relay", port), 1000));
    let [(one, one_events), (other, other_events)] = ends;
    for (who, from, to, mut events) in
        [("alice", one.clone(), other.clone(), one_events), ("bob", other, one, other_events)]
    {
        let how = Arc::clone(&how);
        for topic in [format!("tring/call/{who}/+"), format!("tring/presence/{who}")] {
            from.subscribe(topic, QoS::AtLeastOnce).unwrap();
        }
        // Ends with the broker.
        std::thread::spawn(move || {
            for event in events.iter().map_while(Result::ok) {
                let Event::Incoming(Packet::Publish(publish)) = event else { continue };
                let said = (publish.topic.clone(), publish.payload.to_vec());
                let (before, how) = &mut *how.lock().unwrap();
                for (topic, payload) in how(before, said.clone()) {
                    let is_presence = topic.starts_with("tring/presence/");
                    if to.publish(topic, QoS::AtLeastOnce, is_presence, payload).is_err() {
                        return;
                    }
                }
                before.push(said);
            }
        });
    }
}

/// Alice calls bob over the relay; alice's end, and what bob told.
fn call_over(how: impl FnMut(&[Said], Said) -> Vec<Said> + Send + 'static) -> [Ended; 2] {
    let (brokers, homes) = ([Mosquitto::anonymous(), Mosquitto::anonymous()], [TempDir::new("a"), TempDir::new("b")]);
    relay(brokers.each_ref().map(Mosquitto::port), how);
    let mut bob = bob(homes[1].path(), &brokers[1].url(), &[]);
    let mut alice = alice(homes[0].path(), &brokers[0].url(), &["--duration", "3s"]);
    let alice = Ended::wait(&mut alice);
    bob.send_control(&json!({"command": "quit"}));
    [alice, Ended::wait(&mut bob)]
}

fn is_call(said: &Said) -> bool {
    said.0.starts_with("tring/call/")
}

#[test]
fn a_broker_that_passes_on_as_it_should() {
    let _turn = Turn::call();
    let [alice, _bob] = call_over(|_, said| vec![said]);
    assert_eq!(alice.status, 0, "{}", alice.failure());
    alice.assert_media();
}

#[test]
fn a_broker_that_delays_repeats_and_reorders_holds_nothing_up() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|before, said| {
        std::thread::sleep(Duration::from_millis(30));
        // All that was said on this topic before, the last first, around what is said now.
        let earlier = before.iter().rev().filter(|earlier| is_call(earlier) && earlier.0 == said.0);
        let again: Vec<Said> = earlier.take(5).cloned().collect();
        [again.clone(), vec![said.clone(), said], again].concat()
    });
    assert_eq!((alice.status, alice.reason()), (0, "hangup"), "{}", alice.failure());
    alice.assert_media();
    assert_eq!(bob.reason(), "remote-hangup");
    assert_eq!(alice.event("words")["words"], bob.event("words")["words"]);
}

#[test]
fn a_broker_that_changes_messages_gets_no_call() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|_, mut said| {
        if is_call(&said) {
            let middle = said.1.len() / 2;
            said.1[middle] ^= 1;
        }
        vec![said]
    });
    assert_eq!(alice.status, 13, "{}", alice.failure());
    assert!(bob.events.iter().all(|event| event["event"] != "incoming"));
    assert!(bob.warnings().iter().any(|text| text.contains("changed on the way")), "{:?}", bob.warnings());
}

#[test]
fn a_broker_that_sends_messages_back_and_to_others_gets_no_call() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|_, said| match said.0.as_str() {
        "tring/call/alice/bob" => vec![("tring/call/carol/bob".to_owned(), said.1)],
        _ => vec![said],
    });
    assert_eq!(alice.status, 13, "{}", alice.failure());
    assert!(bob.events.iter().all(|event| event["event"] != "incoming"));
}

#[test]
fn a_broker_that_drops_every_third_message_holds_nothing_up() {
    let _turn = Turn::call();
    let mut count = 0;
    let [alice, bob] = call_over(move |_, said| {
        count += u32::from(is_call(&said));
        if is_call(&said) && count % 3 == 0 { Vec::new() } else { vec![said] }
    });
    assert_eq!((alice.status, alice.reason()), (0, "hangup"), "{}", alice.failure());
    alice.assert_media();
    assert_eq!(bob.reason(), "remote-hangup");
}

/// Two calls of the same two, and all that was said in the first is said again in the second.
#[test]
fn a_broker_that_mixes_two_calls_ends_neither() {
    let _turn = Turn::call();
    let (brokers, homes) = ([Mosquitto::anonymous(), Mosquitto::anonymous()], [TempDir::new("a"), TempDir::new("b")]);
    let first: Arc<Mutex<Vec<Said>>> = Arc::default();
    let is_second = Arc::new(AtomicBool::new(false));
    let (kept, mixes) = (Arc::clone(&first), Arc::clone(&is_second));
    relay(brokers.each_ref().map(Mosquitto::port), move |_, said| {
        if !is_call(&said) {
            return vec![said];
        }
        let mut kept = kept.lock().unwrap();
        if !mixes.load(Ordering::Relaxed) {
            kept.push(said.clone());
            return vec![said];
        }
        // What is said now comes between what was said then.
        let then: Vec<Said> = kept.iter().filter(|then| then.0 == said.0).cloned().collect();
        [then.clone(), vec![said], then].concat()
    });
    let mut bob = bob(homes[1].path(), &brokers[1].url(), &[]);
    for call in 0..2 {
        is_second.store(call == 1, Ordering::Relaxed);
        let ended = Ended::wait(&mut alice(homes[0].path(), &brokers[0].url(), &["--duration", "3s"]));
        assert_eq!((ended.status, ended.reason()), (0, "hangup"), "call {call}: {}", ended.failure());
        ended.assert_media();
        assert_eq!(bob.wait_event("ended", PATIENCE)["reason"], "remote-hangup", "call {call}");
    }
    assert!(first.lock().unwrap().len() > 6, "there was a first call");
    assert_eq!(bob.events_named("incoming").len(), 2);
}

#[test]
fn a_broker_that_takes_the_key_away_gets_no_plain_call() {
    let _turn = Turn::call();
    let [alice, bob] = call_over(|_, mut said| {
        if let Ok(mut presence) = serde_json::from_slice::<Value>(&said.1) {
            presence.as_object_mut().unwrap().remove("seal");
            said.1 = presence.to_string().into_bytes();
        }
        vec![said]
    });
    assert_eq!(alice.status, 24, "{}", alice.failure());
    assert!(bob.events.iter().all(|event| event["event"] != "incoming"));
}

#[test]
fn a_broker_that_makes_up_presence_ends_no_ringing() {
    let _turn = Turn::call();
    let [alice, _bob] = call_over(|_, said| {
        let offline = br#"{"v":1,"state":"offline","run":"6d-0"}"#.to_vec();
        let made_up = ("tring/presence/bob".to_owned(), offline);
        // Once alice has seen his own.
        if said.0 == "tring/call/bob/alice" { vec![made_up, said] } else { vec![said] }
    });
    assert_eq!(alice.status, 0, "{}", alice.failure());
}
