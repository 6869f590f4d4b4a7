//! Text that names things: peer IDs, topics and their template, addresses of brokers. Each line is tried as each.

use signalling::id::PeerId;
use signalling::mqtt::BrokerUrl;
use signalling::topic::{self, Template};

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.split('\n').take(8).collect();
    let me: PeerId = "me".parse().expect("it is plain");
    let mut templates = vec![Template::default()];
    for line in &lines {
        peer_id(line);
        broker_url(line);
        templates.extend(line.parse::<Template>());
    }
    for template in &templates {
        for line in &lines {
            call_topic(template, line, &me);
        }
    }
}

fn peer_id(text: &str) {
    let Ok(id) = text.parse::<PeerId>() else { return };
    assert_eq!(id.as_str(), text);
    assert!(text.len() <= 64 && !text.contains(['/', '+', '#', '.', '>', '*', ',', '?', '$']));
    assert_eq!(topic::presence_owner(&topic::presence(&id)), Some(id));
}

/// Whoever may publish on a topic is the one it names, and each topic names one.
fn call_topic(template: &Template, text: &str, me: &PeerId) {
    if let Some(owner) = topic::presence_owner(text) {
        assert_eq!(topic::presence(&owner), text);
    }
    if let Some(sender) = template.sender(text, me) {
        assert_eq!(template.call(&sender, me), text);
        assert_eq!(topic::presence_owner(text), None, "a call topic is no presence topic");
    }
    if let Ok(peer) = text.parse::<PeerId>() {
        assert_eq!(template.sender(&template.call(&peer, me), me), Some(peer));
    }
    assert_eq!(template.from_anyone(me).matches('+').count(), 1);
}

fn broker_url(text: &str) {
    let url: BrokerUrl = match text.parse() {
        Ok(url) => url,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert!(url.port > 0 && !url.host.is_empty());
    let again: BrokerUrl = url.to_string().parse().expect("what was written can be read");
    // The user's name is left out, so that it can be shown.
    assert_eq!(again, BrokerUrl { user: None, ..url });
}
