//! What fuzzing found, and what real peers say, through the fuzz targets of this crate: see `tests/fuzz`.
//!
//! One test for all, since it counts the panics of the whole process.

#[path = "../../tests/fuzz/targets/answer.rs"]
mod answer;
#[path = "../../tests/fuzz/targets/ice_url.rs"]
mod ice_url;
#[path = "../../tests/fuzz/targets/reader.rs"]
#[expect(dead_code, reason = "targets of the other crate read in other ways")]
mod reader;
#[path = "../../tests/fuzz/targets/replay.rs"]
mod replay;
#[path = "../../tests/fuzz/targets/rtp.rs"]
mod rtp;
#[path = "../../tests/fuzz/targets/sdp.rs"]
mod sdp;

#[test]
fn the_corpus_holds() {
    replay::replay("answer", answer::run);
    replay::replay("ice_url", ice_url::run);
    replay::replay("rtp", rtp::run);
    replay::replay("sdp", sdp::run);
}
