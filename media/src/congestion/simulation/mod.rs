//! Congestion control over networks in virtual time: [`Sending`] at one end, a receiver that sends feedback at the other,
//! [`Link`]s between, and TCP beside them.

mod cases;
mod flow;
mod marks;
mod random_lines;
mod tcp;

use std::time::{Duration, Instant};

use super::feedback::{Acknowledgement, FEEDBACK_EVERY, feedback_every};
use crate::impair::{Impairment, Link};

use self::flow::Flow;
use self::tcp::Tcp;

/// What goes over a link.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Media { flow: usize, number: u16, sound: Duration, departed: Instant, bytes: usize },
    Feedback { flow: usize, told: Vec<Acknowledgement> },
    Report { flow: usize, loss: f64, at: Instant, took: Duration },
    Tcp { number: u64 },
    TcpAck { number: u64 },
}

/// Which way the media of a flow goes; its feedback goes the other way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    There,
    Back,
}

/// A network, and what is sent over it.
pub(super) struct World {
    start: Instant,
    pub(super) now: Instant,
    /// There and back; one link for both where the medium is shared.
    links: Vec<Link<Item>>,
    pub(super) flows: Vec<Flow>,
    tcp: Option<Tcp>,
    /// What the links become, and when.
    changes: Vec<(Duration, Vec<Impairment>)>,
}

impl World {
    /// A network of these links: two, there and back, or one that both directions share.
    pub(super) fn new(links: &[&str]) -> Self {
        let start = Instant::now();
        let links = links.iter().map(|text| Link::new(line(text))).collect();
        Self { start, now: start, links, flows: Vec::new(), tcp: None, changes: Vec::new() }
    }

    /// A flow of sound and pictures from `from` on.
    pub(super) fn with_flow(mut self, way: Way, from: Duration) -> Self {
        let flow = Flow::new(self.flows.len(), way, self.start + from, 7 + self.flows.len() as u64);
        self.flows.push(flow);
        self
    }

    /// A long TCP transfer there, all the while.
    pub(super) fn with_tcp(mut self) -> Self {
        self.tcp = Some(Tcp::new(self.start));
        self
    }

    /// The links become these at that time.
    pub(super) fn then(mut self, seconds: u64, links: &[&str]) -> Self {
        self.changes.push((Duration::from_secs(seconds), links.iter().map(|text| line(text)).collect()));
        self
    }

    /// Lets time pass until so many seconds after the start.
    pub(super) fn run(&mut self, seconds: f64) {
        let end = self.start + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.step();
            let next = self.next_event().map_or(end, |at| at.max(self.now + Duration::from_micros(50)));
            self.now = next.min(end);
        }
    }

    /// Bits that TCP has brought through.
    pub(super) fn tcp_bits(&self) -> f64 {
        self.tcp.as_ref().map_or(0.0, Tcp::acknowledged_bits)
    }

    fn step(&mut self) {
        let now = self.now;
        while self.changes.first().is_some_and(|(at, _)| self.start + *at <= now) {
            let (_, specs) = self.changes.remove(0);
            self.links.iter_mut().zip(specs).for_each(|(link, spec)| link.set(spec, now));
        }
        for index in 0..self.links.len() {
            while let Some(item) = self.links[index].poll(now) {
                self.arrived(item);
            }
        }
        self.spare_feedback();
        let mut out = Vec::new();
        for flow in &mut self.flows {
            flow.run(now, &mut out);
        }
        if let Some(tcp) = &mut self.tcp {
            tcp.run(now, &mut out);
        }
        for (way, item, bytes) in out {
            let link = if way == Way::There { 0 } else { self.links.len() - 1 };
            self.links[link].push(item, bytes, now);
        }
    }

    /// Who receives a flow sends one of its own the other way, and tells less often of the first where that is narrow.
    fn spare_feedback(&mut self) {
        for way in [Way::There, Way::Back] {
            let target_bps = self.flows.iter().find(|flow| flow.way != way).map(|flow| flow.estimate.get().target_bps);
            for flow in self.flows.iter_mut().filter(|flow| flow.way == way) {
                flow.feedback_every = target_bps.map_or(FEEDBACK_EVERY, feedback_every);
            }
        }
    }

    fn arrived(&mut self, item: Item) {
        match item {
            Item::Media { flow, number, sound, departed, bytes } => {
                self.flows[flow].received(number, sound, departed, bytes, self.now);
            }
            Item::Feedback { flow, told } => self.flows[flow].feedback(&told, self.now),
            Item::Report { flow, loss, at, took } => {
                self.flows[flow].reported(loss, took + (self.now - at), self.now);
            }
            Item::Tcp { number } => {
                let ack = Item::TcpAck { number };
                let link = self.links.len() - 1;
                self.links[link].push(ack, 40, self.now);
            }
            Item::TcpAck { number } => {
                if let Some(tcp) = &mut self.tcp {
                    tcp.acknowledged(number, self.now);
                }
            }
        }
    }

    fn next_event(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(Link::poll_timeout);
        let flows = self.flows.iter().map(Flow::next_event);
        let tcp = self.tcp.iter().map(Tcp::next_event);
        let changes = self.changes.iter().map(|(at, _)| self.start + *at);
        links.chain(flows).chain(tcp).chain(changes).min()
    }
}

/// What `--impair` would say.
fn line(text: &str) -> Impairment {
    text.parse().expect("a line of the simulation")
}
