//! How many connections may be open before it is known who is there.
//!
//! - owns: the count of such connections, in all and for each address
//! - must never: let one address take all places, nor make anybody wait: who finds no place is not let in
//! - flow: a new connection → [`Lobby::enter`] → a [`Guest`], dropped when the client has logged in or has gone

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Places in all: a load test begins a hundred calls at once. Each takes an open file, and memory for a TLS handshake.
const PLACES: usize = 256;
/// Places for one address, so that one that opens connections and says nothing leaves room for others. Many peers may be
/// behind the one address of a NAT, and each needs its place for a second or less.
const PLACES_PER_ADDRESS: usize = 64;

/// Where clients wait that nobody knows yet.
#[derive(Default)]
pub(super) struct Lobby {
    guests: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Lobby {
    /// A place for a client of this address; `None` when there is none. Programs of this machine can take all: they could
    /// by other means too.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Guest> {
        let ip = ip.to_canonical();
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = guests.get(&ip).copied().unwrap_or(0);
        let is_full = guests.values().sum::<usize>() >= PLACES;
        if is_full || (of_address >= PLACES_PER_ADDRESS && !ip.is_loopback()) {
            return None;
        }
        guests.insert(ip, of_address + 1);
        Some(Guest { lobby: Arc::clone(self), ip })
    }
}

/// A place in the lobby, given back when dropped.
pub(super) struct Guest {
    lobby: Arc<Lobby>,
    ip: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.lobby.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(lobby: &Arc<Lobby>, ip: &str, count: usize) -> Vec<Guest> {
        (0..count).map_while(|_| lobby.enter(ip.parse().unwrap())).collect()
    }

    #[test]
    fn one_address_leaves_room_for_others() {
        let lobby = Arc::new(Lobby::default());
        let mut crowd = take(&lobby, "192.0.2.1", PLACES);
        assert_eq!(crowd.len(), PLACES_PER_ADDRESS);
        assert!(lobby.enter("192.0.2.2".parse().unwrap()).is_some());
        assert!(lobby.enter("::ffff:192.0.2.1".parse().unwrap()).is_none(), "the same address, written otherwise");
        crowd.pop();
        assert!(lobby.enter("192.0.2.1".parse().unwrap()).is_some());
    }

    #[test]
    fn there_are_so_many_places_in_all() {
        let lobby = Arc::new(Lobby::default());
        let own = take(&lobby, "127.0.0.1", 2 * PLACES);
        assert_eq!(own.len(), PLACES);
        assert!(lobby.enter("192.0.2.1".parse().unwrap()).is_none());
        drop(own);
        assert!(lobby.guests.lock().unwrap().is_empty());
    }
}
