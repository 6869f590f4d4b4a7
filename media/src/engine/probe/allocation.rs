//! One allocation on a TURN server (RFC 8656), with the reason when something is refused.
//!
//! The engine's own client says only that an allocation failed; here every answer is looked at: whether the server
//! asks for a login, which realm it names, and by which code it refuses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_SOFTWARE, ATTR_USERNAME, AttrType};
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter as _, METHOD_ALLOCATE, METHOD_CREATE_PERMISSION,
    METHOD_DATA, METHOD_REFRESH, METHOD_SEND, Message, MessageType, Method, Setter, TransactionId,
};
use rtc::stun::textattrs::TextAttribute;
use rtc::turn::proto::PROTO_UDP;
use rtc::turn::proto::data::Data;
use rtc::turn::proto::lifetime::Lifetime;
use rtc::turn::proto::peeraddr::PeerAddress;
use rtc::turn::proto::relayaddr::RelayedAddress;
use rtc::turn::proto::reqfamily::REQUESTED_FAMILY_IPV6;
use rtc::turn::proto::reqtrans::RequestedTransport;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::transaction::{self, Line, Unanswered};
use crate::engine::dial::Dialer;
use crate::path::ice_server::IceServer;
use crate::path::turn_error::printable;

/// How often a packet is sent through the relay, and how long each is waited for: packets may be lost.
const PACKETS: usize = 4;
const PACKET_WAIT: Duration = Duration::from_millis(500);

/// How long the goodbye may take; without it the allocation ends by itself after its lifetime.
const GOODBYE: Duration = Duration::from_millis(300);

/// What went wrong with a TURN server.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// It does not answer.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// It wants a login, and does not say for which realm.
    #[error("asks for a login without naming a realm")]
    NoRealm,
    /// It does not take the login.
    #[error("refuses the login of {user:?} in realm {realm:?} ({code})")]
    Login {
        /// Whose.
        user: String,
        /// As the server names it.
        realm: String,
        /// 401 or 441.
        code: u16,
    },
    /// It refuses for another reason.
    #[error("refuses {what}: {reason} ({code})")]
    Refused {
        /// What we asked for.
        what: &'static str,
        /// What it says, printable.
        reason: String,
        /// Its code.
        code: u16,
    },
    /// Every step takes its time.
    #[error("answers too slowly: login, permission and a packet took more than {} s", limit.as_secs())]
    Slow {
        /// What they may take.
        limit: Duration,
    },
    /// It takes packets and does not give them back.
    #[error("takes packets for its own relayed address {relayed}, but they do not come back")]
    Lost {
        /// The address.
        relayed: SocketAddr,
    },
}

/// An allocation that stands.
pub struct Allocation {
    line: Line,
    login: Option<Login>,
    /// Where peers send to.
    pub relayed: SocketAddr,
    /// What the server says it is, if it does.
    pub software: Option<String>,
}

/// What signs our requests once the server has named realm and nonce (RFC 8489 §9.2).
struct Login {
    user: String,
    password: String,
    realm: String,
    nonce: String,
    crypto: Arc<dyn RTCCryptoProvider>,
}

impl Login {
    fn new(server: &IceServer, realm: String, nonce: String) -> Result<Self, Unanswered> {
        let crypto = default_provider().map_err(|error| Unanswered::Local(error.to_string()))?;
        Ok(Self { user: server.username.clone(), password: server.password.clone(), realm, nonce, crypto })
    }

    /// The attributes of a request by this login; the last of them signs all before it.
    fn attributes(&self) -> Result<Vec<Box<dyn Setter + '_>>, Unanswered> {
        let (user, realm, password) = (self.user.clone(), self.realm.clone(), self.password.clone());
        let key = MessageIntegrity::new_long_term_integrity_with_provider(user, realm, password, self.crypto.crypto());
        Ok(vec![
            Box::new(TextAttribute::new(ATTR_USERNAME, self.user.clone())),
            Box::new(TextAttribute::new(ATTR_REALM, self.realm.clone())),
            Box::new(TextAttribute::new(ATTR_NONCE, self.nonce.clone())),
            Box::new(key.map_err(|error| Unanswered::Local(error.to_string()))?),
        ])
    }
}

impl Allocation {
    /// Asks without a login, learns the realm, and asks with it.
    pub async fn make(server: &IceServer, dialer: &Dialer) -> Result<Self, Trouble> {
        let line = Line::to(&server.url, dialer).await?;
        let (mut login, mut relays_ipv4) = (None, true);
        // Its nonce may be stale at the very next moment, and is given anew then.
        for _ in 0..4 {
            let wanted = if relays_ipv4 { allocation() } else { allocation_of_ipv6() };
            let request = request(METHOD_ALLOCATE, wanted, login.as_ref())?;
            let (answer, _) = line.ask(&request).await?;
            if answer.typ.class == CLASS_SUCCESS_RESPONSE {
                let relayed = relayed(&answer).ok_or(Unanswered::Nonsense)?;
                return Ok(Self { line, login, relayed, software: software(&answer) });
            }
            let (code, reason) = refusal(&answer)?;
            // As in a call: see `path::relay_family`.
            if code == 440 && relays_ipv4 && login.is_some() && !is_coturn(&answer) {
                relays_ipv4 = false;
                continue;
            }
            login = Some(match (code, login) {
                (401, None) | (438, _) => {
                    let realm = text(&answer, ATTR_REALM).filter(|realm| !realm.is_empty()).ok_or(Trouble::NoRealm)?;
                    let nonce = text(&answer, ATTR_NONCE).ok_or(Trouble::NoRealm)?;
                    Login::new(server, realm, nonce)?
                }
                (401 | 441, Some(login)) => {
                    return Err(Trouble::Login { user: login.user, realm: printable(&login.realm), code });
                }
                _ => return Err(Trouble::Refused { what: "an allocation", reason, code }),
            });
        }
        Err(Trouble::Refused { what: "an allocation", reason: "its nonce is always stale".into(), code: 438 })
    }

    /// True when the server gave it without asking who we are.
    pub const fn is_open_to_all(&self) -> bool {
        self.login.is_none()
    }

    /// Where the server is; `None` where it is behind a proxy.
    pub fn server_ip(&self) -> Option<IpAddr> {
        self.line.server().map(|address| address.ip())
    }

    /// Lets packets from `peer` in, and ours to it out.
    pub async fn permit(&self, peer: IpAddr) -> Result<(), Trouble> {
        let attributes: Vec<Box<dyn Setter>> = vec![Box::new(PeerAddress { ip: peer, port: 0 })];
        let request = request(METHOD_CREATE_PERMISSION, attributes, self.login.as_ref())?;
        let (answer, _) = self.line.ask(&request).await?;
        if answer.typ.class == CLASS_SUCCESS_RESPONSE {
            return Ok(());
        }
        let (code, reason) = refusal(&answer)?;
        Err(Trouble::Refused { what: "packets to its own relayed address", reason, code })
    }

    /// Sends a packet to our own relayed address and waits for it: out of the relay and into it again. How long it took.
    pub async fn bounce(&self) -> Result<Duration, Trouble> {
        for _ in 0..PACKETS {
            let (packet, payload) = packet(self.relayed)?;
            let sent = Instant::now();
            self.line.send(&packet.raw).await?;
            let is_ours = |message: &Message| {
                let mut data = Data::default();
                message.typ == MessageType::new(METHOD_DATA, CLASS_INDICATION)
                    && data.get_from(message).is_ok()
                    && data.0 == payload
            };
            let came = self.line.hear(sent + PACKET_WAIT, is_ours).await?;
            if came.is_some() {
                return Ok(sent.elapsed());
            }
        }
        Err(Trouble::Lost { relayed: self.relayed })
    }

    /// Gives the allocation back.
    pub async fn release(self) {
        let attributes: Vec<Box<dyn Setter>> = vec![Box::new(Lifetime(Duration::ZERO))];
        let Ok(request) = request(METHOD_REFRESH, attributes, self.login.as_ref()) else { return };
        if self.line.send(&request.raw).await.is_ok() {
            let is_answer = |message: &Message| message.transaction_id == request.transaction_id;
            // Heard or not, there is nothing left to do.
            let _done = self.line.hear(Instant::now() + GOODBYE, is_answer).await;
        }
    }
}

/// An Allocate request (RFC 8656 §7.1) of nobody.
pub(super) fn request_without_login() -> Result<Message, Unanswered> {
    request(METHOD_ALLOCATE, allocation(), None)
}

/// Gives back what an answer to [`request_without_login`] allocated, which a server does that asks nobody for a login. If
/// this is lost, the address is free again after its lifetime.
pub(super) async fn give_back(socket: &UdpSocket, server: SocketAddr, answer: &Message) -> Result<(), Unanswered> {
    if answer.typ.class == CLASS_SUCCESS_RESPONSE {
        let refresh = request(METHOD_REFRESH, vec![Box::new(Lifetime(Duration::ZERO))], None)?;
        transaction::send(socket, server, &refresh.raw).await?;
    }
    Ok(())
}

fn allocation() -> Vec<Box<dyn Setter>> {
    vec![Box::new(RequestedTransport { protocol: PROTO_UDP })]
}

fn allocation_of_ipv6() -> Vec<Box<dyn Setter>> {
    let mut wanted = allocation();
    wanted.push(Box::new(REQUESTED_FAMILY_IPV6));
    wanted
}

/// A request, signed where we know for whom.
fn request(method: Method, attributes: Vec<Box<dyn Setter>>, login: Option<&Login>) -> Result<Message, Unanswered> {
    let mut parts: Vec<Box<dyn Setter + '_>> = Vec::new();
    parts.extend(head(MessageType::new(method, CLASS_REQUEST)));
    parts.extend(attributes);
    if let Some(login) = login {
        parts.extend(login.attributes()?);
    }
    build(&parts)
}

/// A packet for `peer`, and what it carries: something that nobody else sends.
fn packet(peer: SocketAddr) -> Result<(Message, Vec<u8>), Unanswered> {
    let payload = TransactionId::new().0.to_vec();
    let mut parts = head(MessageType::new(METHOD_SEND, CLASS_INDICATION));
    parts.push(Box::new(PeerAddress { ip: peer.ip(), port: peer.port() }));
    parts.push(Box::new(Data(payload.clone())));
    Ok((build(&parts)?, payload))
}

fn head(kind: MessageType) -> Vec<Box<dyn Setter>> {
    vec![Box::new(TransactionId::new()), Box::new(kind)]
}

fn build(parts: &[Box<dyn Setter + '_>]) -> Result<Message, Unanswered> {
    let mut message = Message::new();
    message.build(parts).map_err(|error| Unanswered::Local(error.to_string()))?;
    Ok(message)
}

/// Code and reason of a refusal; an answer that is none makes no sense.
fn refusal(answer: &Message) -> Result<(u16, String), Unanswered> {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(answer).map_err(|_| Unanswered::Nonsense)?;
    Ok((error.code.0, printable(&String::from_utf8_lossy(&error.reason))))
}

fn relayed(answer: &Message) -> Option<SocketAddr> {
    let mut address = RelayedAddress::default();
    address.get_from(answer).ok()?;
    Some(SocketAddr::new(address.ip, address.port))
}

fn software(answer: &Message) -> Option<String> {
    text(answer, ATTR_SOFTWARE).map(|name| printable(&name)).filter(|name| !name.is_empty())
}

/// It has half an allocation after such a refusal, and gives none any more.
fn is_coturn(answer: &Message) -> bool {
    software(answer).is_some_and(|name| name.starts_with("Coturn"))
}

fn text(answer: &Message, attribute: AttrType) -> Option<String> {
    TextAttribute::get_from_as(answer, attribute).ok().map(|attribute| attribute.text)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rtc::stun::error_code::ErrorCode;
    use rtc::stun::message::{CLASS_ERROR_RESPONSE, MessageClass};

    use super::*;

    /// A server that answers each request by what `answer` makes of it, and never sends anything else.
    async fn server(answer: impl Fn(&Message) -> Message + Send + 'static) -> IceServer {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = socket.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let mut request = Message::new();
                request.unmarshal_binary(&buffer[..length]).unwrap();
                if request.typ.class == CLASS_REQUEST {
                    socket.send_to(&answer(&request).raw, from).await.unwrap();
                }
            }
        });
        let url = format!("turn:127.0.0.1:{port}").parse().unwrap();
        IceServer { url, username: "alice".into(), password: "secret".into() }
    }

    fn answer(request: &Message, class: MessageClass, attributes: Vec<Box<dyn Setter>>) -> Message {
        let kind = MessageType::new(request.typ.method, class);
        let mut parts: Vec<Box<dyn Setter>> = vec![Box::new(request.clone()), Box::new(kind)];
        parts.extend(attributes);
        build(&parts).unwrap()
    }

    fn refused(request: &Message, code: u16, realm: &str) -> Message {
        let reason = b"no\x1b[2J".to_vec();
        let mut parts: Vec<Box<dyn Setter>> = vec![Box::new(ErrorCodeAttribute { code: ErrorCode(code), reason })];
        if !realm.is_empty() {
            parts.push(Box::new(TextAttribute::new(ATTR_REALM, realm.into())));
            parts.push(Box::new(TextAttribute::new(ATTR_NONCE, "once".into())));
        }
        answer(request, CLASS_ERROR_RESPONSE, parts)
    }

    async fn trouble(answer: impl Fn(&Message) -> Message + Send + 'static) -> Trouble {
        Allocation::make(&server(answer).await, &Dialer::default()).await.err().expect("it is refused")
    }

    #[tokio::test]
    async fn each_refusal_is_told_by_its_code() {
        assert!(matches!(trouble(|request| refused(request, 401, "")).await, Trouble::NoRealm));
        let refusal = trouble(|request| refused(request, 401, "north")).await;
        assert!(matches!(&refusal, Trouble::Login { realm, code: 401, .. } if realm == "north"), "{refusal}");
        for code in [403, 437, 438, 486, 500, 508] {
            let told = trouble(move |request| {
                let login = request.contains(ATTR_USERNAME);
                refused(request, if login { code } else { 401 }, "north")
            })
            .await;
            assert!(matches!(told, Trouble::Refused { code: found, .. } if found == code), "{code}: {told}");
            assert!(!told.to_string().contains('\u{1b}'), "{told:?}");
        }
    }

    #[tokio::test]
    async fn answers_without_sense_are_told() {
        let told = trouble(|request| answer(request, CLASS_ERROR_RESPONSE, Vec::new())).await;
        assert!(matches!(told, Trouble::Unanswered(Unanswered::Nonsense)), "{told}");
        let told = trouble(|request| answer(request, CLASS_SUCCESS_RESPONSE, Vec::new())).await;
        assert!(matches!(told, Trouble::Unanswered(Unanswered::Nonsense)), "{told}");
    }

    #[tokio::test]
    async fn a_relay_that_swallows_packets_is_told() {
        let relayed = SocketAddr::from(([192, 0, 2, 1], 50_000));
        let server = server(move |request| {
            let address = RelayedAddress { ip: relayed.ip(), port: relayed.port() };
            answer(request, CLASS_SUCCESS_RESPONSE, vec![Box::new(address)])
        })
        .await;
        let Ok(allocation) = Allocation::make(&server, &Dialer::default()).await else { panic!("it is given") };
        assert!(allocation.is_open_to_all());
        assert_eq!(allocation.relayed, relayed);
        allocation.permit(relayed.ip()).await.unwrap();
        let told = allocation.bounce().await.unwrap_err();
        assert!(matches!(told, Trouble::Lost { .. }), "{told}");
    }
}
