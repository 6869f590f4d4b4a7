//! What a broker passes on, seen by plain clients. A message of mallory's that she may send comes after those that she
//! may not, by the same way: when it is there, the others would be too.

use rumqttc::{Client, LastWill, QoS, SubscribeReasonCode};

use super::Scene;
use crate::support::PATIENCE;
use crate::support::broker::{Make, over_each_broker};
use crate::support::mallory::{self, Mallory};

over_each_broker!(
    spoofed_and_poisoned_topics,
    forged_presence,
    forged_wills,
    eavesdropping,
    borrowed_client_ids,
    bare_topics,
    presence_is_read_by_all_who_log_in,
    orders_to_an_agent,
);

/// What alice says to bob goes here.
const ALICES: &str = "tring/call/alice/bob";
/// And here what mallory may say to him.
const MALLORYS: &str = "tring/call/mallory/bob";
/// What bob reads.
const FOR_BOB: &str = "tring/call/+/bob";
/// What mallory may say to herself.
const TO_HERSELF: &str = "tring/call/mallory/mallory";
const ALICES_PRESENCE: &str = "tring/presence/alice";

/// At which open brokers a variant of an attack works. (`,` `?` and blanks have a meaning in ActiveMQ's topics.)
#[derive(Clone, Copy, PartialEq)]
enum Works {
    Everywhere,
    OnActiveMq,
    Nowhere,
}

/// An open broker lets through the variants that are known to work there, a guarded one none of them.
fn prove(make: Make, variants: &[(&'static str, Works)], attack: impl Fn(&Scene, &str) -> bool) {
    let at = |scene: &Scene| -> Vec<&str> {
        variants.iter().map(|(variant, _)| *variant).filter(|variant| attack(scene, variant)).collect()
    };
    let known = |works: Works| match works {
        Works::Everywhere => true,
        Works::OnActiveMq => make == Make::ActiveMq,
        Works::Nowhere => false,
    };
    let known: Vec<&str> = variants.iter().filter(|(_, works)| known(*works)).map(|(variant, _)| *variant).collect();
    assert_eq!(at(&Scene::open(make)), known, "an open broker let through");
    assert_eq!(at(&Scene::guarded(make)), [""; 0], "a guarded broker let through");
}

// ---- speaking as somebody else ----

fn spoofed_and_poisoned_topics(make: Make) {
    let variants = [
        (ALICES, Works::Everywhere),
        ("tring/call/carol/bob", Works::Everywhere),
        ("tring/call/*/bob", Works::Everywhere),
        ("tring/call/mallory/bob,tring/call/alice/bob", Works::OnActiveMq),
        ("tring/call/mallory/bob,topic:..tring/call/alice/bob", Works::OnActiveMq),
        ("tring/call/alice/bob?x=1", Works::OnActiveMq),
        (" tring/call/alice/bob", Works::OnActiveMq),
        ("tring/call/alice/bob ", Works::OnActiveMq),
        ("tring/call/alice/*", Works::Nowhere),
        ("tring/call/>", Works::Nowhere),
        ("topic:..tring/call/alice/bob", Works::Nowhere),
    ];
    prove(make, &variants, |scene, topic| {
        let (mut alice, mut mallory) = (scene.client("alice"), scene.client("mallory"));
        let mut bob = reader(scene, "bob", &[FOR_BOB]);
        mallory.retain(topic, "forged");
        let at_once = spoke(&mut mallory, &mut bob);
        // Whoever comes later is given what the broker kept.
        let mut bob = reader(scene, "bob", &[FOR_BOB]);
        let kept = spoke(&mut mallory, &mut bob);
        for poisoned in [topic, ALICES, MALLORYS] {
            mallory.retain(poisoned, "");
        }
        mallory.delivered();
        alice.publish(ALICES, "genuine");
        bob.heard_before("genuine");
        at_once || kept
    });
}

/// Whether bob hears anything by way of a topic that is not mallory's.
fn spoke(mallory: &mut Mallory, bob: &mut Mallory) -> bool {
    mallory.delivered();
    mallory.publish(MALLORYS, "the end");
    bob.heard_before("the end").iter().any(|message| message.topic != MALLORYS)
}

fn orders_to_an_agent(make: Make) {
    prove(make, &[("tring/agent/alice/bob", Works::Everywhere)], |scene, topic| {
        let mut mallory = scene.client("mallory");
        let mut bob = reader(scene, "bob", &["tring/agent/+/bob"]);
        mallory.publish(topic, "forged");
        mallory.delivered();
        mallory.publish("tring/agent/mallory/bob", "the end");
        bob.heard_before("the end").iter().any(|message| message.topic == topic)
    });
}

fn forged_presence(make: Make) {
    const GENUINE: &str = r#"{"v":1,"state":"available","run":"1"}"#;
    let variants = [
        (ALICES_PRESENCE, Works::Everywhere),
        ("tring/presence/mallory,tring/presence/alice", Works::OnActiveMq),
        ("tring/presence/alice?retroactive=1", Works::OnActiveMq),
        (" tring/presence/alice", Works::OnActiveMq),
    ];
    let forgeries = [
        r#"{"v":1,"state":"available","run":"6d"}"#,
        r#"{"v":1,"state":"busy","run":"1"}"#,
        r#"{"v":1,"state":"offline","run":"1"}"#,
        "",
    ];
    prove(make, &variants, |scene, topic| {
        let forge = |forged: &&str| {
            let (mut alice, mut mallory) = (scene.client("alice"), scene.client("mallory"));
            alice.retain(ALICES_PRESENCE, GENUINE);
            alice.delivered();
            let mut bob = reader(scene, "bob", &[FOR_BOB, ALICES_PRESENCE]);
            bob.heard_before(GENUINE);
            mallory.retain(topic, *forged);
            let at_once = spoke(&mut mallory, &mut bob);
            let mut bob = reader(scene, "bob", &[FOR_BOB, ALICES_PRESENCE]);
            mallory.publish(MALLORYS, "the end");
            let stayed = bob.heard_before("the end").iter().any(|presence| presence.payload == GENUINE);
            at_once || !stayed
        };
        let worked = forgeries.iter().filter(|forged| forge(forged)).count();
        assert!(worked == 0 || worked == forgeries.len(), "{worked} forgeries on {topic} worked");
        worked > 0
    });
}

fn forged_wills(make: Make) {
    let variants = [
        (ALICES_PRESENCE, Works::Everywhere),
        (ALICES, Works::Everywhere),
        ("tring/presence/mallory,tring/presence/alice", Works::OnActiveMq),
        ("tring/call/mallory/bob,tring/call/alice/bob", Works::OnActiveMq),
    ];
    let dies = |scene: &Scene, client_id: &str, topic: &str, words: &str| {
        let mut options = scene.options(client_id, "mallory");
        options.set_last_will(LastWill::new(topic, words, QoS::AtLeastOnce, false));
        Mallory::connect(options).vanish();
    };
    prove(make, &variants, |scene, topic| {
        let mut bob = reader(scene, "bob", &[FOR_BOB, ALICES_PRESENCE]);
        dies(scene, "mallory-forges", topic, "forged");
        // Twice, since a broker may notice the ends of two connections in the other order.
        let mut heard = Vec::new();
        for words in ["not yet", "the end"] {
            dies(scene, "mallory-ends", MALLORYS, words);
            heard.extend(bob.heard_before(words));
        }
        heard.iter().any(|message| message.topic != MALLORYS)
    });
}

fn borrowed_client_ids(make: Make) {
    let client_ids = ["alice", "bob", "alice,bob", "alice?x=1", "*", ">", "topic:..alice"];
    let variants = client_ids.map(|client_id| (client_id, Works::Everywhere));
    prove(make, &variants, |scene, client_id| {
        let (mut alice, mut bob) = (scene.client("alice"), reader(scene, "bob", &[FOR_BOB]));
        let mut mallory = Mallory::connect(scene.options(client_id, "mallory"));
        mallory.publish(ALICES, "forged");
        let spoke = spoke(&mut mallory, &mut bob);
        for filter in [FOR_BOB, "tring/call/+/alice", "tring/call/+/mallory"] {
            mallory.subscribe(filter);
        }
        let overheard = overheard(&mut alice, ALICES, &mut mallory);
        assert_eq!(spoke, overheard, "half of the attack worked");
        spoke
    });
}

fn bare_topics(make: Make) {
    let spoofs = [("alice", Works::Everywhere), ("mallory,alice", Works::OnActiveMq), ("alice?x=1", Works::OnActiveMq)];
    prove(make, &spoofs, |scene, topic| {
        let (mut alice, mut mallory) = (scene.client("alice"), scene.client("mallory"));
        let mut bob = reader(scene, "bob", &[FOR_BOB, "alice"]);
        mallory.publish(topic, "forged");
        let spoke = spoke(&mut mallory, &mut bob);
        // Bob is alice's partner by the rules, mallory is nobody's.
        alice.publish("alice", "genuine");
        bob.heard_before("genuine");
        spoke
    });
    let filters = [("alice", Works::Everywhere), ("+", Works::Everywhere), ("mallory,alice", Works::OnActiveMq)];
    prove(make, &filters, |scene, filter| {
        let (mut alice, mut mallory) = (scene.client("alice"), reader(scene, "mallory", &["tring/call/+/mallory"]));
        mallory.subscribe(filter);
        overheard(&mut alice, "alice", &mut mallory)
    });
}

// ---- reading ----

fn eavesdropping(make: Make) {
    let variants = [
        // first, while the topics of the call do not exist yet
        ("tring/call/+/+", Works::Everywhere),
        ("#", Works::Everywhere),
        ("+/#", Works::Everywhere),
        ("tring/#", Works::Everywhere),
        ("tring/call/#", Works::Everywhere),
        ("tring/call/+/#", Works::Everywhere),
        (FOR_BOB, Works::Everywhere),
        ("tring/call/alice/+", Works::Everywhere),
        (ALICES, Works::Everywhere),
        ("tring/call/alice/bob/#", Works::Everywhere),
        ("tring/call/mallory/alice,tring/call/alice/bob", Works::OnActiveMq),
        ("tring/call/+/mallory,topic:..tring/call/alice/bob", Works::OnActiveMq),
        ("tring/call/alice/bob?x=1", Works::OnActiveMq),
        ("tring/call/*/bob", Works::Nowhere),
        ("tring/call/>", Works::Nowhere),
    ];
    prove(make, &variants, |scene, filter| {
        let mut mallory = reader(scene, "mallory", &["tring/call/+/mallory"]);
        mallory.subscribe(filter);
        let (mut alice, mut bob) = (scene.client("alice"), reader(scene, "bob", &[FOR_BOB]));
        let overheard = overheard(&mut alice, ALICES, &mut mallory);
        bob.heard_before("secret");
        overheard
    });
}

/// Whether mallory hears what alice says on a topic.
fn overheard(alice: &mut Mallory, topic: &str, mallory: &mut Mallory) -> bool {
    alice.publish(topic, "secret");
    alice.delivered();
    mallory.publish(TO_HERSELF, "the end");
    mallory.heard_before("the end").iter().any(|message| message.payload == "secret")
}

/// A client that reads these, and may.
fn reader(scene: &Scene, user: &str, filters: &[&str]) -> Mallory {
    let mut client = scene.client(user);
    for filter in filters {
        assert_eq!(client.subscribe(filter), SubscribeReasonCode::Success(QoS::AtLeastOnce), "{user} reads {filter}");
    }
    client
}

fn presence_is_read_by_all_who_log_in(make: Make) {
    let scene = Scene::guarded(make);
    let mut alice = reader(&scene, "alice", &[ALICES_PRESENCE]);
    alice.retain(ALICES_PRESENCE, "here");
    // A peer hears its own, and everyone hears everyone's, each by name or all at once.
    alice.heard_before("here");
    for filter in [ALICES_PRESENCE, "tring/presence/+"] {
        reader(&scene, "mallory", &[filter]).heard_before("here");
    }
    let (_requests, mut packets) = Client::new(mallory::options("nobody", scene.broker.port()), 10);
    let refused = packets.recv_timeout(PATIENCE);
    assert!(matches!(refused, Ok(Err(_))), "somebody without a login was let in: {refused:?}");
}

/// ActiveMQ tells on topics of its own who connects, subscribes and publishes.
#[test]
fn advisories() {
    let heard = |scene: Scene| {
        let mut mallory = reader(&scene, "mallory", &["tring/call/+/mallory"]);
        mallory.subscribe("ActiveMQ/Advisory/#");
        let _bob = reader(&scene, "bob", &[FOR_BOB]);
        mallory.publish(TO_HERSELF, "the end");
        mallory.heard_before("the end").iter().any(|message| message.topic.starts_with("ActiveMQ/Advisory/"))
    };
    assert!(heard(Scene::open(Make::ActiveMq)), "an open broker tells");
    assert!(!heard(Scene::guarded(Make::ActiveMq)), "a guarded broker told");
}
