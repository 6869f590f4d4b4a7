//! Names for the broker and the relay: with an address of each family, where it is looked up; and a proxy that knows it.

use super::super::call::Args;
use super::super::daemon::Daemon;
use super::{Host, Lab, PROXY_PORT, SERVER, SERVER_443, SERVER_OWN, SERVER_V6, servers};

/// The broker's name.
pub(super) const BROKER_NAME: &str = "broker.test";

/// The relay's name.
const RELAY_NAME: &str = "relay.test";

/// Addresses of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The broker's address.
    pub fn broker(self) -> &'static str {
        match self {
            Self::V4 => SERVER,
            Self::V6 => SERVER_V6,
        }
    }
}

impl Lab {
    /// A host in the servers' own network with addresses of both families, where the broker's name has both too.
    pub fn host_of_both(&self, label: &'static str) -> Host {
        let host = self.host(label);
        let last = self.hosts_of_ipv6.replace(self.hosts_of_ipv6.get() + 1);
        host.space.ip(&format!("addr add fd18::{last:x}/64 dev cable1 nodad"));
        let names = [Family::V6, Family::V4].map(|family| format!("{} {BROKER_NAME}\n", family.broker()));
        host.space.name_hosts(&format!("127.0.0.1 localhost\n{}", names.concat()));
        host
    }

    /// Arguments of the peer `id`, which knows the broker by its name.
    pub fn peer_by_name(&self, id: &str) -> Args {
        Args::new(["--id", id, "--broker"]).and([format!("mqtt://{BROKER_NAME}")])
    }

    /// Arguments of the peer `id`, which knows the broker by its name and speaks this to it, over TLS.
    pub fn peer_over_tls(&self, id: &str, url: &str) -> Args {
        let url = url.replace("BROKER", BROKER_NAME);
        Args::new(["--id", id, "--broker", &url]).option("--ca-file", self.dir.file("ca.crt"))
    }

    /// From now on swallows every packet to the broker at this address. Nobody is told.
    pub fn swallow(&self, family: Family) {
        let (table, which) = match family {
            Family::V4 => ("swallow_v4", format!("ip daddr {SERVER}")),
            Family::V6 => ("swallow_v6", format!("ip6 daddr {SERVER_V6}")),
        };
        self.public.nft(&format!(
            "table inet {table} {{\n chain inward {{\n type filter hook prerouting priority raw\n \
             {which} tcp dport 1883 counter drop\n }}\n}}\n"
        ));
    }

    /// Packets that [`Self::swallow`] took so far.
    pub fn swallowed(&self, family: Family) -> u64 {
        self.public.counted(match family {
            Family::V4 => "swallow_v4",
            Family::V6 => "swallow_v6",
        })
    }

    /// Arguments that name the TURN server over TCP by its name, and nothing else.
    pub fn turn_by_name(&self) -> Args {
        self.turn_by(&format!("turn:{RELAY_NAME}?transport=tcp"))
    }

    /// Gives the relay's name two addresses on this host: the first swallows everything, the second is right.
    pub fn name_relay(&self, host: &Host) {
        self.name_relay_by(host, [SERVER_443, SERVER]);
    }

    /// The same with a first address that swallows everything, and a second one where nothing listens.
    pub fn name_dead_relay(&self, host: &Host) {
        self.name_relay_by(host, [SERVER_443, SERVER_OWN]);
    }

    fn name_relay_by(&self, host: &Host, addresses: [&str; 2]) {
        let names = addresses.map(|address| format!("{address} {RELAY_NAME}\n")).concat();
        host.space.name_hosts(&format!("127.0.0.1 localhost\n{names}"));
        self.public.nft(&format!(
            "add table inet swallow_relay\ndelete table inet swallow_relay\n\
             table inet swallow_relay {{\n chain inward {{\n type filter hook prerouting priority raw\n \
             ip daddr {SERVER_443} tcp dport 3478 counter drop\n }}\n}}\n"
        ));
    }

    /// Packets that the relay's dead address took so far.
    pub fn swallowed_by_relay(&self) -> u64 {
        self.public.counted("swallow_relay")
    }

    /// A proxy of this kind, `http` or `socks5`, in the servers' network.
    pub fn proxy(&self, kind: &str) -> Daemon {
        servers::proxy(&self.public, kind, &self.dir)
    }

    /// Where [`Self::proxy`] is.
    pub fn proxy_address(&self) -> String {
        format!("{SERVER}:{PROXY_PORT}")
    }
}
