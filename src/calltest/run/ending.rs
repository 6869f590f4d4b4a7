//! How a run comes to its end: calls that end by themselves, those that are hung up, and what stays behind.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::peers::PeerInput;
use super::peer::{EVENTS_MAX, Peer, is_caller};
use super::{FAREWELL, Run, Stop};
use crate::cli;

/// How long a call may go on beyond its `duration`: set-up and farewell have time-outs of their own.
const BEYOND_DURATION: Duration = Duration::from_secs(60);

/// The same for one that is interrupted and does not listen to commands any more.
const LAST_WORDS: Duration = Duration::from_secs(5);

impl Run<'_> {
    /// All steps are done: calls with an end of their own come to it, the others are hung up.
    pub(super) async fn wait_for_ends(&mut self) -> Result<(), Stop> {
        (self.given.progress)("waiting for the end");
        let durations = self.peers.values().filter(|peer| peer.is_running());
        let durations = durations.filter_map(|peer| peer.spec.settings.get("duration")?.first());
        let longest = durations.filter_map(|text| cli::parse::parse_time(text).ok()).max();
        let callers = |peers: &BTreeMap<String, Peer>, which: &dyn Fn(&Peer) -> bool| -> Vec<String> {
            let chosen = peers.values().filter(|peer| is_caller(peer) && which(peer));
            chosen.map(|peer| peer.spec.name.clone()).collect()
        };
        if let Some(duration) = longest {
            let until = Instant::now() + duration + BEYOND_DURATION;
            // A listener may be the one whose time it is; then all callers end by that.
            let is_timed = |peer: &Peer| peer.spec.settings.contains_key("duration");
            let timed = callers(&self.peers, &is_timed);
            let timed = if timed.is_empty() { callers(&self.peers, &|_| true) } else { timed };
            for name in &timed {
                if !self.until(name, until, |peer| !peer.is_running()).await? {
                    let late = BEYOND_DURATION.as_secs();
                    return Err(Stop::fault(format!("{name} has not ended by itself, {late} s after its time")));
                }
            }
        }
        // Those without a time talk no longer; a call that does not stand yet comes to its own end, busy or no answer.
        let talks = |peer: &Peer| peer.has_told("connected");
        if longest.is_some() {
            let until = Instant::now() + BEYOND_DURATION;
            for name in callers(&self.peers, &|peer| !talks(peer)) {
                self.until(&name, until, |peer| !peer.is_running() || talks(peer)).await?;
            }
        }
        let others = callers(&self.peers, &|_| true);
        self.quit(&others).await;
        let until = Instant::now() + FAREWELL;
        for name in self.peers.keys().cloned().collect::<Vec<_>>() {
            let ends_itself = |peer: &Peer| {
                peer.has_told("incoming") && peer.spec.settings.get("once").is_some_and(|once| *once == ["true"])
            };
            if self.peers.get(&name).is_some_and(ends_itself) {
                self.until(&name, until, |peer| !peer.is_running()).await?;
            }
        }
        Ok(())
    }

    /// Tells those that still run to end.
    async fn quit(&mut self, names: &[String]) {
        for name in names {
            if let Some(orders) = &self.peers[name].orders {
                // It may end at this very moment; its end is told.
                let _ending = orders.send(PeerInput::Control(r#"{"command":"quit"}"#.to_owned())).await;
            }
        }
    }

    /// Ends whoever still runs, in order if that is possible; what did not go in order.
    pub(super) async fn end_all(&mut self) -> Vec<String> {
        let names: Vec<String> = self.peers.keys().cloned().collect();
        // From here on only these bounds count: time-out and Ctrl-C have had their say.
        (self.deadline, self.given.stop) = (Instant::now() + FAREWELL + 2 * LAST_WORDS, self.given.at_once.clone());
        self.quit(&names).await;
        let flooding = self.peers.values().filter(|peer| peer.is_flooding());
        let mut faults: Vec<String> =
            flooding.map(|peer| format!("{} told more events than are kept ({EVENTS_MAX})", peer.spec.name)).collect();
        for (order, patience) in
            [(None, FAREWELL), (Some(PeerInput::Interrupt), LAST_WORDS), (Some(PeerInput::Kill), LAST_WORDS)]
        {
            let running: Vec<String> = names.iter().filter(|name| self.peers[*name].is_running()).cloned().collect();
            let until = Instant::now() + patience;
            if let Some(order) = order {
                for name in &running {
                    // One that ended meanwhile needs no order.
                    let _ended = self.order_each(std::slice::from_ref(name), &order).await;
                }
                if order == PeerInput::Kill {
                    faults.extend(
                        running.iter().map(|name| format!("{name} did not end when it was told to, and was killed")),
                    );
                }
            }
            for name in &running {
                let _out_of_time = self.until(name, until, |peer| !peer.is_running()).await;
            }
        }
        faults
    }
}
