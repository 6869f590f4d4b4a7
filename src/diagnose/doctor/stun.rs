//! Each STUN server: does it answer, and as whom does it see us?

use std::net::SocketAddr;

use ::stun::agent::TransactionId;
use ::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Getter as _, Message};
use ::stun::xoraddr::XorMappedAddress;
use media::peer::config::IceServer;

use super::exchange::{self, Unanswered};
use super::{Finding, Look, in_ms};

/// One server asked.
pub(super) async fn check(server: IceServer) -> Finding {
    let look = Look::at_one_of("stun", &server.url, super::Group::Alone);
    match ask(&server).await {
        Ok((mapped, took)) => look.ok(format!("sees this machine as {mapped}, answered in {}", in_ms(took))),
        Err(error) => look.warning(
            format!("{error}; peers outside this network may not reach this machine directly"),
            error.advice(&server.url),
        ),
    }
}

/// Nothing to ask.
pub(super) fn none_given() -> Finding {
    Look::at("stun").skipped("no server given by --ice stun:HOST; of use for peers outside this network")
}

async fn ask(server: &IceServer) -> Result<(SocketAddr, std::time::Duration), Unanswered> {
    let address = exchange::resolve(&server.url).await?;
    let socket = exchange::open_to(address).await?;
    let (answer, took) = exchange::ask(&socket, address, &binding()?).await?;
    Ok((mapped(&answer).ok_or(Unanswered::Nonsense)?, took))
}

/// A question for our own address (RFC 8489 §3).
pub(super) fn binding() -> Result<Message, Unanswered> {
    let mut request = Message::new();
    let parts: [Box<dyn ::stun::message::Setter>; 2] = [Box::new(TransactionId::new()), Box::new(BINDING_REQUEST)];
    request.build(&parts).map_err(|error| Unanswered::Local(error.to_string()))?;
    Ok(request)
}

/// The address in an answer to [`binding`].
pub(super) fn mapped(answer: &Message) -> Option<SocketAddr> {
    if answer.typ != BINDING_SUCCESS {
        return None;
    }
    xor_mapped(answer)
}

/// What a server says our address is.
pub(super) fn xor_mapped(answer: &Message) -> Option<SocketAddr> {
    let mut address = XorMappedAddress::default();
    address.get_from(answer).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}
