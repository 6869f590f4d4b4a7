//! Peers behind NATs on one machine: network namespaces, virtual cables between them, the kernel's own NAT.
//!
//! ```text
//!        the public network 198.18.0.0/24
//!        .1 Mosquitto and coTURN; .2 coTURN over TLS on port 443; .3 tring serve, where it is started
//!        .11 |             .12 |
//!        router 1          router 2      NAT and filter by nftables
//!     10.77.1.1 |       10.77.2.1 |
//!            .2 alice          .2 bob
//! ```
//!
//! - [`Lab`]: the public network and its servers; [`Router`]: a NAT of one [`Nat`] kind; [`Host`]: where a peer runs
//! - [`Space`]: one namespace, with a name of its own in every test, so that labs do not meet
//!
//! No address is seen outside: the ranges are for benchmarks (RFC 2544) and private. Where the kernel or the user's
//! rights do not allow namespaces, [`Lab::start`] says so aloud and gives nothing, or fails where `CI` is set; anything
//! else that fails, panics.

use std::cell::Cell;
use std::sync::OnceLock;

use super::call::Args;
use super::daemon::Daemon;
use super::process::Tring;
use super::served::{self, Served};
use super::{TempDir, coturn, did_not_run, run};
use space::Space;

mod names;
mod servers;
mod space;

pub use names::Family;

/// Where both servers are.
const SERVER: &str = "198.18.0.1";
/// Where TURN over TLS is on the port of HTTPS, which the broker has at the other address.
const SERVER_443: &str = "198.18.0.2";
/// Where the program's own servers are.
const SERVER_OWN: &str = "198.18.0.3";
/// Where the servers are for peers without IPv4.
const SERVER_V6: &str = "fd18::1";

/// Where the proxy is, at [`SERVER`].
const PROXY_PORT: u16 = 3128;

/// Who may use the program's own servers.
const OWN_USER: &str = "family";
const OWN_PASSWORD: &str = "open sesame";

/// What the kernel answers when it lacks something or does not allow it.
const REFUSALS: [&str; 5] = [
    "Operation not permitted",
    "Permission denied",
    "Operation not supported",
    "Unknown device type",
    "Could not process rule",
];

/// How a router treats UDP (RFC 4787 names in brackets).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One port outside for each inside, open to whoever was written to (port-restricted cone: endpoint-independent
    /// mapping, address- and port-dependent filtering). Most home routers.
    Cone,
    /// The same, open to everyone (full cone: endpoint-independent mapping and filtering): a forwarded port, UPnP.
    FullCone,
    /// Another port outside for each destination (symmetric: address- and port-dependent mapping). Mobile networks.
    Symmetric,
}

/// The public network with its servers; everything is removed when dropped.
pub struct Lab {
    coturn: Daemon,
    _mosquitto: Daemon,
    public: Space,
    routers: Cell<u8>,
    hosts: Cell<u8>,
    hosts_of_ipv6: Cell<u16>,
    dir: TempDir,
}

impl Lab {
    /// Starts it; nothing, and a loud word, where network namespaces are not to be had.
    ///
    /// # Panics
    /// When anything fails that should work here, and where nothing may be left out ([`did_not_run`]).
    pub fn start() -> Option<Self> {
        static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
        if let Some(obstacle) = OBSTACLE.get_or_init(obstacle) {
            did_not_run(&format!("no network namespaces here: {obstacle}"));
            return None;
        }
        let (dir, public) = (TempDir::new("lab"), Space::new("public"));
        // The default route leads nowhere, but without one coTURN gives up on peers with private addresses.
        public.ip(&format!(
            "link add seg type bridge\n\
             addr add {SERVER}/24 dev seg\n\
             addr add {SERVER_443}/24 dev seg\n\
             addr add {SERVER_OWN}/24 dev seg\n\
             addr add {SERVER_V6}/64 dev seg nodad\n\
             link set seg up\n\
             neigh add 198.18.0.254 lladdr 02:00:00:00:00:fe dev seg nud permanent\n\
             route add default via 198.18.0.254"
        ));
        public.nft(&format!(
            "table ip https {{\n chain inward {{\n type nat hook prerouting priority dstnat\n \
             ip daddr {SERVER_443} tcp dport 443 dnat to {SERVER}:5349\n \
             ip daddr {SERVER} tcp dport 443 redirect to :8443\n }}\n}}\n"
        ));
        servers::prepare(&dir);
        let mosquitto = servers::mosquitto(&public, &dir);
        dir.write("turn.password", coturn::PASSWORD);
        let coturn = servers::coturn(&public, &dir);
        let (routers, hosts, hosts_of_ipv6) = (Cell::new(0), Cell::new(0), Cell::new(0xa));
        Some(Self { coturn, _mosquitto: mosquitto, public, routers, hosts, hosts_of_ipv6, dir })
    }

    /// A router between the public network and one of its own.
    pub fn router(&self, nat: Nat) -> Router {
        let number = self.routers.get() + 1;
        self.routers.set(number);
        let space = Space::new(&format!("router{number}"));
        let public = self.public.name();
        space.ip(&format!(
            "link add wan type veth peer name router{number} netns {public}\n\
             addr add 198.18.0.{}/24 dev wan\n\
             link set wan up\n\
             route add default via {SERVER}\n\
             link add lan type bridge\n\
             addr add 10.77.{number}.1/24 dev lan\n\
             link set lan up",
            10 + number
        ));
        self.public.ip(&format!("link set router{number} master seg up"));
        space.forward();
        space.nft(&rules(nat, number));
        Router { space, number, hosts: Cell::new(0) }
    }

    /// A host in the servers' own network, which has no way out of it.
    pub fn host(&self, label: &'static str) -> Host {
        self.hosts.set(self.hosts.get() + 1);
        self.plug_in(label, &format!("addr add 198.18.0.{}/24 dev cable1", 100 + self.hosts.get()))
    }

    /// A host in the servers' own network that has IPv6 and nothing else.
    pub fn host_of_ipv6(&self, label: &'static str) -> Host {
        let last = self.hosts_of_ipv6.replace(self.hosts_of_ipv6.get() + 1);
        self.plug_in(label, &format!("addr add fd18::{last:x}/64 dev cable1 nodad\nroute add default via {SERVER_V6}"))
    }

    fn plug_in(&self, label: &'static str, addressing: &str) -> Host {
        let (space, public) = (Space::new(label), self.public.name());
        space.ip(&format!(
            "link add cable1 type veth peer name {label} netns {public}\nlink set cable1 up\n{addressing}"
        ));
        self.public.ip(&format!("link set {label} master seg up"));
        Host { space, label, cables: Cell::new(1) }
    }

    /// Arguments of the peer `id`.
    pub fn peer(&self, id: &str) -> Args {
        Args::new(["--id", id, "--broker"]).and([format!("mqtt://{SERVER}")])
    }

    /// Arguments of the peer `id`, for a host without IPv4.
    pub fn peer_of_ipv6(&self, id: &str) -> Args {
        Args::new(["--id", id, "--broker"]).and([format!("mqtt://[{SERVER_V6}]")])
    }

    /// The program's own servers, with one login for broker and relay, and everything over TLS on the port of HTTPS.
    pub fn serve(&self) -> Served {
        let password = self.dir.write("own.password", OWN_PASSWORD);
        let listen = Args::new(served::SERVE).and(["--listen", SERVER_OWN, "--tls-port", "443", "--user", OWN_USER]);
        let command = Tring::command(listen.option("--password-file", password));
        Served::run(command.through(self.public.launcher()))
    }

    /// Arguments of the peer `id` that has nothing but these servers, the broker at this address and the relay over TLS.
    pub fn peer_of(&self, served: &Served, id: &str, broker: &str) -> Args {
        let password = self.dir.file("own.password");
        let link = Args::new(["--id", id, "--broker", broker, "--user", OWN_USER]).option("--password-file", &password);
        let relay = Args::new(["--ice", &served.turns(), "--ice-user", OWN_USER]);
        link.and(relay).option("--ice-password-file", password).option("--ca-file", served.ca_file())
    }

    /// The program's own servers with the same login, without TLS, at this address of the public network.
    pub fn serve_on(&self, address: &str) -> Served {
        let password = self.dir.write("own.password", OWN_PASSWORD);
        let listen = Args::new(served::SERVE).and(["--listen", address, "--user", OWN_USER]);
        let command = Tring::command(listen.option("--password-file", password));
        Served::run(command.through(self.public.launcher()))
    }

    /// Arguments that name the relay of [`Self::serve_on`] at its IPv4 address, and nothing else.
    pub fn own_over_ipv4(&self, served: &Served) -> Args {
        self.own_by(&format!("turn:{SERVER}:{}", served::port_of(&served.turn)))
    }

    /// The same at its IPv6 address.
    pub fn own_over_ipv6(&self, served: &Served) -> Args {
        self.own_by(&format!("turn:[{SERVER_V6}]:{}", served::port_of(&served.turn)))
    }

    fn own_by(&self, url: &str) -> Args {
        let relay = Args::new(["--ice", url, "--ice-user", OWN_USER]);
        relay.option("--ice-password-file", self.dir.file("own.password"))
    }

    /// Arguments that name the STUN server.
    pub fn stun(&self) -> Args {
        Args::new(["--ice".to_owned(), format!("stun:{SERVER}")])
    }

    /// Arguments that name the TURN server, and the STUN server too.
    pub fn turn(&self) -> Args {
        self.stun().and(self.turn_alone())
    }

    /// Arguments of the peer `id`, which reaches the broker by WebSocket over TLS on the port of HTTPS.
    pub fn peer_by_https(&self, id: &str) -> Args {
        let broker = Args::new(["--id", id, "--broker"]).and([format!("wss://{SERVER}:443/mqtt")]);
        broker.option("--ca-file", self.dir.file("ca.crt"))
    }

    /// Arguments that name the TURN server and nothing else.
    pub fn turn_alone(&self) -> Args {
        self.turn_by(&format!("turn:{SERVER}"))
    }

    /// Arguments that name the TURN server over TCP and nothing else.
    pub fn turn_over_tcp(&self) -> Args {
        self.turn_by(&format!("turn:{SERVER}?transport=tcp"))
    }

    /// Arguments that name the TURN server over UDP and over TCP.
    pub fn turn_over_udp_and_tcp(&self) -> Args {
        self.turn_alone().and(["--ice".to_owned(), format!("turn:{SERVER}?transport=tcp")])
    }

    /// Arguments that name the TURN server over TLS and nothing else but the authority of its certificate.
    pub fn turn_over_tls(&self) -> Args {
        self.turn_by(&format!("turns:{SERVER}")).option("--ca-file", self.dir.file("ca.crt"))
    }

    /// The same without the authority, for whoever names it already.
    pub fn turns_again(&self) -> Args {
        self.turn_by(&format!("turns:{SERVER}"))
    }

    /// Arguments that name the TURN server over TLS on the port of HTTPS, at its other address.
    pub fn turn_by_https(&self) -> Args {
        self.turn_by(&format!("turns:{SERVER_443}:443"))
    }

    /// Arguments that name the TURN server at its IPv6 address and nothing else.
    pub fn turn_over_ipv6(&self) -> Args {
        self.turn_by(&format!("turn:[{SERVER_V6}]"))
    }

    /// The same over TCP.
    pub fn turn_over_tcp_and_ipv6(&self) -> Args {
        self.turn_by(&format!("turn:[{SERVER_V6}]?transport=tcp"))
    }

    /// Starts coTURN again without an IPv4 address to relay from, and with these lines of configuration too.
    pub fn relay_by_ipv6_alone(&mut self, more: &str) {
        self.coturn.kill();
        servers::relay_by_ipv6_alone(&self.dir, more);
        self.start_turn();
    }

    fn turn_by(&self, url: &str) -> Args {
        let relay = Args::new(["--ice", url]).option("--ice-user", coturn::USER);
        relay.option("--ice-password-file", self.dir.file("turn.password"))
    }

    /// Ends coTURN as a crash would: all its allocations are lost.
    pub fn kill_turn(&mut self) {
        self.coturn.kill();
    }

    /// Starts it again; it answers when this returns.
    pub fn start_turn(&mut self) {
        self.coturn = servers::coturn(&self.public, &self.dir);
    }
}

/// A NAT between the public network and one of its own.
pub struct Router {
    space: Space,
    number: u8,
    hosts: Cell<u8>,
}

impl Router {
    /// A host in its inner network; for a full cone the first is the one that everyone reaches.
    pub fn host(&self, label: &'static str) -> Host {
        let host = Host { space: Space::new(label), label, cables: Cell::new(0) };
        host.move_to(self);
        host
    }

    /// From now on lets no UDP through.
    pub fn block_udp(&self) {
        self.space.interfere("forward", "");
    }

    /// From now on lets nothing out but TCP to the port of HTTPS.
    pub fn allow_https_alone(&self) {
        self.allow_port_alone(443);
    }

    /// From now on lets nothing out but TCP to the port of [`Lab::proxy`].
    pub fn allow_proxy_alone(&self) {
        self.allow_port_alone(PROXY_PORT);
    }

    fn allow_port_alone(&self, port: u16) {
        self.space.nft(&format!(
            "table inet firewall {{\n chain through {{\n type filter hook forward priority filter - 10\n \
             ct state established,related accept\n iifname \"lan\" tcp dport {port} accept\n counter drop\n }}\n}}\n"
        ));
    }

    /// Packets that [`Self::allow_https_alone`] or [`Self::allow_proxy_alone`] took so far.
    pub fn refused(&self) -> u64 {
        self.space.counted("firewall")
    }

    /// From now on sends no more than this to the public network, and holds what is above it for up to 200 ms.
    pub fn slow_down(&self, kbit: u32) {
        let rate = format!("{kbit}kbit");
        let mut tc = self.space.command("tc", "iproute2");
        run(tc.args([
            "qdisc", "replace", "dev", "wan", "root", "tbf", "rate", &rate, "burst", "6kb", "latency", "200ms",
        ]));
    }

    /// From now on loses this share of all UDP packets, both ways, each by chance.
    pub fn lose(&self, percent: u8) {
        self.space.interfere("forward", &format!("numgen random mod 100 < {percent}"));
    }

    /// From now on carries no packet above so many bytes to and from the public network; whether it says so is up to
    /// it. TCP is told in time, as most such routers do.
    pub fn narrow(&self, bytes: u16, manner: Manner) {
        let silence = match manner {
            Manner::Says => "",
            Manner::KeepsSilent => {
                "chain silence {\n type filter hook output priority filter\n meta l4proto icmp drop\n }\n"
            }
        };
        self.space.nft(&format!(
            "table inet narrow {{\n chain through {{\n type filter hook forward priority mangle\n \
             tcp flags syn tcp option maxseg size set {}\n }}\n{silence}}}\n",
            bytes - 100
        ));
        self.space.ip(&format!("link set wan mtu {bytes}"));
    }

    /// Lets everything through again.
    pub fn relent(&self) {
        self.space.relent();
    }

    /// Packets that [`Self::block_udp`] or [`Self::lose`] took so far.
    pub fn taken(&self) -> u64 {
        self.space.taken()
    }

    /// An address for one more host.
    fn next_address(&self) -> String {
        self.hosts.set(self.hosts.get() + 1);
        format!("10.77.{}.{}", self.number, 1 + self.hosts.get())
    }

    /// `ip` commands that give a device an address here.
    fn addressing(&self, device: &str) -> String {
        let address = self.next_address();
        format!("addr add {address}/24 dev {device}\nroute replace default via 10.77.{}.1 dev {device}\n", self.number)
    }
}

/// What a router does about a packet that is too large for the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It drops it and tells the sender (RFC 1191).
    Says,
    /// It drops it.
    KeepsSilent,
}

/// Where one peer runs.
pub struct Host {
    space: Space,
    label: &'static str,
    cables: Cell<u8>,
}

impl Host {
    /// Starts `tring ARGS --json` here.
    pub fn run(&self, args: Args) -> Tring {
        self.run_with(args, &[])
    }

    /// The same, with these variables in its environment.
    pub fn run_with(&self, args: Args, envs: &[(&str, &str)]) -> Tring {
        Tring::command(args).envs(envs.to_vec()).through(self.space.launcher()).spawn()
    }

    /// Gets another address in the network of this router, where it is; the old one is gone.
    pub fn readdress(&self, router: &Router) {
        let device = self.device();
        self.space.ip(&format!("addr flush dev {device}\n{}", router.addressing(&device)));
    }

    /// Plugs in at this router; the cable to where it was before is taken away.
    pub fn move_to(&self, router: &Router) {
        let old = (self.cables.get() > 0).then(|| self.device());
        self.cables.set(self.cables.get() + 1);
        let (device, far_end) = (self.device(), format!("{}{}", self.label, self.cables.get()));
        self.space.ip(&format!("link add {device} type veth peer name {far_end} netns {}", router.space.name()));
        router.space.ip(&format!("link set {far_end} master lan up"));
        let unplug = old.map(|old| format!("link del {old}\n")).unwrap_or_default();
        self.space.ip(&format!("link set {device} up\n{unplug}{}", router.addressing(&device)));
    }

    /// Plugs in at this router as well, as a second choice: its default route counts less than the one there was.
    pub fn plug_in_too(&self, router: &Router) {
        let first = self.device();
        self.cables.set(self.cables.get() + 1);
        let (device, far_end) = (self.device(), format!("{}{}", self.label, self.cables.get()));
        self.space.ip(&format!("link add {device} type veth peer name {far_end} netns {}", router.space.name()));
        router.space.ip(&format!("link set {far_end} master lan up"));
        self.space.ip(&format!("link set {device} up"));
        let gateway = self.space.gateway();
        let address = router.next_address();
        self.space.ip(&format!(
            "addr add {address}/24 dev {device}\n\
             route del default\n\
             route add default via {gateway} dev {first} metric 100\n\
             route add default via 10.77.{}.1 dev {device} metric 200",
            router.number
        ));
    }

    /// Carries out `ip` commands here.
    pub fn ip(&self, commands: &str) {
        self.space.ip(commands);
    }

    /// Sends packets one by one, as wires carry them: the kernel would hand a router in here many as one.
    pub fn send_one_by_one(&self) {
        self.space.ip(&format!("link set {} gso_max_segs 1", self.device()));
    }

    /// From now on counts DTLS handshake packets, in and out.
    pub fn count_dtls(&self) {
        // The first byte of the payload is the content type (RFC 6347 section 4.1); 22 is a handshake. STUN has 0 or 1
        // there, RTP and RTCP have 128 and more (RFC 7983).
        let chain = |hook: &str| {
            format!(
                " chain {hook} {{\n type filter hook {hook} priority filter\n meta l4proto udp @th,64,8 22 counter\n }}\n"
            )
        };
        self.space.nft(&format!("table inet dtls {{\n{}{}}}\n", chain("input"), chain("output")));
    }

    /// DTLS handshake packets since [`Self::count_dtls`].
    pub fn dtls_packets(&self) -> u64 {
        self.space.counted("dtls")
    }

    /// From now on loses this share of all UDP packets that come here, each by chance; nobody is told.
    pub fn lose(&self, percent: u8) {
        self.space.interfere("input", &format!("numgen random mod 100 < {percent}"));
    }

    /// From now on loses all DTLS packets that come here: what begins with 20 to 63 (RFC 7983).
    pub fn lose_dtls(&self) {
        self.space.interfere("input", "@th,64,8 20-63");
    }

    /// Packets that [`Self::lose`] or [`Self::lose_dtls`] took so far.
    pub fn lost(&self) -> u64 {
        self.space.taken()
    }

    fn device(&self) -> String {
        format!("cable{}", self.cables.get())
    }
}

/// The packet filter of a router.
fn rules(nat: Nat, number: u8) -> String {
    let masquerade = match nat {
        Nat::Cone | Nat::FullCone => "masquerade",
        Nat::Symmetric => "masquerade fully-random",
    };
    let inward = match nat {
        Nat::FullCone => format!("iifname \"wan\" meta l4proto udp dnat to 10.77.{number}.2"),
        Nat::Cone | Nat::Symmetric => String::new(),
    };
    format!(
        "table ip nat {{
            chain outward {{
                type nat hook postrouting priority srcnat
                oifname \"wan\" {masquerade}
            }}
            chain inward {{
                type nat hook prerouting priority dstnat
                {inward}
            }}
        }}
        table ip filter {{
            chain itself {{
                type filter hook input priority filter
                iifname \"wan\" ct state new drop
            }}
            chain through {{
                type filter hook forward priority filter
                iifname \"wan\" ct status dnat accept
                iifname \"wan\" ct state new drop
            }}
        }}\n"
    )
}

/// What the kernel, or the user's rights, lack for a lab.
///
/// # Panics
/// When something fails for any other reason.
fn obstacle() -> Option<String> {
    space::remove_orphans();
    let probe = || {
        let space = Space::attempt("probe")?;
        space.try_ip("link add seg type bridge\nlink add one type veth peer name other")?;
        space.try_nft(&rules(Nat::Symmetric, 0))?;
        space.try_nft(&rules(Nat::FullCone, 0).replace("ip nat", "ip nat2").replace("ip filter", "ip filter2"))?;
        space.try_nft(
            "table inet loss {\n chain through {\n type filter hook forward priority filter\n \
             meta l4proto udp numgen random mod 100 < 5 @th,64,8 22 counter drop\n }\n}\n",
        )
    };
    let refusal: String = probe().err()?;
    assert!(REFUSALS.iter().any(|known| refusal.contains(known)), "{refusal}");
    let remedy = "needed: root, and a kernel with network namespaces, veth, bridge and nftables with NAT and numgen";
    Some(format!("{refusal}\n{remedy}"))
}
