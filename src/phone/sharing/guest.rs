//! The guest's side of the socket: carries a link in place of a connection of its own.

use std::io;

use signalling::id::MessageId;
use signalling::mqtt::{Link, LinkError, LinkEvent, Wanted};
use signalling::wire::PresenceState;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::lines::{self, Reader, Writer};
use super::{Answer, Card, FromGuest, Payload, Seat, ToGuest, ToHost, enter};

/// Being at a host.
pub(crate) struct Visit {
    reader: Reader,
    writer: Writer,
    /// The process of the host.
    pub(crate) process: u32,
    /// The run of the host.
    run: MessageId,
}

/// How a visit ended.
enum Over {
    /// We are done.
    Stopped,
    /// The host is gone.
    HostGone,
    /// The host says that there will be no broker.
    Failed,
}

/// Says who we are, and hears whether we are welcome.
pub(super) async fn introduce(stream: UnixStream, card: &Card) -> io::Result<(Answer, (Reader, Writer))> {
    let (mut reader, mut writer) = lines::split(stream);
    writer.write(card).await?;
    let answer = reader.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((answer, (reader, writer)))
}

impl Visit {
    pub(super) fn new((reader, writer): (Reader, Writer), process: u32, run: MessageId) -> Self {
        Self { reader, writer, process, run }
    }

    /// Carries `link` until `stop` fires. When the host ends first, another one is found, or the link connects itself and
    /// lets guests in.
    pub(crate) async fn carry(
        mut self,
        mut link: Link,
        card: Card,
        stop: CancellationToken,
        guests: mpsc::Sender<FromGuest>,
        closing: CancellationToken,
    ) {
        loop {
            match self.until_over(&mut link, &stop).await {
                Over::Stopped | Over::Failed => return,
                Over::HostGone => {}
            }
            let reason = "the program that had the connection has ended".to_owned();
            link.tell(LinkEvent::Down { reason }).await;
            link.succeed(self.run.clone());
            match enter(&card).await {
                Ok(Seat::Guest(next)) => self = next,
                Ok(Seat::Host(listener)) => {
                    listener.serve(guests, closing);
                    return link.run(stop).await;
                }
                Ok(Seat::Alone) => return link.run(stop).await,
                Err(failure) => return link.tell(LinkEvent::Failed(LinkError::Relayed(failure.text))).await,
            }
        }
    }

    async fn until_over(&mut self, link: &mut Link, stop: &CancellationToken) -> Over {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.say_last_words(link).await;
                    return Over::Stopped;
                }
                told = self.reader.next::<ToGuest>() => match told {
                    Ok(Some(ToGuest::Failed { text })) => {
                        link.tell(LinkEvent::Failed(LinkError::Relayed(text))).await;
                        return Over::Failed;
                    }
                    Ok(Some(told)) => link.tell(event(told)).await,
                    Ok(None) => return Over::HostGone,
                    Err(error) => {
                        debug!(%error, "the host is not understood");
                        return Over::HostGone;
                    }
                },
                wanted = link.wanted() => match wanted {
                    Some(wanted) => if self.writer.write(&line(wanted)).await.is_err() {
                        return Over::HostGone;
                    },
                    None => return Over::Stopped,
                },
            }
        }
    }

    /// Hands on what still waits when the program ends.
    async fn say_last_words(&mut self, link: &mut Link) {
        loop {
            tokio::select! {
                biased;
                wanted = link.wanted() => match wanted {
                    Some(wanted) => if self.writer.write(&line(wanted)).await.is_err() { return },
                    None => return,
                },
                () = std::future::ready(()) => return,
            }
        }
    }
}

fn line(wanted: Wanted) -> ToHost {
    match wanted {
        Wanted::Publish { to, payload } => ToHost::Publish { to, payload: Payload(payload) },
        Wanted::Watch(peer) => ToHost::Watch { peer },
        Wanted::Hear(peer) => ToHost::Hear { peer },
        Wanted::Presence(state) => ToHost::Presence { state },
        Wanted::Reconnect => ToHost::Reconnect,
        Wanted::Doubt => ToHost::Doubt,
        Wanted::Probe => ToHost::Probe,
    }
}

fn event(told: ToGuest) -> LinkEvent {
    match told {
        ToGuest::Up { broker } => LinkEvent::Up { broker, round_trip: std::time::Duration::ZERO },
        ToGuest::Echo => LinkEvent::Echo,
        ToGuest::Down { reason } => LinkEvent::Down { reason },
        ToGuest::Message { from, payload, standing } => LinkEvent::Message { from, payload: payload.0, standing },
        ToGuest::Ready { peer } => LinkEvent::Ready { peer },
        ToGuest::Distrusted { why, shown } => LinkEvent::Distrusted { why, shown },
        ToGuest::Refused { to, text } => LinkEvent::Refused { to, error: LinkError::Relayed(text) },
        ToGuest::Presence { peer, state } => LinkEvent::Presence { peer, state },
        ToGuest::Failed { text } => LinkEvent::Failed(LinkError::Relayed(text)),
    }
}

/// True when a presence says that its peer is in a call.
pub(super) fn is_busy(state: PresenceState) -> bool {
    state == PresenceState::Busy
}
