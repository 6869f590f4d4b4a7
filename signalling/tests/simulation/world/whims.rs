//! What nobody decides: when users act, how media fares, when the broker fails. Every choice comes from the seed.

use std::time::Duration;

use signalling::call::{Confidence, Event, MediaChange, Notice, Renewal, State};
use signalling::id::CallId;
use signalling::wire::{Description, MediaState, Message, Revised};

use super::{Act, Happening, World, broken, hold};

/// When a peer connection calls a silent path interrupted, and when failed.
const INTERRUPTED_AFTER: Duration = Duration::from_millis(2500);
const FAILED_AFTER: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn plan(&mut self) {
        let stop = self.stop;
        let people = self.peers.len() as u64;
        self.plan_at(stop, Happening::Settles);
        if self.weather.calm {
            // Both call each other, more or less at once.
            for who in 0..2 {
                let at = self.random.time(0, 800);
                self.plan_at(at, Happening::Wants { who, act: Act::Dial(1 - who) });
            }
            return;
        }
        let spread_ms = [200, 1500, stop.as_millis() as u64][self.random.below(3) as usize];
        for _ in 0..=self.random.below(2 * people) {
            let (at, who) = (self.random.time(0, spread_ms), self.random.below(people) as usize);
            let to = (who + 1 + self.random.below(people - 1) as usize) % people as usize;
            self.plan_at(at, Happening::Wants { who, act: Act::Dial(to) });
        }
        for _ in 0..self.random.below(3) {
            let (at, who) = (self.random.time(0, stop.as_millis() as u64), self.random.below(people) as usize);
            let act = [Act::Accept, Act::Decline, Act::HangUp, Act::Hold, Act::Resume, Act::Swap];
            let act = act[self.random.below(6) as usize];
            self.plan_at(at, Happening::Wants { who, act });
        }
        if self.random.chance(25) {
            let away_max_ms = if stop > Duration::from_secs(80) { 80_000 } else { 12_000 };
            let (at, away) = (self.random.time(0, stop.as_millis() as u64), self.random.time(100, away_max_ms));
            self.plan_at(at, Happening::Restarts { away });
        }
        if self.random.chance(15) {
            let (at, who) = (self.random.time(0, stop.as_millis() as u64), self.random.below(people) as usize);
            self.plan_at(at, Happening::LinkBreaks { who });
            let back = (at + self.random.time(100, 8000)).min(stop);
            self.plan_at(back, Happening::LinkReturns { who });
            for watcher in (0..self.peers.len()).filter(|watcher| *watcher != who) {
                self.plan_at(at + Duration::from_millis(50), Happening::SaidOffline { who: watcher, peer: who });
            }
        }
    }

    pub(super) fn want(&mut self, who: usize, act: Act) -> Result<(), String> {
        if self.at >= self.stop {
            return Ok(());
        }
        let event = match act {
            Act::Dial(to) => {
                let call = CallId::from_random(u128::from(self.random.next()));
                let (caller, peer) = (self.peers[who].id.clone(), self.peers[to].id.clone());
                self.watch.dialed(caller, peer.clone(), call.clone());
                Event::Dial { peer, call }
            }
            Act::Accept => Event::Accept,
            Act::Decline => Event::Decline { text: None },
            Act::HangUp => Event::HangUp,
            Act::Hold => Event::Hold,
            Act::Resume => Event::Resume,
            Act::Swap => Event::Swap,
            Act::Mute(on) => match self.call_of(who) {
                Some(call) => Event::Switch { call, audio: !on, video: true },
                None => return Ok(()),
            },
            Act::Pause(on) => match self.call_of(who) {
                Some(call) => Event::Pause { call, on },
                None => return Ok(()),
            },
            Act::Renew(renewal) => match self.call_of(who) {
                Some(call) => Event::Renew { call, renewal },
                None => return Ok(()),
            },
        };
        self.line_event(who, event)
    }

    fn call_of(&self, who: usize) -> Option<CallId> {
        self.peers[who].phone.front().call().map(|(call, _)| call.clone())
    }

    /// What a user makes of what it hears.
    pub(super) fn react(&mut self, who: usize, notice: &Notice) {
        let roll = if self.weather.calm { 0 } else { self.random.below(100) };
        let wants = |act| Happening::Wants { who, act };
        if let Notice::Dialing { .. } | Notice::Incoming { .. } = notice
            && let Some(random) = &mut self.early_switches
            && random.chance(60)
        {
            let at = self.at + random.time(0, 3000);
            self.plan_at(at, wants(Act::Mute(true)));
        }
        if let (Notice::Incoming { call, .. }, Some(random)) = (notice, &mut self.prepares) {
            let confidence = if random.chance(70) { Confidence::Known } else { Confidence::Stranger };
            let at = self.at + random.time(0, 1500);
            let outdated = random.chance(20).then(|| at + random.time(0, 3000));
            self.plan_at(at, Happening::Prepared { who, call: call.clone(), confidence });
            if let Some(at) = outdated {
                self.plan_at(at, Happening::Outdated { who, call: call.clone() });
            }
        }
        match notice {
            Notice::Incoming { .. } => match roll {
                0..55 => self.plan_in(0, 4000, wants(Act::Accept)),
                55..70 => self.plan_in(0, 6000, wants(Act::Decline)),
                70..80 => self.plan_in(28_000, 36_000, wants(Act::Accept)),
                _ => {}
            },
            Notice::Dialing { .. } if roll >= 85 => self.plan_in(0, 5000, wants(Act::HangUp)),
            Notice::Ringing { .. } if roll >= 85 => self.plan_in(0, 8000, wants(Act::HangUp)),
            Notice::Accepted { .. } if roll >= 92 => self.plan_in(0, 2000, wants(Act::HangUp)),
            Notice::Connected { call, .. } => {
                if self.spoofs {
                    self.spoof(who, call);
                }
                for _ in 0..self.random.below(4) {
                    let acts = [
                        Act::Hold,
                        Act::Resume,
                        Act::Swap,
                        Act::Mute(true),
                        Act::Mute(false),
                        Act::Pause(true),
                        Act::Pause(false),
                        Act::Renew(Renewal::Media),
                        Act::Renew(Renewal::Restart),
                    ];
                    let act = acts[self.random.below(acts.len() as u64) as usize];
                    self.plan_in(0, 12_000, wants(act));
                }
                if roll >= 60 {
                    self.plan_in(0, 15_000, wants(Act::HangUp));
                }
            }
            Notice::Held { on: true, .. } => self.plan_in(0, 8000, wants(Act::Resume)),
            Notice::Ended { peer, .. } if roll >= 80 => {
                if let Some(to) = self.peers.iter().position(|other| other.id == *peer) {
                    self.plan_in(0, 3000, wants(Act::Dial(to)));
                }
            }
            Notice::Dialing { .. }
            | Notice::Ringing { .. }
            | Notice::Accepted { .. }
            | Notice::Held { .. }
            | Notice::Switched { .. }
            | Notice::Paused { .. }
            | Notice::Ended { .. }
            | Notice::Reconnecting { .. }
            | Notice::Reconnected { .. }
            | Notice::UpdateRefused { .. }
            | Notice::Superseded { .. }
            | Notice::TurnedAway { .. } => {}
        }
    }

    /// Now and then a device is missing, or nothing ever comes of it.
    pub(super) fn make_description(&mut self, who: usize, call: CallId) {
        let path = self.paths.entry(call.clone()).or_default();
        path.open.push(who);
        let roll = if self.weather.calm { 100 } else { self.random.below(100) };
        match roll {
            0 => {}
            1 => self.plan_in(5, 800, Happening::Media { who, call, change: MediaChange::Failed }),
            2 => self.plan_in(5, 800, Happening::Media { who, call, change: MediaChange::Unavailable }),
            _ => self.plan_in(5, 800, Happening::Described { who, call }),
        }
    }

    /// On most days an update is made; now and then it cannot be, or nothing ever comes of it.
    pub(super) fn make_update(&mut self, who: usize, call: CallId, revision: u32, renewed: Renewal) {
        let roll = if self.weather.calm { 100 } else { self.random.below(100) };
        match roll {
            0 => {}
            1..3 => self.plan_in(5, 800, Happening::NotRevised { who, call, revision }),
            _ => {
                for _ in 0..self.random.below(3) {
                    self.plan_in(0, 1500, Happening::Gathered { who, call: call.clone() });
                }
                self.plan_in(5, 800, Happening::Revised { who, call, revision, renewed });
            }
        }
    }

    /// What is broken is never taken; anything else is, as an update is made.
    pub(super) fn answer_update(&mut self, who: usize, call: CallId, revision: u32, offer: &Description) {
        match offer.sdp.as_str() {
            "broken" => self.plan_in(1, 20, Happening::NotRevised { who, call, revision }),
            "v=0 restart" => self.make_update(who, call, revision, Renewal::Restart),
            _ => self.make_update(who, call, revision, Renewal::Media),
        }
    }

    pub(super) fn apply_update(&mut self, who: usize, call: CallId, revision: u32, answer: &Description) {
        if answer.sdp == "broken" {
            return self.plan_in(0, 0, Happening::NotRevised { who, call, revision });
        }
        self.plan_in(0, 0, Happening::Applied { who, call: call.clone(), revision });
        self.reconnect(call);
    }

    /// Someone at a broker without access rules says what harms most: descriptions that cannot be taken, counts that none
    /// can be above.
    pub(super) fn spoof(&mut self, who: usize, call: &CallId) {
        let count = [0, 1, 2, u32::MAX][self.random.below(4) as usize];
        let generation = [0, 1, u32::MAX][self.random.below(3) as usize];
        let revised = Revised { revision: count, generation, description: broken() };
        let message = match self.random.below(3) {
            0 => Message::Update(revised),
            1 => Message::Updated(revised),
            _ => Message::Media(MediaState { revision: u32::MAX, hold: true, ..MediaState::default() }),
        };
        self.plan_in(0, 9000, Happening::Spoofed { who, call: call.clone(), message });
    }

    /// The phone takes it for the other side's. A refused update leaves the call as it was, whatever counts it named.
    pub(super) fn spoofed(&mut self, who: usize, call: CallId, message: Message) -> Result<(), String> {
        let State::Active { peer, talk, .. } = self.peers[who].phone.state_of(&call) else { return Ok(()) };
        let (from, before) = (peer.clone(), talk.clone());
        if let Message::Media(_) = message {
            // The true one is to have the last word, which it says when it is back on the line or wants something.
            self.watch.mark_spoofed(&call);
        }
        self.line_event(who, Event::Received { from, call: call.clone(), message })?;
        let State::Active { talk, .. } = self.peers[who].phone.state_of(&call) else {
            return Err(format!("a word of a stranger ended {call}"));
        };
        hold!(
            (talk.revision, talk.generation, &talk.path) == (before.revision, before.generation, &before.path),
            "a word of a stranger changed {call}"
        );
        Ok(())
    }

    /// A new path was agreed on: mostly it carries.
    fn reconnect(&mut self, call: CallId) {
        let open = self.paths.entry(call.clone()).or_default().open.clone();
        if open.len() == 2 && (self.weather.calm || !self.random.chance(20)) {
            for who in open {
                let call = call.clone();
                self.plan_in(20, 900, Happening::Media { who, call, change: MediaChange::Connected });
            }
        }
    }

    /// Both descriptions are known: on most days both sides connect.
    pub(super) fn connect(&mut self, call: CallId) {
        let path = self.paths.entry(call.clone()).or_default();
        path.described = true;
        let open = path.open.clone();
        let fate = if self.weather.calm { 100 } else { self.random.below(100) };
        for (nth, who) in open.into_iter().enumerate() {
            let call = call.clone();
            match fate {
                0..4 => {}
                4..8 if nth == 0 => {}
                8..12 if nth == 0 => {
                    self.plan_in(50, 12_000, Happening::Media { who, call, change: MediaChange::Failed })
                }
                12..16 => self.plan_in(5000, 20_000, Happening::Media { who, call, change: MediaChange::Connected }),
                _ => self.plan_in(50, 2000, Happening::Media { who, call, change: MediaChange::Connected }),
            }
        }
    }

    pub(super) fn media(&mut self, who: usize, call: CallId, change: MediaChange) -> Result<(), String> {
        let Some(path) = self.paths.get(&call) else { return Ok(()) };
        if !path.open.contains(&who) {
            return Ok(());
        }
        if change == MediaChange::Connected && (!path.described || path.open.len() < 2) {
            return Ok(());
        }
        let first = !matches!(self.peers[who].phone.state_of(&call), State::Active { .. });
        if change == MediaChange::Connected
            && first
            && !self.weather.calm
            && self.random.chance(12)
            && self.at < self.stop
        {
            let (low, high) = (500, 10_000);
            let at = self.at + self.random.time(low, high);
            let media = |change| Happening::Media { who, call: call.clone(), change };
            self.plan_at(at, media(MediaChange::Interrupted));
            match self.random.below(3) {
                0 => self.plan_at(at + Duration::from_secs(5), media(MediaChange::Connected)),
                1 => self.plan_at(at + Duration::from_millis(7500), media(MediaChange::Failed)),
                _ => {}
            }
        }
        self.line_event(who, Event::Media { call, change })
    }

    /// Whoever is left hears nothing any more.
    pub(super) fn close(&mut self, who: usize, call: &CallId) {
        let Some(path) = self.paths.get_mut(call) else { return };
        path.open.retain(|open| *open != who);
        if path.described
            && let [left] = path.open[..]
        {
            for (after, change) in [(INTERRUPTED_AFTER, MediaChange::Interrupted), (FAILED_AFTER, MediaChange::Failed)]
            {
                self.plan_at(self.at + after, Happening::Media { who: left, call: call.clone(), change });
            }
        }
    }
}
