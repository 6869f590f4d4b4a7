//! Calls made on other machines: a step is spread over agents, each of which runs a `tring load` of its own share.
//!
//! - [`Crew::connect`]: the agents, and what all their shares have in common
//! - [`Crew::run`]: one step; what they tell is added up, as if one worker had told it
//!
//! Brokers and TURN servers are those of each agent: they may be others than ours, joined by a bridge.

use signalling::id::PeerId;
use signalling::mqtt::LinkConfig;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::machine::Machine;
use super::worker::{REPORTS_MAX, Report, Work, relay};
use crate::calltest::peers::remote::Agents;
use crate::calltest::peers::{Launch, Program};
use crate::output::exit::Failure;

/// Agents that share the work.
pub(crate) struct Crew {
    agents: Agents,
    names: Vec<PeerId>,
    me: PeerId,
    common: Vec<String>,
}

impl Crew {
    /// Connects to the agents; `common` are the options of every share.
    ///
    /// # Errors
    /// A [`Failure`] when the broker cannot be reached.
    pub(crate) async fn connect(config: LinkConfig, names: Vec<PeerId>, common: Vec<String>) -> Result<Self, Failure> {
        let me = config.me.clone();
        let agents = Agents::connect(config, &names).await?;
        Ok(Self { agents, names, me, common })
    }

    /// Does the work, telling of it; stops early when told to.
    pub(crate) async fn run(&self, work: Work, reports: mpsc::Sender<Report>, stop: &CancellationToken) {
        let outcome = self.share(work, &reports, stop).await;
        // Whoever asked may be gone.
        let _gone = reports.send(Report::Ended(outcome)).await;
    }

    /// Ends what still runs on the agents.
    pub(crate) async fn close(self) {
        self.agents.close().await;
    }

    async fn share(
        &self,
        work: Work,
        reports: &mpsc::Sender<Report>,
        stop: &CancellationToken,
    ) -> Result<Machine, Failure> {
        let mut relays = JoinSet::new();
        let (told_tx, mut told) = mpsc::channel(REPORTS_MAX);
        // One that fails ends the others: a step of fewer calls than asked for measures something else.
        let all = stop.child_token();
        let mut outcome = Ok(Vec::new());
        for (name, arguments) in shares(&self.me, &self.names, work) {
            let arguments = arguments.into_iter().chain(self.common.iter().cloned()).collect();
            let part = Launch {
                name: "load".to_owned(),
                program: Program::Tring { arguments },
                env: Default::default(),
                folder: Default::default(),
            };
            match self.agents.start(name, &part).await {
                Ok(peer) => drop(relays.spawn(relay(peer, told_tx.clone(), all.clone()))),
                Err(failure) => {
                    outcome = Err(failure);
                    all.cancel();
                    break;
                }
            }
        }
        drop(told_tx);
        while let Some(report) = told.recv().await {
            match report {
                Report::Ended(Ok(machine)) => {
                    if let Ok(machines) = &mut outcome {
                        machines.push(machine);
                    }
                }
                Report::Ended(Err(failure)) => {
                    all.cancel();
                    // The first failure is the cause of those that follow.
                    outcome = outcome.and(Err(failure));
                }
                other @ (Report::UnderWay(_) | Report::Finished(_)) => {
                    // Whoever asked may be gone; the agents are told to stop by then.
                    let _gone = reports.send(other).await;
                }
            }
        }
        outcome.map(|machines| Machine::together(&machines))
    }
}

/// Whose share of the work is what, as arguments.
fn shares<'a>(me: &PeerId, names: &'a [PeerId], work: Work) -> Vec<(&'a PeerId, Vec<String>)> {
    let (total, count) = match work {
        Work::Call { at_once, .. } => (at_once, "calls"),
        Work::Answer { answerers, .. } => (answerers, "answerers"),
    };
    let workers = u32::try_from(names.len()).unwrap_or(u32::MAX).min(total).max(1);
    let mut all = Vec::new();
    for (n, name) in (0..workers).zip(names) {
        let part = total / workers + u32::from(n < total % workers);
        let mut arguments = vec!["load".to_owned(), format!("--id={me}-{name}"), format!("--{count}={part}")];
        let lasting = match work {
            Work::Call { rate, talk, lasting, .. } => {
                arguments.push(format!("--rate={}/s", rate.share(workers)));
                arguments.push(format!("--talk={}ms", talk.as_millis()));
                lasting
            }
            Work::Answer { lasting, .. } => lasting,
        };
        arguments.extend(lasting.map(|time| format!("--for={}ms", time.as_millis())));
        all.push((name, arguments));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_step_is_shared_out_whole() {
        let ids = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<PeerId>>();
        let me: PeerId = "ci".parse().unwrap();
        let work = Work::Call { at_once: 7, rate: "9/s".parse().unwrap(), talk: Duration::from_secs(2), lasting: None };
        let names = ids(&["berlin", "paris", "rome"]);
        let shares = shares(&me, &names, work);
        let words = |n: usize| shares[n].1.join(" ");
        assert_eq!(words(0), "load --id=ci-berlin --calls=3 --rate=3/s --talk=2000ms");
        assert_eq!(words(2), "load --id=ci-rome --calls=2 --rate=3/s --talk=2000ms");
        let few = Work::Answer { answerers: 2, lasting: Some(Duration::from_secs(60)) };
        let shares = self::shares(&me, &names, few);
        assert_eq!(shares.len(), 2, "who has nothing to do is not asked");
        assert_eq!(shares[1].1.join(" "), "load --id=ci-paris --answerers=1 --for=60000ms");
    }
}
