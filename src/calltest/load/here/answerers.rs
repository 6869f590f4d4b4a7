//! Those who answer: one session each, for as long as calls may come.

use std::time::Duration;

use signalling::id::PeerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Site;
use crate::calltest::load::machine::{Machine, Meter};
use crate::calltest::load::names::numbered;
use crate::calltest::load::record::Record;
use crate::calltest::load::worker::Report;
use crate::calltest::peers::{PeerHandle, PeerInput, PeerOutput};
use crate::output::exit::{ExitStatus, Failure};

/// How long all may take until they are online; what is wrong with a broker shows sooner.
const ONLINE_WITHIN: Duration = Duration::from_secs(60);

/// What answerers tell and nobody read yet: when it is full, they wait.
const NEWS_MAX: usize = 256;

/// How often processor time and memory are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an answerer tells.
pub(super) enum News {
    Online,
    /// A call came in.
    Began,
    /// A call is over.
    Side {
        me: PeerId,
        record: Box<Record>,
    },
    /// It is gone.
    Ended(Failure),
}

/// Answerers under way.
pub(super) struct Answerers {
    tasks: JoinSet<()>,
    pub(super) news: mpsc::Receiver<News>,
    leave: CancellationToken,
}

impl Answerers {
    /// Starts so many, and waits until all are online.
    ///
    /// # Errors
    /// Why one of them could not be.
    pub(super) async fn start(site: &Site, number: u32, stop: &CancellationToken) -> Result<Self, Failure> {
        let (news_tx, news) = mpsc::channel(NEWS_MAX);
        let leave = CancellationToken::new();
        let mut answerers = Self { tasks: JoinSet::new(), news, leave };
        for index in 1..=number {
            let me = numbered(&site.settings.link.me, "answerer", index).map_err(Failure::usage)?;
            let handle = site.answerer(me.clone());
            answerers.tasks.spawn(attend(me, handle, news_tx.clone(), answerers.leave.clone()));
        }
        let all_online = async {
            let mut online = 0;
            while online < number {
                match answerers.news.recv().await {
                    Some(News::Online) => online += 1,
                    Some(News::Ended(failure)) => return Err(failure),
                    // Whoever is online may be called already.
                    Some(News::Began | News::Side { .. }) => {}
                    None => return Err(Failure::internal("the answerers ended")),
                }
            }
            Ok(())
        };
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            outcome = tokio::time::timeout(ONLINE_WITHIN, all_online) => outcome.unwrap_or_else(|_| {
                let text = format!("{number} answerers were not online within {} s", ONLINE_WITHIN.as_secs());
                Err(Failure::new(ExitStatus::BrokerUnreachable, text))
            }),
        };
        match outcome {
            Ok(()) => Ok(answerers),
            Err(failure) => {
                answerers.stop().await;
                Err(failure)
            }
        }
    }

    /// Ends all of them, in order.
    pub(super) async fn stop(mut self) {
        self.leave.cancel();
        // What they still tell is of no interest: they must not wait for somebody to read it.
        self.news.close();
        while self.news.recv().await.is_some() {}
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Reads what one answerer tells until it has ended.
async fn attend(me: PeerId, mut handle: PeerHandle, news: mpsc::Sender<News>, leave: CancellationToken) {
    let mut record = Record::default();
    let mut last_words = String::new();
    let mut leaving = false;
    loop {
        let told = tokio::select! {
            () = leave.cancelled(), if !leaving => {
                leaving = true;
                // One that has ended is told nothing any more.
                let _ended = handle.orders.send(PeerInput::Interrupt).await;
                continue;
            }
            told = handle.told.recv() => told,
        };
        let news_of_it = match told {
            Some(PeerOutput::Event(event)) => match event["event"].as_str() {
                Some("online") => Some(News::Online),
                Some("error") => {
                    last_words = event["text"].as_str().unwrap_or_default().to_owned();
                    None
                }
                Some(name) => {
                    let began = name == "incoming";
                    let over = record.take(&event);
                    let side = || News::Side { me: me.clone(), record: Box::new(std::mem::take(&mut record)) };
                    over.then(side).or_else(|| began.then_some(News::Began))
                }
                None => None,
            },
            Some(PeerOutput::Text(_) | PeerOutput::Log(_)) => None,
            Some(PeerOutput::Ended(_)) if leaving => return,
            Some(PeerOutput::Ended(status)) => {
                let status = status.and_then(|code| u8::try_from(code).ok()).and_then(ExitStatus::of_code);
                let status = status.unwrap_or(ExitStatus::Internal);
                // Nobody may be left to hear of it.
                let _gone = news.send(News::Ended(Failure::new(status, format!("{me}: {last_words}")))).await;
                return;
            }
            None => return,
        };
        if let Some(news_of_it) = news_of_it {
            // The step is over; this one is about to be told.
            let _over = news.send(news_of_it).await;
        }
    }
}

/// Answers calls from elsewhere until told to stop, or for so long.
pub(super) async fn run(
    site: &Site,
    number: u32,
    lasting: Option<Duration>,
    reports: &mpsc::Sender<Report>,
    stop: &CancellationToken,
) -> Result<Machine, Failure> {
    let mut answerers = Answerers::start(site, number, stop).await?;
    let mut meter = Meter::start(number, site.memory_before);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = lasting.map(|lasting| Instant::now() + lasting);
    let over = async {
        match until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut under_way = 0u32;
    loop {
        let report = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = &mut over => break,
            news = answerers.news.recv() => match news {
                Some(News::Began) => {
                    under_way += 1;
                    Report::UnderWay(under_way)
                }
                Some(News::Side { me, record }) => {
                    under_way = under_way.saturating_sub(1);
                    let call = record.finished(number, record.peer(), me.as_str(), None);
                    if reports.send(Report::UnderWay(under_way)).await.is_err() {
                        break;
                    }
                    Report::Finished(Box::new(call))
                }
                Some(News::Ended(failure)) => {
                    answerers.stop().await;
                    return Err(failure);
                }
                // Back after the broker was away.
                Some(News::Online) => continue,
                None => break,
            },
            _ = looks.tick() => {
                meter.look(under_way);
                continue;
            }
        };
        if reports.send(report).await.is_err() {
            break;
        }
    }
    answerers.stop().await;
    Ok(meter.conclude())
}
