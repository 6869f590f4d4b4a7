//! Our STUN and TURN servers, as the engine takes them.

use webrtc::peer_connection::RTCIceServer;

use crate::path::ice_server::{IcePolicy, IceServer, IceServerKind, IceTransport, IceUrl};
use crate::path::stand_in::StandIns;

/// The servers as the engine takes them: it knows UDP alone, so a server over TCP or TLS has a stand-in.
pub(super) fn for_engine(servers: &[IceServer], policy: IcePolicy) -> Vec<RTCIceServer> {
    let stand_ins = StandIns::of(servers);
    let server = |server: &IceServer| RTCIceServer {
        urls: vec![stand_ins.for_engine(&server.url).to_string()],
        username: server.username.clone(),
        credential: server.password.clone(),
    };
    let outer = also_stun(servers, policy).into_iter();
    let outer = outer.map(|url| RTCIceServer { urls: vec![url], ..RTCIceServer::default() });
    servers.iter().map(server).chain(outer).collect()
}

/// TURN servers that are to be asked for our outer address as well, which each of them tells (RFC 8656 §3.1): two who
/// could meet directly need no relay. As addresses of STUN servers, without those that are named as such, and those over TCP
/// and TLS: what they tell is the address of a stream.
fn also_stun(servers: &[IceServer], policy: IcePolicy) -> Vec<String> {
    if policy == IcePolicy::RelayOnly {
        return Vec::new();
    }
    let as_stun = |server: &IceServer| IceUrl { kind: IceServerKind::Stun, ..server.url.clone() };
    let named = |url: &IceUrl| servers.iter().any(|server| server.url == *url);
    let turn = servers.iter().filter(|server| server.url.kind == IceServerKind::Turn);
    let turn = turn.filter(|server| server.url.transport == IceTransport::Udp);
    let mut urls: Vec<String> = turn.map(as_stun).filter(|url| !named(url)).map(|url| url.to_string()).collect();
    urls.dedup();
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_server_is_asked_for_the_outer_address_too() {
        let asked = |urls: &[&str], policy| {
            let server = |url: &&str| {
                let (username, password) = (String::new(), String::new());
                IceServer { url: url.parse().unwrap(), username, password }
            };
            also_stun(&urls.iter().map(server).collect::<Vec<_>>(), policy)
        };
        assert_eq!(asked(&["turn:a", "stun:b"], IcePolicy::All), ["stun:a:3478"]);
        assert!(asked(&["turn:a?transport=tcp", "turns:a"], IcePolicy::All).is_empty());
        assert!(asked(&["turn:a", "stun:a"], IcePolicy::All).is_empty(), "it is named as one");
        assert!(asked(&["turn:a"], IcePolicy::RelayOnly).is_empty(), "that would show the address");
    }
}
