//! A stranger with a login of her own, at brokers with the rights of `docs/OPERATIONS.md`: whatever mallory tries, she
//! neither speaks as somebody else nor reads what is not hers.
//!
//! Each attack runs twice: at an open broker, where it has to work (one that fails there proves nothing), and at a
//! guarded one, where it must not.
//!
//! - [`topics`]: what the broker passes on, seen by plain clients
//! - [`calls`]: what the program makes of it, listening and in a call

use std::sync::atomic::{AtomicU32, Ordering};

use rumqttc::MqttOptions;

use crate::support::broker::{Broker, Make};
use crate::support::call::Args;
use crate::support::mallory::{self, Mallory};
use crate::support::{TempDir, password_of};

mod calls;
mod topics;

/// A broker, and what it takes to connect to it.
struct Scene {
    broker: Broker,
    logins: Logins,
}

enum Logins {
    None,
    /// one a peer; the folder is for files with their passwords
    Users(TempDir),
}

impl Scene {
    /// Everyone may do everything.
    fn open(make: Make) -> Self {
        Self { broker: make.open(), logins: Logins::None }
    }

    /// Everyone has a login and the rights of that.
    fn guarded(make: Make) -> Self {
        Self { broker: make.guarded(), logins: Logins::Users(TempDir::new("passwords")) }
    }

    /// A plain client of this user. Its ClientId is one of its own, so that nobody is thrown off by it.
    fn client(&self, user: &str) -> Mallory {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let client_id = format!("{user}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        Mallory::connect(self.options(&client_id, user))
    }

    /// How a plain client connects, with any ClientId and the login of this user.
    fn options(&self, client_id: &str, user: &str) -> MqttOptions {
        match self.logins {
            Logins::None => mallory::options(client_id, self.broker.port()),
            Logins::Users(_) => mallory::login(client_id, user, self.broker.port()),
        }
    }

    /// Arguments that make the program this peer.
    fn peer(&self, id: &str) -> Args {
        let peer = Args::new(["--id", id, "--broker", &self.broker.url(), "--control", "-"]);
        match &self.logins {
            Logins::None => peer,
            Logins::Users(dir) => {
                let file = dir.write(&format!("{id}.password"), password_of(id));
                peer.option("--user", id).option("--password-file", file)
            }
        }
    }
}
