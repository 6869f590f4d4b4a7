//! `tring agent`: lends this machine to call tests that run elsewhere, until Ctrl-C.

use std::sync::Arc;

use signalling::mqtt::{Audience, Link, LinkEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::calltest::agent::permit::Own;
use crate::calltest::agent::serving::Serving;
use crate::calltest::agent::topics;
use crate::cli::Agent;
use crate::output::events::ProgramEvent;
use crate::output::exit::{ExitStatus, Failure};
use crate::output::printer::Printer;
use crate::phone::settings::resolve_link;
use crate::platform::signals;

/// As [`signalling::mqtt`] has it: a slow reader slows the broker down.
const EVENTS_MAX: usize = 256;

pub(crate) async fn run(options: Agent, printer: Arc<Printer>) -> Result<ExitStatus, Failure> {
    if options.from.is_empty() && !options.from_anyone {
        return Err(Failure::usage("an agent must know whom it runs parts for; pass --from RUNNER, or --from-anyone"));
    }
    let audience = if options.from_anyone { Audience::Anyone } else { Audience::Only(options.from.clone()) };
    let mut config = resolve_link(&options.link, audience)?;
    // The topics of the options are those of the calls.
    config.template = topics();
    let me = config.me.clone();
    let own = Own::of(&options.link, me.clone())?;
    let (link, handle, events) = Link::new(config).map_err(|error| Failure::new((&error).into(), &error))?;
    let stop = CancellationToken::new();
    let link_task = tokio::spawn(link.run(stop.clone()));
    let (printed_tx, printed) = mpsc::channel(EVENTS_MAX);
    let printing = tokio::spawn(print(events, printed_tx, printer, me.to_string()));
    let mut ends = signals::heed();
    let mut status = ExitStatus::Done;
    let told_to_stop = async { status = ExitStatus::of(ends.next().await) };
    let parts_max = usize::try_from(options.parts).unwrap_or(usize::MAX);
    let served = Serving::new(own, handle, parts_max).run(printed, told_to_stop).await;
    stop.cancel();
    let _ended = tokio::join!(link_task, printing);
    served.map(|()| status)
}

/// Says when the broker comes and goes, and hands all on.
async fn print(mut events: mpsc::Receiver<LinkEvent>, to: mpsc::Sender<LinkEvent>, printer: Arc<Printer>, id: String) {
    while let Some(event) = events.recv().await {
        match &event {
            LinkEvent::Up { broker, .. } => {
                printer.tell(&ProgramEvent::Online { id: id.clone(), broker: broker.clone() })
            }
            LinkEvent::Down { reason } => printer.tell(&ProgramEvent::Offline { reason: reason.clone() }),
            LinkEvent::Message { .. }
            | LinkEvent::Refused { .. }
            | LinkEvent::Dropped { .. }
            | LinkEvent::Presence { .. }
            | LinkEvent::Ready { .. }
            | LinkEvent::Distrusted { .. }
            | LinkEvent::Overheard { .. }
            | LinkEvent::Echo
            | LinkEvent::Failed(_) => {}
        }
        if to.send(event).await.is_err() {
            return;
        }
    }
}
