//! What waits for a stream to a TURN server, in lanes. Pure.
//!
//! A stream that is slower than the call would hold up everything behind everything. So what is more important goes first,
//! and what has waited too long is dropped: pictures soon, sound late. Drops look like losses to congestion control, whose
//! feedback lacks them, and so does the wait to its measure of delay: it sends less.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::stream_messages::Lane;

/// What a lane holds.
struct Bounds {
    /// Messages; with more, the oldest is dropped.
    messages: usize,
    /// How long one waits; older ones are dropped.
    wait: Duration,
}

const fn bounds(lane: Lane) -> Bounds {
    match lane {
        // A handshake and some checks. A stream that is not up yet holds them for as long as that takes.
        Lane::Control => Bounds { messages: 256, wait: Duration::from_secs(10) },
        // Longer than the other side's jitter buffer holds back, so that nothing is dropped that could still be played.
        Lane::Sound => Bounds { messages: 64, wait: Duration::from_millis(400) },
        // A keyframe leaves the pacer over a longer time than this, so only a stream that is too slow drops.
        Lane::Pictures => Bounds { messages: 512, wait: Duration::from_millis(150) },
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct StreamQueue<M> {
    lanes: [VecDeque<(Instant, M)>; 3],
    dropped: [u64; 3],
}

impl<M> Default for StreamQueue<M> {
    fn default() -> Self {
        Self { lanes: [VecDeque::new(), VecDeque::new(), VecDeque::new()], dropped: [0; 3] }
    }
}

const LANES: [Lane; 3] = [Lane::Control, Lane::Sound, Lane::Pictures];

impl<M> StreamQueue<M> {
    /// Puts a message behind the others of its lane; a full lane drops its oldest.
    pub(crate) fn push(&mut self, lane: Lane, message: M, now: Instant) {
        let queue = &mut self.lanes[lane as usize];
        if queue.len() >= bounds(lane).messages {
            queue.pop_front();
            self.dropped[lane as usize] += 1;
        }
        queue.push_back((now, message));
    }

    /// The next message that is worth sending, of this lane or a more important one.
    pub(crate) fn pop(&mut self, last: Lane, now: Instant) -> Option<M> {
        for lane in LANES.into_iter().filter(|lane| *lane <= last) {
            let wait = bounds(lane).wait;
            let queue = &mut self.lanes[lane as usize];
            while let Some((since, message)) = queue.pop_front() {
                if now.saturating_duration_since(since) <= wait {
                    return Some(message);
                }
                self.dropped[lane as usize] += 1;
            }
        }
        None
    }

    /// True when something waits in this lane.
    pub(crate) fn has(&self, lane: Lane) -> bool {
        !self.lanes[lane as usize].is_empty()
    }

    /// What was dropped so far: control, sound, pictures.
    pub(crate) const fn dropped(&self) -> [u64; 3] {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_more_important_goes_first_and_each_lane_keeps_its_order() {
        let (mut queue, now) = (StreamQueue::default(), Instant::now());
        for (lane, message) in
            [(Lane::Pictures, 1), (Lane::Sound, 2), (Lane::Pictures, 3), (Lane::Control, 4), (Lane::Sound, 5)]
        {
            queue.push(lane, message, now);
        }
        assert!(queue.has(Lane::Pictures));
        assert_eq!((queue.pop(Lane::Sound, now), queue.pop(Lane::Control, now)), (Some(4), None));
        queue.push(Lane::Control, 4, now);
        let order: Vec<i32> = std::iter::from_fn(|| queue.pop(Lane::Pictures, now)).collect();
        assert_eq!(order, [4, 2, 5, 1, 3]);
        assert_eq!(queue.dropped(), [0; 3]);
    }

    /// A call of 50 packets of sound and 100 of pictures a second, over a stream that takes 60 packets a second.
    #[test]
    fn a_stream_that_is_too_narrow_keeps_all_sound_and_no_old_picture() {
        let (mut queue, start) = (StreamQueue::default(), Instant::now());
        let (mut sound, mut pictures) = (Vec::new(), Vec::new());
        for ms in 0..10_000u32 {
            let now = start + MS * ms;
            if ms % 20 == 0 {
                queue.push(Lane::Sound, (Lane::Sound, now), now);
            }
            if ms % 10 == 0 {
                queue.push(Lane::Pictures, (Lane::Pictures, now), now);
            }
            if ms % 16 == 0
                && let Some((lane, pushed)) = queue.pop(Lane::Pictures, now)
            {
                let waited = now - pushed;
                match lane {
                    Lane::Sound => sound.push(waited),
                    Lane::Pictures => pictures.push(waited),
                    Lane::Control => unreachable!(),
                }
            }
        }
        let [control, lost_sound, lost_pictures] = queue.dropped();
        assert_eq!((control, lost_sound), (0, 0));
        assert!(sound.len() >= 499 && sound.iter().all(|waited| *waited <= MS * 16), "{}", sound.len());
        assert!(pictures.len() > 100 && pictures.iter().all(|waited| *waited <= MS * 150), "{}", pictures.len());
        assert!(lost_pictures > 800, "{lost_pictures}");
    }

    #[test]
    fn a_stream_that_stands_still_holds_little() {
        let (mut queue, start) = (StreamQueue::default(), Instant::now());
        for ms in 0..60_000 {
            for lane in LANES {
                queue.push(lane, (), start + MS * ms);
            }
        }
        assert_eq!(queue.lanes.each_ref().map(VecDeque::len), [256, 64, 512]);
        assert!(queue.pop(Lane::Pictures, start + MS * 80_000).is_none(), "all of it is too old");
    }
}
