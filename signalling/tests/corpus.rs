//! What fuzzing found, and what real peers say, through the fuzz targets of this crate: see `tests/fuzz`.
//!
//! One test for all, since it counts the panics of the whole process.

#[path = "../../tests/fuzz/targets/apprtc.rs"]
mod apprtc;
#[path = "../../tests/fuzz/targets/apprtc_calls.rs"]
mod apprtc_calls;
#[path = "../../tests/fuzz/targets/delivery.rs"]
mod delivery;
#[path = "../../tests/fuzz/targets/envelope.rs"]
mod envelope;
#[path = "../../tests/fuzz/targets/phone.rs"]
mod phone;
#[path = "../../tests/fuzz/targets/presence.rs"]
mod presence;
#[path = "../../tests/fuzz/targets/reader.rs"]
mod reader;
#[path = "../../tests/fuzz/targets/replay.rs"]
mod replay;
#[path = "../../tests/fuzz/targets/seal.rs"]
mod seal;
#[path = "../../tests/fuzz/targets/topic.rs"]
mod topic;
#[path = "../../tests/fuzz/targets/words.rs"]
mod words;

#[test]
fn the_corpus_holds() {
    replay::replay("apprtc", apprtc::run);
    replay::replay("apprtc_calls", apprtc_calls::run);
    replay::replay("delivery", delivery::run);
    replay::replay("envelope", envelope::run);
    replay::replay("phone", phone::run);
    replay::replay("presence", presence::run);
    replay::replay("seal", seal::run);
    replay::replay("topic", topic::run);
    replay::replay("words", words::run);
}
