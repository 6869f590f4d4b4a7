//! How many relayed sockets each user may have at once, over all transports together (RFC 8656 section 7.2).
//!
//! - owns: the count of each user that has any
//! - flow: a request for an allocation → [`Quota::has_room`], refused with 486 without; then [`Requester`] carries its user
//!   to where the socket is opened → [`Quota::enter`] → a [`Seat`], dropped with the socket

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
pub(super) struct Quota {
    /// `None`: as many as there are
    most: Option<usize>,
    users: Mutex<BTreeMap<String, usize>>,
}

impl Quota {
    pub(super) fn new(most: Option<usize>) -> Self {
        Self { most, users: Mutex::default() }
    }

    /// Whether this user may have one more.
    pub(super) fn has_room(&self, user: &str) -> bool {
        self.most.is_none_or(|most| self.users().get(user).copied().unwrap_or(0) < most)
    }

    /// A place for one more; `None` when there is none.
    pub(super) fn enter(self: &Arc<Self>, user: String) -> Option<Seat> {
        let mut users = self.users();
        let count = users.get(&user).copied().unwrap_or(0);
        if self.most.is_some_and(|most| count >= most) {
            return None;
        }
        users.insert(user.clone(), count + 1);
        drop(users);
        Some(Seat { quota: Arc::clone(self), user })
    }

    fn users(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a user's places, given back when dropped.
pub(super) struct Seat {
    quota: Arc<Quota>,
    user: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = self.quota.users();
        if let Some(count) = users.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.user);
            }
        }
    }
}

/// Whose request for an allocation is handled now. The `turn` crate handles one message of a socket after the other, and
/// does not tell who asks when it wants a relayed socket.
#[derive(Clone, Default)]
pub(super) struct Requester(Arc<Mutex<Option<String>>>);

impl Requester {
    /// The next relayed socket is for this user.
    pub(super) fn set(&self, user: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(user);
    }

    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_so_many_places_and_gets_them_back() {
        let quota = Arc::new(Quota::new(Some(2)));
        let mut of_alice: Vec<Seat> = (0..2).map_while(|_| quota.enter("alice".into())).collect();
        assert_eq!(of_alice.len(), 2);
        assert!(!quota.has_room("alice") && quota.enter("alice".into()).is_none());
        assert!(quota.enter("bob".into()).is_some());
        of_alice.pop();
        assert!(quota.has_room("alice"));
        drop(of_alice);
        assert!(quota.users().is_empty(), "who has none is forgotten");
        let unlimited = Arc::new(Quota::new(None));
        assert_eq!((0..1000).map_while(|_| unlimited.enter("alice".into())).count(), 1000);
    }
}
