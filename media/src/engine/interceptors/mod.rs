//! The interceptor chain: what RTP and RTCP pass between the wire and the engine's tracks. [`CHAIN`] is all of it.

mod deliver_rtcp;
mod drop_late_rtx;
mod pass_through;
mod read_clock;
mod right_reports;
mod send_media;
mod send_nacks;
mod sparing_feedback;

use std::sync::Arc;
use std::time::Instant;

use rtc::interceptor::{
    BoxedInterceptor, ConstantBitrate, NackResponderBuilder, ReceiverReportBuilder, Registry, SenderReportBuilder,
    Slot, TwccReceiverBuilder,
};
use rtc::peer_connection::configuration::interceptor_registry::{
    CongestionFeedback, configure_congestion_control, configure_nack, configure_simulcast_extension_headers,
};
use rtc::peer_connection::configuration::media_engine::MediaEngine;
use rtc::shared::error::Result;
use tracing::trace;

use self::deliver_rtcp::DeliverRtcp;
use self::drop_late_rtx::DropLateRtx;
use self::pass_through::PassThrough;
use self::read_clock::ReadClock;
use self::right_reports::RightReports;
use self::send_media::SendMedia;
use self::send_nacks::SendNacks;
use self::sparing_feedback::SparingFeedback;
use crate::congestion::BitrateLimits;
use crate::congestion::estimate::SharedEstimate;
use crate::congestion::feedback::FEEDBACK_EVERY;
use crate::congestion::payload_limit::PayloadLimit;
use crate::congestion::sending::Sending;
use crate::receive::nack::NackGenerator;
use crate::receive::peer_clock::PeerClock;
use crate::send::captures::Captures;
use crate::send::keyframe_demand::KeyframeDemand;
use crate::send::rtx_filter::RtxFilter;

/// What the interceptors of one peer connection are made with.
pub(super) struct Parts {
    pub(super) limits: BitrateLimits,
    /// Kept up to date.
    pub(super) estimate: SharedEstimate,
    /// Kept at what the path carries.
    pub(super) payload: Arc<PayloadLimit>,
    pub(super) clock: PeerClock,
    /// Where a keyframe is asked for when pictures were dropped.
    pub(super) demand: Arc<KeyframeDemand>,
    /// When what is sent was captured.
    pub(super) captures: Arc<Captures>,
}

/// One place in the chain.
struct Place {
    /// The distance from the wire.
    slot: Slot,
    /// What stands there, in a word.
    name: &'static str,
    /// Why it stands there and nowhere else.
    why: &'static str,
    make: fn(&Parts) -> BoxedInterceptor,
}

/// Between what paces and the responder that makes retransmissions.
const LATE_RTX: Slot = Slot::Custom(3_500);

/// Between what paces and all that makes reports.
const REPORT_TIMES: Slot = Slot::Custom(3_600);

/// Behind all of the engine's own, next to the tracks.
const CLOCK: Slot = Slot::Custom(59_000);
const RTCP_TO_TRACKS: Slot = Slot::Custom(60_000);

/// The chain, from the wire to the tracks: what comes goes down this table, what leaves goes up.
const CHAIN: [Place; 10] = [
    Place {
        slot: Slot::CongestionControl,
        name: "pacer, transport-wide numbers, congestion control",
        why: "nearest to the wire: all that makes packets is behind it, and a number is given when a packet departs",
        make: |parts| {
            let (estimate, payload) = (parts.estimate.clone(), Arc::clone(&parts.payload));
            let sending = Sending::new(parts.limits, estimate, payload, Instant::now());
            Box::new(SendMedia::new(sending, Arc::clone(&parts.demand)))
        },
    },
    Place {
        slot: LATE_RTX,
        name: "filter of late retransmissions",
        why: "after the responder that makes them, and before they wait in the pacer",
        make: |parts| {
            let filter = RtxFilter::new(parts.clock.shared_round_trip());
            Box::new(PassThrough::new(DropLateRtx { filter, keyframes: Arc::clone(&parts.demand) }))
        },
    },
    Place {
        slot: REPORT_TIMES,
        name: "times in sender reports",
        why: "after what makes them, and before they leave",
        make: |parts| Box::new(PassThrough::new(RightReports(Arc::clone(&parts.captures)))),
    },
    Place {
        slot: Slot::NackResponder,
        name: "NACK responder",
        why: "before the pacer: retransmissions are paced, numbered and counted like all else",
        make: |_| Box::new(NackResponderBuilder::new().build()),
    },
    Place {
        slot: Slot::NackGenerator,
        name: "NACK generator",
        why: "in the place of the engine's, which does not see RTX: losses are told by the order of arrival",
        make: |parts| Box::new(PassThrough::new(SendNacks(NackGenerator::new(parts.clock.shared_round_trip())))),
    },
    Place {
        slot: Slot::TwccReceiver,
        name: "transport-wide feedback",
        why: "notes arrivals as they are; what it sends is paced",
        make: |parts| {
            let inner = TwccReceiverBuilder::new().with_interval(FEEDBACK_EVERY).build();
            Box::new(SparingFeedback::new(inner, parts.estimate.clone()))
        },
    },
    Place {
        slot: Slot::ReceiverReport,
        name: "receiver reports",
        why: "notes arrivals as they are; what it sends is paced",
        make: |_| Box::new(ReceiverReportBuilder::new().build()),
    },
    Place {
        slot: Slot::SenderReport,
        name: "sender reports",
        why: "what it sends is paced",
        make: |_| Box::new(SenderReportBuilder::new().build()),
    },
    Place {
        slot: CLOCK,
        name: "clock of the other side",
        why: "only reads, and behind all that may change a report",
        make: |parts| {
            let (clock, estimate) = (parts.clock.clone(), parts.estimate.clone());
            Box::new(PassThrough::new(ReadClock::new(clock, estimate)))
        },
    },
    Place {
        slot: RTCP_TO_TRACKS,
        name: "RTCP for the tracks",
        why: "last: whatever is still there is for the tracks",
        make: |_| Box::new(PassThrough::new(DeliverRtcp)),
    },
];

/// Builds the chain, and declares to the engine what it needs: RTCP feedback and header extensions.
pub(super) fn chain(engine: &mut MediaEngine, parts: &Parts) -> Result<Registry> {
    declare(engine, parts)?;
    let mut registry = Registry::new();
    for place in &CHAIN {
        trace!(slot = usize::from(place.slot), what = place.name, why = place.why, "interceptor");
        registry = registry.with(place.slot, (place.make)(parts));
    }
    Ok(registry)
}

/// The engine's helpers declare feedback and extensions, and place interceptors: these are left out for those of the
/// table.
fn declare(engine: &mut MediaEngine, parts: &Parts) -> Result<()> {
    let _of_the_helper = configure_nack(Registry::new(), engine);
    configure_simulcast_extension_headers(engine)?;
    let unused = ConstantBitrate::new(parts.limits.start_bps.into());
    let _of_the_helper = configure_congestion_control(Registry::new(), unused, CongestionFeedback::Twcc, engine)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_runs_from_the_wire_to_the_tracks_and_each_place_says_why() {
        let slots: Vec<usize> = CHAIN.iter().map(|place| place.slot.into()).collect();
        assert!(slots.is_sorted_by(|a, b| a < b), "{slots:?}");
        assert!(CHAIN.iter().all(|place| !place.name.is_empty() && place.why.len() > 10));
    }
}
