//! The far end: what the speaker plays, handed to the side of the microphone as the reference for echo.
//!
//! Neither side waits for the other: what does not fit into the ring is dropped. It is read by one thread at a time.
//!
//! - what is queued at the speaker → [`Tap`] → ring → [`FarEnd`] → blocks of 10 ms
//!
//! Sound is handed over when it is queued, not when the device takes it: a reference that comes after its own echo is of
//! no use, and between the callbacks of two devices may be only 15 ms.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BLOCK_SAMPLES;
use crate::frame::AUDIO_RATE_HZ;

/// Samples the ring holds: half a second. Whoever is later than that begins anew with the latest sound.
const RING_SAMPLES: usize = AUDIO_RATE_HZ as usize / 2;

/// The speaker's end of the ring.
#[derive(Debug)]
pub(crate) struct Tap(rtrb::Producer<i16>);

/// The other end. Clones share one ring: what one of them took, no other gets.
#[derive(Clone, Debug)]
pub struct FarEnd(Arc<Mutex<rtrb::Consumer<i16>>>);

/// A ring for one speaker.
pub(crate) fn tap() -> (Tap, FarEnd) {
    let (ring, samples) = rtrb::RingBuffer::new(RING_SAMPLES);
    (Tap(ring), FarEnd(Arc::new(Mutex::new(samples))))
}

impl Tap {
    /// Takes note of mono samples at 48 kHz that will be played. Allocates nothing, waits for nothing.
    pub(crate) fn push(&mut self, samples: &[i16]) {
        // Nobody reads while there is no microphone, and then nobody misses it.
        let _full = self.0.push_partial_slice(samples);
    }
}

impl FarEnd {
    /// Gives every whole block since the last time to `take`, the oldest first.
    pub(crate) fn each_block(&self, mut take: impl FnMut(&[i16; BLOCK_SAMPLES])) {
        let mut samples = self.lock();
        let mut block = [0; BLOCK_SAMPLES];
        while samples.pop_entire_slice(&mut block).is_ok() {
            take(&block);
        }
    }

    /// Forgets what was played while nobody listened.
    pub(crate) fn forget(&self) {
        let mut samples = self.lock();
        let waiting = samples.slots();
        if let Ok(chunk) = samples.read_chunk(waiting) {
            chunk.commit_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, rtrb::Consumer<i16>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(far_end: &FarEnd) -> Vec<[i16; BLOCK_SAMPLES]> {
        let mut blocks = Vec::new();
        far_end.each_block(|block| blocks.push(*block));
        blocks
    }

    #[test]
    fn what_is_played_comes_in_whole_blocks() {
        let (mut tap, far_end) = tap();
        let samples: [i16; 960] = std::array::from_fn(|n| n as i16);
        tap.push(&samples[..700]);
        assert_eq!(blocks(&far_end).concat(), samples[..480]);
        assert_eq!(blocks(&far_end).len(), 0);
        tap.push(&samples[700..]);
        assert_eq!(blocks(&far_end.clone()).concat(), samples[480..]);
    }

    #[test]
    fn a_full_ring_holds_nobody_up_and_old_sound_is_forgotten() {
        let (mut tap, far_end) = tap();
        (0..100).for_each(|_| tap.push(&[1; 1000]));
        far_end.forget();
        assert_eq!(blocks(&far_end).len(), 0);
        tap.push(&[2; BLOCK_SAMPLES]);
        assert_eq!(blocks(&far_end), [[2; BLOCK_SAMPLES]]);
    }
}
