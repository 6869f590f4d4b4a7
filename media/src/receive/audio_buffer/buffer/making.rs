//! Makes sound out of the packets that wait, and of what was heard before where there are none.

use super::{AudioBuffer, Decoded, FADE_IN, MISSED_MAX, Position, STEP_SAMPLES};
use crate::quality::concealment::Origin;
use crate::receive::audio_buffer::decision::{FILLED_MAX, Hole, Next, Pace, Source};
use crate::receive::audio_buffer::decoder::Decoder;
use crate::receive::audio_buffer::stretch::{COMPARED, Search};
use crate::receive::audio_buffer::time_line::us;

impl AudioBuffer {
    /// Makes more sound.
    pub(super) fn make(&mut self, now_us: i64, decoder: &mut impl Decoder, decoded: &mut Vec<Decoded>) {
        let Some(position) = self.position else { return };
        self.forget_before(position.end);
        if self.packets.is_empty()
            && let Some(unclear) = self.unclear.take()
        {
            // Nothing else came: this must be it.
            self.begin_with(unclear);
        }
        let next = self.packets.first_key_value().map(|(&timestamp, packet)| Next {
            gap: timestamp - position.end,
            missing: (packet.sequence - position.sequence - 1).max(0),
            copied: if packet.opus.has_copy { packet.opus.frame_samples.into() } else { 0 },
            is_due: self.is_due(timestamp, now_us),
        });
        let Position { filled, is_sender_silent, .. } = position;
        match (Hole { filled, is_sender_silent, next }).source() {
            Source::Packet => self.decode_next(decoder, decoded),
            Source::Copy(samples) => self.recover(samples, decoder),
            Source::Concealment(samples) => {
                self.steps.concealed(samples.cast_unsigned());
                self.fill(Origin::Concealment, samples, decoder);
            }
            Source::ComfortNoise(samples) => self.fill(Origin::Silence, samples, decoder),
            Source::Silence(samples) => {
                self.steps.concealed(samples.cast_unsigned());
                if filled < FILLED_MAX + samples {
                    self.fill(Origin::Silence, samples, decoder);
                    self.samples.fade_out(samples as usize);
                } else {
                    self.samples.append(Origin::Silence, samples as usize, |_| {});
                    self.filled(samples);
                }
            }
        }
    }

    /// Forgets packets that lie before what was played: their sender counts wrongly.
    fn forget_before(&mut self, end: i64) {
        while let Some(first) = self.packets.first_entry()
            && *first.key() < end
        {
            first.remove();
            self.counters.late += 1;
        }
    }

    fn decode_next(&mut self, decoder: &mut impl Decoder, decoded: &mut Vec<Decoded>) {
        let (Some(position), Some((timestamp, packet))) = (self.position, self.packets.pop_first()) else { return };
        let missing = (packet.sequence - position.sequence - 1).max(0);
        if missing == 0 && timestamp > position.end {
            // The sender was silent; what was made up meanwhile stands for nothing.
            self.steps.begin_anew();
        }
        self.counters.lost += missing.cast_unsigned();
        self.missed.extend(packet.sequence - missing.min(MISSED_MAX as i64)..packet.sequence);
        self.missed.drain(..self.missed.len().saturating_sub(MISSED_MAX));
        self.counters.holes += u64::from(missing == 0 && timestamp == position.end && position.filled > 0);
        if packet.is_redundant {
            self.counters.lost += 1;
            self.counters.recovered += 1;
        }
        if timestamp > position.end {
            self.samples.gap();
        }
        let samples = packet.opus.samples as usize;
        self.samples.append(Origin::Packet { timestamp: packet.timestamp }, samples, |out| {
            let before = out.len();
            if let Err(error) = decoder.decode(&packet.payload, out) {
                tracing::debug!(%error, "sound left out");
                out.truncate(before);
                conceal(samples, decoder, out);
            }
        });
        if position.filled > FILLED_MAX {
            self.samples.fade_in(samples, FADE_IN);
        }
        self.steps.played(samples as u64);
        self.position = Some(Position {
            end: timestamp + samples as i64,
            sequence: packet.sequence,
            filled: 0,
            is_sender_silent: packet.opus.is_silence,
        });
        decoded.push(Decoded { payload: packet.payload, timestamp: timestamp as u32 });
    }

    /// Fills the gap before the next packet from what it tells of the packet before it.
    fn recover(&mut self, samples: i64, decoder: &mut impl Decoder) {
        let (Some(position), Some((&timestamp, next))) = (&mut self.position, self.packets.first_key_value()) else {
            return;
        };
        self.counters.lost += (next.sequence - position.sequence - 1).max(0).cast_unsigned();
        self.counters.recovered += 1;
        *position = Position { end: timestamp, sequence: next.sequence - 1, filled: 0, ..*position };
        let samples = samples as usize;
        self.steps.concealed(samples as u64);
        self.samples.append(Origin::Concealment, samples, |out| {
            let before = out.len();
            if let Err(error) = decoder.recover(&next.payload, samples, out) {
                tracing::debug!(%error, "sound not recovered");
                out.truncate(before);
                conceal(samples, decoder, out);
            }
        });
    }

    fn fill(&mut self, origin: Origin, samples: i64, decoder: &mut impl Decoder) {
        self.samples.append(origin, samples as usize, |out| conceal(samples as usize, decoder, out));
        self.filled(samples);
    }

    const fn filled(&mut self, samples: i64) {
        if let Some(position) = &mut self.position {
            position.filled += samples;
        }
    }

    /// Plays faster or slower where sound is later or earlier than it should be.
    pub(super) fn change_pace(&mut self, now_us: i64, decoder: &mut impl Decoder, decoded: &mut Vec<Decoded>) {
        if !self.samples.is_whole() {
            return;
        }
        let late_us = now_us - us(self.playhead()) - self.delays.playout_us();
        let by = match self.pacing.pace(late_us, now_us) {
            Pace::AsIs => return,
            Pace::Faster(lag_max, likeness) => {
                while self.samples.waiting() < lag_max.max(STEP_SAMPLES) + COMPARED && self.follows_on() {
                    self.decode_next(decoder, decoded);
                }
                let by = self.samples.leave_out(|at| Search { at, lag_max, likeness });
                self.counters.shrunk += by as u64;
                by
            }
            Pace::Slower(lag_max, likeness) => {
                let by = self.samples.repeat(|at| Search { at, lag_max, likeness });
                self.counters.stretched += by as u64;
                by
            }
        };
        self.pacing.changed(by, late_us, now_us);
    }

    /// True when the next packet is there.
    fn follows_on(&self) -> bool {
        let end = self.position.map(|position| position.end);
        self.packets.first_key_value().map(|(&timestamp, _)| timestamp) == end && end.is_some()
    }
}

/// Appends made-up sound; where the codec cannot, the caller puts silence.
fn conceal(samples: usize, decoder: &mut impl Decoder, out: &mut Vec<i16>) {
    let before = out.len();
    if let Err(error) = decoder.conceal(samples, out) {
        tracing::debug!(%error, "sound left out");
        out.truncate(before);
    }
}
