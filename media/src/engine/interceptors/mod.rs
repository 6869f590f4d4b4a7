//! The interceptor chain: what RTP and RTCP pass between the engine's tracks and its transport.

mod bandwidth;
mod deliver_rtcp;
mod drop_late_rtx;
mod read_clock;
mod send_nacks;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rtc::interceptor::{PacerBuilder, Registry, Slot};
use rtc::peer_connection::configuration::interceptor_registry::{
    CongestionFeedback, configure_congestion_control, configure_nack, configure_rtcp_reports,
    configure_simulcast_extension_headers,
};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::shared::error::Result;

use self::bandwidth::Bandwidth;
use self::deliver_rtcp::DeliverRtcp;
use self::drop_late_rtx::DropLateRtx;
use self::read_clock::ReadClock;
use self::send_nacks::SendNacks;
use crate::congestion::BitrateLimits;
use crate::congestion::payload_limit::PayloadLimit;
use crate::receive::peer_clock::PeerClock;

/// What packets pass on their way; `target` is kept at the send-side estimate, in bits a second, and `payload` at what
/// the path carries.
pub(super) fn chain(
    engine: &mut MediaEngine,
    limits: BitrateLimits,
    (target, payload): (Arc<AtomicU32>, Arc<PayloadLimit>),
    clock: PeerClock,
) -> Result<Registry> {
    let registry = configure_nack(Registry::new(), engine);
    // `with` on a taken slot replaces what is there, which is what is wanted for the generator alone.
    configure_simulcast_extension_headers(engine)?;
    let registry = configure_rtcp_reports(registry);
    let estimator = Bandwidth::new(limits, target, payload);
    let registry = configure_congestion_control(registry, estimator, CongestionFeedback::Twcc, engine)?;
    // The pacer would start at a rate of its own and hold the first keyframe back.
    let pacer = PacerBuilder::new().with_target_bitrate(limits.start_bps.into()).build();
    let registry = registry.with(Slot::Pacer, pacer).with(Slot::from(3_500), DropLateRtx::default());
    let registry = registry.with(Slot::NackGenerator, SendNacks::default());
    Ok(registry.with(Slot::from(59_000), ReadClock::new(clock)).with(Slot::from(60_000), DeliverRtcp::default()))
}
