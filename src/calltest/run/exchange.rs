//! The exchange over the broker during a run: read along, and drawn at its end.

use std::collections::BTreeSet;
use std::time::Instant;

use signalling::dialect::Dialect;
use signalling::id::PeerId;
use signalling::topic::InvalidTemplate;

use crate::calltest::run::servers::Servers;
use crate::calltest::scenario::script::Scenario;
use crate::cli;
use crate::diagnose::trace;
use crate::diagnose::trace::recorder::Recorder;

/// Reads along at the broker, for a drawing of what was said there.
pub(super) async fn read_along(
    scenario: &Scenario,
    servers: &Servers,
    link: &cli::Link,
    began: Instant,
) -> Result<Recorder, String> {
    let mut config = servers.link(link).map_err(|failure| failure.text)?;
    let common = |key: &str| scenario.peers.iter().find_map(|spec| spec.settings.get(key)?.first());
    let dialect = match (common("dialect").map(String::as_str), link.dialect) {
        (Some("apprtc"), _) | (None, cli::Dialect::Apprtc) => Dialect::Apprtc,
        (Some(_) | None, _) => Dialect::Tring,
    };
    if let Some(topic) = common("topic") {
        config.template = topic.parse().map_err(|error: InvalidTemplate| error.to_string())?;
    } else if dialect == Dialect::Apprtc {
        config.template = dialect.topics();
    }
    Recorder::start(config, dialect, began).await.map_err(|failure| failure.text)
}

/// What these peers said at the broker, drawn; or why it is not known. What others say there is nobody's business.
pub(super) async fn drawn(reading: Result<Recorder, String>, ids: &BTreeSet<PeerId>) -> String {
    match reading {
        Ok(recorder) => {
            let mut recording = recorder.finish().await;
            recording.messages.retain(|message| {
                ids.contains(&message.from) || message.to.as_ref().is_some_and(|to| ids.contains(to))
            });
            let left_out = match recording.left_out {
                0 => String::new(),
                n => format!("and {n} more messages\n"),
            };
            format!("{}{left_out}", trace::draw(&recording.messages))
        }
        Err(reason) => format!("the exchange over the broker could not be read along: {reason}\n"),
    }
}
