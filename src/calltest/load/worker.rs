//! Who makes the calls of a step: each worker tells of every finished call, and in the end what it used.
//!
//! - [`super::here`]: in this process
//! - [`relay`]: a `tring load` that runs elsewhere as a peer, told by its events; as results are calls, what several
//!   workers tell is added up

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::machine::Machine;
use super::record::{LoadCall, TEXT_CHARS_MAX};
use super::tally::StepSummary;
use crate::calltest::peers::{PeerHandle, PeerInput, PeerOutput};
use crate::cli::load::Rate;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::sanitize::harmless_start;

/// Reports nobody read yet: when they are full, the worker waits.
pub(crate) const REPORTS_MAX: usize = 256;

/// What a worker is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Make calls.
    Call {
        at_once: u32,
        rate: Rate,
        talk: Duration,
        /// How long calls that ended are followed by others; `None`: each place has one call.
        lasting: Option<Duration>,
    },
    /// Answer, with so many, until told to stop or for so long.
    Answer { answerers: u32, lasting: Option<Duration> },
}

/// What a worker tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// So many calls are under way there now.
    UnderWay(u32),
    /// A call is over.
    Finished(Box<LoadCall>),
    /// No more calls will come; or none came, and why.
    Ended(Result<Machine, Failure>),
}

/// Makes reports of what a `tring load --json` tells that runs as a peer, on this machine or another.
pub(crate) async fn relay(mut peer: PeerHandle, reports: mpsc::Sender<Report>, stop: CancellationToken) {
    let mut machine = Machine::default();
    let (mut error, mut last_line) = (None, None);
    let ended = loop {
        let told = tokio::select! {
            biased;
            () = stop.cancelled(), if !peer.orders.is_closed() => {
                // One that has ended is told nothing any more.
                let _ended = peer.orders.send(PeerInput::Interrupt).await;
                break drain(&mut peer).await;
            }
            told = peer.told.recv() => told,
        };
        match told {
            Some(PeerOutput::Event(event)) => match event["event"].as_str() {
                Some("load_call") => match serde_json::from_value::<LoadCall>(event) {
                    Ok(call) => {
                        if reports.send(Report::Finished(Box::new(call.harmless()))).await.is_err() {
                            return;
                        }
                    }
                    Err(reason) => {
                        let text = format!("a worker tells of calls in a way that is not known here: {reason}");
                        error = Some(Failure::internal(text));
                    }
                },
                Some("load") => {
                    machine = serde_json::from_value::<StepSummary>(event).map_or(machine, |summary| summary.machine);
                }
                Some("error") => error = Some(failure(&event)),
                Some(_) | None => {}
            },
            Some(PeerOutput::Text(line) | PeerOutput::Log(line)) => last_line = Some(line),
            Some(PeerOutput::Ended(status)) => break status,
            None => break None,
        }
    };
    // That calls failed is judged here, over all workers.
    let is_fine = |status: i32| {
        let is = |ok: ExitStatus| status == i32::from(ok.code());
        is(ExitStatus::Done) || is(ExitStatus::Assertion) || is(ExitStatus::Interrupted) && stop.is_cancelled()
    };
    let last_words = last_line.unwrap_or_else(|| "a worker ended without a word".to_owned());
    let outcome = match (ended, error) {
        (_, Some(failure)) => Err(failure),
        (Some(status), None) if is_fine(status) => Ok(machine),
        (_, None) => Err(Failure::internal(harmless_start(&last_words, TEXT_CHARS_MAX))),
    };
    // Whoever asked may be gone.
    let _gone = reports.send(Report::Ended(outcome)).await;
}

async fn drain(peer: &mut PeerHandle) -> Option<i32> {
    loop {
        match peer.told.recv().await {
            Some(PeerOutput::Ended(status)) => return status,
            Some(PeerOutput::Event(_) | PeerOutput::Text(_) | PeerOutput::Log(_)) => {}
            None => return None,
        }
    }
}

fn failure(event: &Value) -> Failure {
    let code = event["status"].as_u64().and_then(|code| u8::try_from(code).ok());
    let status = code.and_then(ExitStatus::of_code).unwrap_or(ExitStatus::Internal);
    Failure::new(status, harmless_start(event["text"].as_str().unwrap_or("a worker failed"), TEXT_CHARS_MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::calltest::peers::{ORDERS_MAX, TOLD_MAX};

    async fn reports(told: impl IntoIterator<Item = PeerOutput>) -> Vec<Report> {
        let (told_tx, told_rx) = mpsc::channel(TOLD_MAX);
        let (orders, _orders) = mpsc::channel(ORDERS_MAX);
        for what in told {
            told_tx.send(what).await.unwrap();
        }
        let (reports_tx, mut reports) = mpsc::channel(REPORTS_MAX);
        relay(PeerHandle { told: told_rx, orders }, reports_tx, CancellationToken::new()).await;
        let mut all = Vec::new();
        while let Some(report) = reports.recv().await {
            all.push(report);
        }
        all
    }

    #[tokio::test]
    async fn a_load_elsewhere_is_told_by_its_events() {
        let mut call = serde_json::to_value(LoadCall { caller: "a".into(), ..LoadCall::default() }).unwrap();
        call["event"] = "load_call".into();
        let machine = Machine { cores: Some(0.5), ..Machine::default() };
        let mut summary = serde_json::to_value(StepSummary { machine, ..StepSummary::default() }).unwrap();
        summary["event"] = "load".into();
        let told = [
            PeerOutput::Event(call),
            PeerOutput::Log("x".into()),
            PeerOutput::Event(summary),
            PeerOutput::Ended(Some(30)),
        ];
        let reports = reports(told).await;
        assert!(matches!(&reports[0], Report::Finished(call) if call.caller == "a"));
        assert!(matches!(&reports[1], Report::Ended(Ok(ended)) if *ended == machine), "{reports:?}");
    }

    #[tokio::test]
    async fn a_load_that_cannot_begin_says_why() {
        let error = json!({"event": "error", "status": 20, "text": "no broker"});
        let reports = reports([PeerOutput::Event(error), PeerOutput::Ended(Some(20))]).await;
        let [Report::Ended(Err(failure))] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!((failure.status, failure.text.as_str()), (ExitStatus::BrokerUnreachable, "no broker"));
        let reports = self::reports([PeerOutput::Ended(None)]).await;
        assert!(matches!(&reports[..], [Report::Ended(Err(_))]));
    }
}
