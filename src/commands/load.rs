//! `tring load`: steps of many calls, told, added up, shown.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use media::capture::{AudioSource, VideoSource};
use media::display::Show;
use media::display::window::WindowClient;
use media::playout::AudioSink;
use media::private_file;
use media::send::picture_plan::Content;
use media::voice::Processing;
use signalling::mqtt::Audience;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::calltest::load::elsewhere::Crew;
use crate::calltest::load::events::LoadEvent;
use crate::calltest::load::here::{self, Site};
use crate::calltest::load::metrics::{Endpoint, Metrics};
use crate::calltest::load::tally::{StepSummary, Tally};
use crate::calltest::load::worker::{REPORTS_MAX, Report, Work};
use crate::calltest::load::{curve, table};
use crate::cli::load::{FailAbove, PeerRange};
use crate::cli::secret::Secret;
use crate::cli::{Common, Habits, Link, Load, Media};
use crate::config::InForce;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::output::streams::bars;
use crate::phone::outputs;
use crate::phone::settings::{Settings, resolve_link};
use crate::platform::signals::{self, Ends};
use crate::platform::usage;
use crate::servers::broker::Access;
use crate::servers::one_run::OneRun;

/// Name at the TURN server of our own.
const ICE_USER: &str = "load";

/// How often the progress line moves.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

pub(crate) async fn run(
    options: Load,
    in_force: &InForce,
    printer: Arc<Printer>,
    windows: WindowClient,
) -> Result<ExitStatus, Failure> {
    let works = works(&options)?;
    let to = PeerRange::peers(&options.to);
    let own_servers = !in_force.is_set("broker");
    if own_servers && (!to.is_empty() || options.answerers.is_some() || !options.agent.is_empty()) {
        return Err(Failure::usage("calls to or from another machine need a broker that both reach; pass --broker"));
    }
    let mut link = options.link.clone();
    let servers = if own_servers { Some(start_servers(&mut link).await?) } else { None };
    let common = common(&options, link);
    let settings = Settings::resolve(&common, Audience::Anyone)?;
    let site = Site { settings, to, memory_before: usage::memory_bytes(), windows };
    let metrics = Arc::new(Metrics::new());
    let endpoint = options.prometheus.map(|address| Endpoint::start(address, Arc::clone(&metrics))).transpose()?;
    if let Some(endpoint) = &endpoint {
        printer.tell(&LoadEvent::Metrics { address: endpoint.address.to_string() });
    }
    let stop = CancellationToken::new();
    // Kept to the end: a second signal ends the program, whatever it does.
    let ends = signals::heed();
    let heeding = tokio::spawn(heed_signals(ends.clone(), stop.clone()));
    let place =
        if options.agent.is_empty() { Place::Here(Box::new(site)) } else { Place::Elsewhere(crew(&options).await?) };
    let loading = Loading { place, printer: Arc::clone(&printer), metrics, stop: stop.clone() };
    let outcome = loading.steps(works).await;
    if let Place::Elsewhere(crew) = loading.place {
        crew.close().await;
    }
    heeding.abort();
    drop(endpoint);
    if let Some(servers) = servers {
        servers.stop().await;
    }
    let steps = outcome?;
    if let Some(file) = &options.curve {
        draw(&steps, &caption(&options), file)?;
    }
    if stop.is_cancelled() && options.answerers.is_none() {
        return Ok(ExitStatus::Interrupted);
    }
    conclude(&steps, options.fail_above)
}

/// What is to be done, step by step.
fn works(options: &Load) -> Result<Vec<Work>, Failure> {
    if let Some(answerers) = options.answerers {
        return Ok(vec![Work::Answer { answerers, lasting: options.lasting }]);
    }
    if options.curve.is_some() && options.calls.len() < 2 {
        return Err(Failure::usage("--curve needs two steps or more; pass e.g. --calls 10,20,40"));
    }
    if let Some(curve) = &options.curve {
        outputs::check_report(curve, outputs::SVG)?;
    }
    let (rate, talk, lasting) = (options.rate, options.talk, options.lasting);
    Ok(options.calls.iter().map(|&at_once| Work::Call { at_once, rate, talk, lasting }).collect())
}

/// A broker and a TURN server for this run alone. Media takes the TURN server only where it has to: each call would ask
/// it for four allocations, and none of them would be used.
async fn start_servers(link: &mut Link) -> Result<OneRun, Failure> {
    let mut servers = OneRun::new(ICE_USER);
    servers.start_broker(Access::Anonymous).await?;
    servers.start_turn().await?;
    let [broker, turn] = [servers.broker_url(), servers.turn_url()].map(|url| url.expect("both were started"));
    let own = |error: &dyn std::fmt::Display| Failure::internal(format!("an address of our own is wrong: {error}"));
    link.leave_broker(broker.parse().map_err(|error| own(&error))?);
    // A TURN server that was named is the one to be tried.
    if link.relay_only && link.ice.is_empty() {
        link.ice = vec![turn.parse().map_err(|error| own(&error))?];
        link.ice_user = Some(ICE_USER.into());
        link.ice_password = Some(servers.password().parse::<Secret>().map_err(|error| own(&error))?);
        (link.ice_password_file, link.ice_secret, link.ice_secret_file) = (None, None, None);
    }
    Ok(servers)
}

/// The options of a call, as every session of the load has them.
fn common(options: &Load, link: Link) -> Common {
    let media = Media {
        light: !options.full,
        video: VideoSource::Test,
        audio: AudioSource::Tone,
        show: Some(Show::None),
        voice: Processing::default(),
        play: AudioSink::None,
        size: options.size,
        fps: options.fps,
        content: Content::Motion,
        codec: options.codec,
        record: None,
        snapshot: None,
        overwrite: false,
        duration: None,
    };
    Common { media, link, habits: Habits::NONE, control: None }
}

/// The first signal ends the load in order.
async fn heed_signals(mut ends: Ends, stop: CancellationToken) {
    ends.next().await;
    stop.cancel();
}

/// The agents that share the work, with what their shares have in common. Addresses and logins are each agent's own.
async fn crew(options: &Load) -> Result<Crew, Failure> {
    let Load { size, fps, .. } = options;
    let mut common = vec![format!("--size={size}"), format!("--fps={fps}"), "--fail-above=100%".to_owned()];
    common.extend(options.codec.map(|codec| format!("--codec={codec}")));
    common.extend(options.full.then(|| "--full=true".to_owned()));
    common.extend(options.link.relay_only.then(|| "--relay-only=true".to_owned()));
    common.extend(options.link.plain.then(|| "--plain=true".to_owned()));
    common.extend(options.link.impair.iter().map(|spec| format!("--impair={spec}")));
    common.extend(PeerRange::peers(&options.to).iter().map(|peer| format!("--to={peer}")));
    let config = resolve_link(&options.link, Audience::Only(Vec::new()))?;
    Crew::connect(config, options.agent.clone(), common).await
}

/// Who makes the calls.
enum Place {
    Here(Box<Site>),
    Elsewhere(Crew),
}

/// A load under way.
struct Loading {
    place: Place,
    printer: Arc<Printer>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Loading {
    /// One step after the other, each shown when it is over.
    async fn steps(&self, works: Vec<Work>) -> Result<Vec<StepSummary>, Failure> {
        let mut steps = Vec::new();
        for work in works {
            if self.stop.is_cancelled() {
                break;
            }
            let step = self.step(work).await?;
            if self.printer.is_text() {
                if steps.is_empty() {
                    self.printer.result(&table::head());
                }
                self.printer.result(&table::row(&step));
            }
            self.printer.tell(&LoadEvent::Load(Box::new(step.clone())));
            steps.push(step);
        }
        if let Some(foot) = table::foot(&steps).filter(|_| self.printer.is_text()) {
            self.printer.result(&foot);
        }
        Ok(steps)
    }

    async fn step(&self, work: Work) -> Result<StepSummary, Failure> {
        let at_once = match work {
            Work::Call { at_once, .. } => at_once,
            Work::Answer { answerers, .. } => answerers,
        };
        self.metrics.set_wanted(at_once);
        let progress = Progress::begin(&self.printer, work);
        let (reports_tx, mut reports) = mpsc::channel(REPORTS_MAX);
        let working = async {
            match &self.place {
                Place::Here(site) => {
                    let worker = tokio::spawn(here::run(Site::clone(site), work, reports_tx, self.stop.clone()));
                    worker.await.map_err(|_| Failure::internal("the task that makes the calls panicked"))
                }
                Place::Elsewhere(crew) => {
                    crew.run(work, reports_tx, &self.stop).await;
                    Ok(())
                }
            }
        };
        let mut tally = Tally::default();
        let mut ended = None;
        let counting = async {
            while let Some(report) = reports.recv().await {
                match report {
                    Report::UnderWay(calls) => {
                        self.metrics.set_active(calls);
                        progress.show(calls, &tally);
                    }
                    Report::Finished(call) => {
                        tally.add(&call);
                        self.metrics.add(&call);
                        self.printer.tell(&LoadEvent::LoadCall(call));
                    }
                    Report::Ended(outcome) => ended = Some(outcome),
                }
            }
        };
        let (worked, ()) = tokio::join!(working, counting);
        progress.end();
        worked?;
        if let (Work::Call { at_once, .. }, false) = (work, self.stop.is_cancelled())
            && tally.placed() < u64::from(at_once)
            && !matches!(ended, Some(Err(_)))
        {
            let text = format!("of {at_once} calls only {} were told of to their end", tally.placed());
            return Err(Failure::new(ExitStatus::Assertion, text));
        }
        let machine = ended.unwrap_or_else(|| Err(Failure::internal("the calls ended without a word")))?;
        Ok(tally.conclude(at_once, machine))
    }
}

/// The line at the bottom of a terminal while a step runs.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn begin(printer: &Printer, work: Work) -> Self {
        if !printer.is_live() || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, bars()).with_style(
            ProgressStyle::with_template("{spinner} {elapsed} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        bar.enable_steady_tick(PROGRESS_EVERY);
        bar.set_message(match work {
            Work::Call { at_once, .. } => format!("{at_once} answerers go online"),
            Work::Answer { answerers, .. } => format!("{answerers} answerers wait for calls; Ctrl-C ends"),
        });
        Self(Some(bar))
    }

    fn show(&self, under_way: u32, tally: &Tally) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("{under_way} under way, {} over, {} failed", tally.placed(), tally.failed()));
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// What calls these were, in a line.
fn caption(options: &Load) -> String {
    let ends = if options.to.is_empty() { "both ends of each in this program" } else { "the callers in this program" };
    let weight = if options.full { "encoded and decoded" } else { "light media" };
    let Load { size, fps, talk, rate, .. } = options;
    let seconds = talk.as_secs_f64();
    format!("{ends}; {weight}, {size}, {fps} pictures a second; {rate} new ones a second, {seconds} s each")
}

fn draw(steps: &[StepSummary], what: &str, file: &Path) -> Result<(), Failure> {
    if steps.len() < 2 {
        tracing::warn!("fewer than two steps were made: no curve is drawn");
        return Ok(());
    }
    let written =
        curve::draw(steps, what).and_then(|svg| private_file::write(file, svg).map_err(|error| error.to_string()));
    written.map_err(|error| Failure::internal(format!("cannot draw {}: {error}", file.display())))
}

/// The exit status of all steps together.
fn conclude(steps: &[StepSummary], fail_above: FailAbove) -> Result<ExitStatus, Failure> {
    let exceeded = |step: &&StepSummary| fail_above.is_exceeded(step.failed, step.placed);
    let Some(step) = steps.iter().find(exceeded) else { return Ok(ExitStatus::Done) };
    // Where the broker was never there, that is what is wrong.
    let broker = [ExitStatus::BrokerUnreachable, ExitStatus::BrokerRefused];
    let all_fail_by = |status: &ExitStatus| steps.iter().all(|s| s.causes.get(status.name()) == Some(&s.placed));
    let status = broker.into_iter().find(all_fail_by).unwrap_or(ExitStatus::Assertion);
    let details = step.details.values().next().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let text = format!(
        "of {} calls {} failed: {}{details}; --fail-above {fail_above} allows fewer",
        step.placed,
        step.failed,
        step.words()
    );
    Err(Failure::new(status, text))
}
