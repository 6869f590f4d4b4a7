//! Real-time priority for the threads that sound devices wait for.
//!
//! Where the system allows it (`RLIMIT_RTPRIO`, as `LimitRTPRIO` of systemd or `rtprio` of limits.conf; `CAP_SYS_NICE`;
//! root), such a thread runs before all that is not real-time. Where it does not, nothing changes. Their work is short:
//! some tenths of a millisecond each 10 ms.

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Of 1 to 99: above all without real time, below sound servers and the kernel's own threads.
const PRIORITY: u8 = 5;

/// Asks for real time for the calling thread; `what` is for the log.
pub(crate) fn ask_for_real_time(what: &str) {
    let Ok(priority) = ThreadPriorityValue::try_from(PRIORITY) else { return };
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    match set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(priority), policy) {
        Ok(()) => tracing::debug!(thread = what, "real-time priority"),
        Err(error) => tracing::debug!(thread = what, ?error, "no real-time priority"),
    }
}
