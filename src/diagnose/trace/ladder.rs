//! The exchange as a ladder: a column a peer, a line a message. Pure.
//!
//! - [`Ladder::take`]: a message comes in
//! - [`Ladder::ready`]: lines that are complete, in order; one waits a moment for its acknowledgement, which stands in it
//! - [`draw`]: all of a run at once
//!
//! ```text
//!                    alice                         bob              acknowledged
//!  +0.000 s            │── offer ───────────────────▶│              4 ms          vp8 and opus; 1 candidate (host)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::time::Duration;

use signalling::id::{CallId, MessageId, PeerId};
use signalling::wire::PresenceState;

use super::{Book, Content, Kind, Message};

/// How long a line waits for its acknowledgement: after it the sender says its message again.
const HOLD: Duration = Duration::from_secs(1);

/// Peers with a column of their own; what others say stands in words.
const COLUMNS_MAX: usize = 8;

/// Peers whose presence is known, for telling a change: more than a table of contacts shows.
const PRESENCES_MAX: usize = 4096;

/// Lines that wait at most; the first goes out without its acknowledgement then.
const ROWS_MAX: usize = 4096;

/// Where the first lifeline stands, in characters: time takes 12, and names are centred.
const FIRST: usize = 20;

/// From one lifeline to the next, for few peers and for many; the longest name of a message is 17.
const GAP_OF_FEW: usize = 30;
const GAP_OF_MANY: usize = 24;
const FEW: usize = 3;

/// Room for how long an acknowledgement took.
const ACKNOWLEDGED: usize = 14;

/// Digits of a call's id that are shown.
const CALL_CHARS: usize = 8;

/// Draws these messages, in order of time; ends with a line break, or is empty.
pub(crate) fn draw(messages: &[Message]) -> String {
    let mut ladder = Ladder::default();
    messages.iter().for_each(|message| ladder.take(message));
    ladder.finish().into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

/// The drawing as it grows.
#[derive(Debug, Default)]
pub(crate) struct Ladder {
    book: Book,
    columns: Vec<PeerId>,
    /// Columns of the last head line.
    headed: usize,
    /// The call of the last line.
    call: Option<CallId>,
    presence: BTreeMap<PeerId, PresenceState>,
    rows: VecDeque<Row>,
}

/// A line to be.
#[derive(Debug)]
struct Row {
    at: Duration,
    since: Duration,
    /// With the peers of its first message, when this is it.
    call: Option<(CallId, Option<String>)>,
    shape: Shape,
    label: &'static str,
    words: String,
    arrival: Arrival,
}

#[derive(Debug)]
enum Shape {
    /// From one column to another.
    Arrow(usize, usize),
    /// In one column.
    Mark(usize),
    /// Beside all columns: who speaks to whom.
    Aside(String),
}

/// Whether a message arrived.
#[derive(Debug)]
enum Arrival {
    /// Nobody acknowledges it.
    Untold,
    /// This time of saying the message is not acknowledged yet.
    Open { of: (PeerId, MessageId), time: u32 },
    /// After so long.
    After(Duration),
}

impl Ladder {
    /// A ladder whose first columns are these peers'.
    pub(crate) fn of(peers: &[PeerId]) -> Self {
        Self { columns: peers.iter().take(COLUMNS_MAX).cloned().collect(), ..Self::default() }
    }

    /// Takes in the next message.
    pub(crate) fn take(&mut self, message: &Message) {
        let entry = self.book.note(message);
        let mut row = Row {
            at: message.at,
            since: entry.since,
            call: entry.call.map(|call| (call, None)),
            shape: Shape::Aside(String::new()),
            label: "",
            words: String::new(),
            arrival: Arrival::Untold,
        };
        match (&message.content, entry.kind) {
            (Content::Said { id, name, words, .. }, kind) => {
                let (again, time) = match kind {
                    Kind::Resent { times } => (format!("sent again (×{times})"), times),
                    Kind::Duplicate { times } => (format!("duplicate (×{times})"), times),
                    Kind::Opens => {
                        row.call = row.call.map(|(call, _)| (call, Some(parties(message))));
                        (String::new(), 1)
                    }
                    Kind::New | Kind::Acknowledges(_) | Kind::AcknowledgesUnknown => (String::new(), 1),
                };
                (row.label, row.words) = (name, if again.is_empty() { words.clone() } else { again });
                if let Some(id) = id {
                    row.arrival = Arrival::Open { of: (message.from.clone(), id.clone()), time };
                }
            }
            (Content::Ack { of }, Kind::Acknowledges(acknowledged)) => {
                if self.arrived(message.to.as_ref(), of, acknowledged.time, acknowledged.after) {
                    return;
                }
                row.label = "ack";
                row.words = format!("of {}, after {}", acknowledged.name, span(acknowledged.after));
            }
            (Content::Ack { .. }, _) => {
                row.label = "ack";
                row.words = "of a message that was not seen".to_owned();
            }
            (Content::Presence { state, retained }, _) => match self.news(&message.from, *state, *retained) {
                Some(label) => row.label = label,
                None => return,
            },
            (Content::Unreadable { why }, _) => {
                row.label = "unreadable";
                row.words = format!("{} bytes: {why}", message.bytes);
            }
        }
        row.shape = self.shape(message);
        self.rows.push_back(row);
    }

    /// When [`Ladder::ready`] has a line at the latest, on the clock of the messages.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.rows.front().map(|row| if row.is_open() { row.at + HOLD } else { row.at })
    }

    /// Lines that are complete now, or have waited long enough.
    pub(crate) fn ready(&mut self, now: Duration) -> Vec<String> {
        let mut lines = Vec::new();
        while self.due().is_some_and(|due| due <= now) || self.rows.len() > ROWS_MAX {
            lines.extend(self.next_lines("not yet"));
        }
        lines
    }

    /// All that is left: nothing more will come.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while !self.rows.is_empty() {
            lines.extend(self.next_lines("none"));
        }
        lines
    }

    /// Puts an acknowledgement to the line that waits for it; false when none does.
    fn arrived(&mut self, sender: Option<&PeerId>, message: &MessageId, nth: u32, after: Duration) -> bool {
        let waits = |row: &&mut Row| match &row.arrival {
            Arrival::Open { of: (from, id), time } => Some(from) == sender && id == message && *time == nth,
            Arrival::Untold | Arrival::After(_) => false,
        };
        let Some(row) = self.rows.iter_mut().find(waits) else { return false };
        row.arrival = Arrival::After(after);
        true
    }

    /// What to call a change of presence; nothing when it is none.
    fn news(&mut self, peer: &PeerId, state: Option<PresenceState>, retained: bool) -> Option<&'static str> {
        let before = self.presence.get(peer).copied();
        match state {
            Some(state) if self.presence.len() < PRESENCES_MAX || before.is_some() => {
                self.presence.insert(peer.clone(), state);
            }
            Some(_) => {}
            None => {
                self.presence.remove(peer);
            }
        }
        if retained || before == state { None } else { Some(state.map_or("no presence", PresenceState::name)) }
    }

    fn shape(&mut self, message: &Message) -> Shape {
        let from = self.column(&message.from);
        let to = message.to.as_ref().map(|to| self.column(to));
        match (from, to) {
            (Some(from), Some(Some(to))) if from != to => Shape::Arrow(from, to),
            (Some(from), None | Some(Some(_))) => Shape::Mark(from),
            (None, _) | (Some(_), Some(None)) => Shape::Aside(parties(message)),
        }
    }

    /// The peer's column, if there is room for it.
    fn column(&mut self, peer: &PeerId) -> Option<usize> {
        if let Some(place) = self.columns.iter().position(|known| known == peer) {
            return Some(place);
        }
        if self.columns.len() == COLUMNS_MAX {
            return None;
        }
        self.columns.push(peer.clone());
        Some(self.columns.len() - 1)
    }

    /// The first row as a line, with the lines that go before it.
    fn next_lines(&mut self, missing: &str) -> Vec<String> {
        let Some(row) = self.rows.pop_front() else { return Vec::new() };
        let mut lines = Vec::new();
        if let Some((call, opened_by)) = &row.call
            && self.call.as_ref() != Some(call)
        {
            let short: String = call.as_str().chars().take(CALL_CHARS).collect();
            if self.headed > 0 {
                lines.push(String::new());
            }
            lines.push(match opened_by {
                Some(parties) => format!("call {short}: {parties}"),
                None => format!("call {short} goes on"),
            });
            self.call = Some(call.clone());
        }
        if self.headed != self.columns.len() {
            lines.push(self.head());
            self.headed = self.columns.len();
        }
        lines.push(self.line(&row, missing));
        lines
    }

    fn gap(&self) -> usize {
        if self.columns.len() <= FEW { GAP_OF_FEW } else { GAP_OF_MANY }
    }

    fn lifeline(&self, column: usize) -> usize {
        FIRST + column * self.gap()
    }

    /// Where the lifelines end.
    fn width(&self) -> usize {
        self.lifeline(self.columns.len().saturating_sub(1)) + 1
    }

    /// Where the words begin: beside the last lifeline, and the name over it.
    fn beside(&self) -> usize {
        let name = self.columns.last().map_or(0, |peer| peer.as_str().len().min(self.gap() - 2));
        self.width() + 2 + name / 2
    }

    /// The names, each over its lifeline; a wide one is cut.
    fn head(&self) -> String {
        let mut head = String::new();
        for (column, peer) in self.columns.iter().enumerate() {
            let name = cut(peer.as_str(), self.gap() - 2);
            let start = self.lifeline(column) - name.chars().count() / 2;
            pad(&mut head, start);
            head.push_str(&name);
        }
        pad(&mut head, self.beside());
        head + "acknowledged"
    }

    fn line(&self, row: &Row, missing: &str) -> String {
        let mut cells: Vec<char> = vec![' '; self.width()];
        for column in 0..self.columns.len() {
            cells[self.lifeline(column)] = '│';
        }
        let mut words = row.words.clone();
        match &row.shape {
            Shape::Arrow(from, to) => arrow(&mut cells, self.lifeline(*from), self.lifeline(*to), row.label),
            Shape::Mark(column) => {
                let place = self.lifeline(*column);
                cells[place] = '●';
                cells.resize(cells.len().max(place + 2 + row.label.chars().count()), ' ');
                put(&mut cells, place + 2, row.label);
            }
            Shape::Aside(parties) => words = format!("{parties}: {} {words}", row.label),
        }
        let time = format!("{:>+9.3} s", row.since.as_secs_f64());
        let drawn: String = cells.into_iter().skip(time.chars().count()).collect();
        let arrival = match &row.arrival {
            Arrival::Untold => String::new(),
            Arrival::Open { .. } => missing.to_owned(),
            Arrival::After(after) => span(*after),
        };
        let mut line = time + &drawn;
        pad(&mut line, self.beside());
        let _infallible = write!(line, "{arrival:<ACKNOWLEDGED$}{words}");
        line.trim_end().to_owned()
    }
}

impl Row {
    const fn is_open(&self) -> bool {
        match self.arrival {
            Arrival::Open { .. } => true,
            Arrival::Untold | Arrival::After(_) => false,
        }
    }
}

/// `── offer ──▶` from one place to another, over the lifelines between.
fn arrow(cells: &mut [char], from: usize, to: usize, label: &str) {
    let (left, right) = (from.min(to), from.max(to));
    for cell in &mut cells[left + 1..right] {
        *cell = if *cell == '│' { '┼' } else { '─' };
    }
    let label = format!(" {label} ");
    if from < to {
        cells[right - 1] = '▶';
        put(cells, left + 3, &label);
    } else {
        cells[left + 1] = '◀';
        put(cells, right - 2 - label.chars().count(), &label);
    }
}

fn put(cells: &mut [char], start: usize, text: &str) {
    for (cell, letter) in cells.iter_mut().skip(start).zip(text.chars()) {
        *cell = letter;
    }
}

/// Fills up with blanks to so many characters, one at least.
fn pad(text: &mut String, width: usize) {
    let missing = width.saturating_sub(text.chars().count()).max(1);
    text.extend(std::iter::repeat_n(' ', missing));
}

fn cut(name: &str, chars_max: usize) -> String {
    if name.chars().count() <= chars_max {
        return name.to_owned();
    }
    name.chars().take(chars_max - 1).chain(['…']).collect()
}

fn parties(message: &Message) -> String {
    match &message.to {
        Some(to) => format!("{} → {to}", message.from),
        None => message.from.to_string(),
    }
}

/// `<1 ms`, `4 ms`, `1.25 s`.
fn span(time: Duration) -> String {
    match time.as_millis() {
        0 => "<1 ms".to_owned(),
        millis @ 1..1000 => format!("{millis} ms"),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
pub(super) mod tests;
