//! Which tests run beside each other. All tests are in one process, on machines with as few as two cores.
//!
//! - [`Turn::call`]: a call with pictures of full size, or other work for one core. As many of these run at once as
//!   there are cores; both ends of a call take 0.4 to 0.6 of one.
//! - [`Turn::small_call`]: half of that: small or light pictures, or a call that hardly comes about.
//! - [`Turn::whole_machine`]: a measurement that a busy core would change, or a client of another make that encodes
//!   beside us. No other turn is taken meanwhile.
//! - A test that waits for a server, an answer or a time-out takes no turn: it leaves the cores idle.
//!
//! Turns are given in the order in which they are asked for, so a measurement is not kept waiting by one call after the
//! other.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

/// Shares of one core.
const SHARES: usize = 2;

/// What is taken of the machine, and who is next.
struct Queue {
    /// shares of all cores together
    taken: usize,
    /// the number that the next one to ask gets
    last: u64,
    /// the number whose turn is next
    next: u64,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { taken: 0, last: 0, next: 0 });
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// Whether the test of this thread has a turn already.
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// A share of the machine, given back when dropped.
#[must_use = "a turn lasts as long as this"]
pub struct Turn {
    shares: usize,
}

impl Turn {
    /// Waits for a core: enough for both ends of a call.
    pub fn call() -> Self {
        Self::of(SHARES)
    }

    /// Waits for half a core.
    pub fn small_call() -> Self {
        Self::of(1)
    }

    /// Waits until no other test has a turn.
    pub fn whole_machine() -> Self {
        Self::of(whole())
    }

    /// A test that has a turn needs no second one, and would wait for itself.
    fn of(shares: usize) -> Self {
        if HAS_TURN.replace(true) {
            return Self { shares: 0 };
        }
        let mut queue = lock();
        let number = queue.last;
        queue.last += 1;
        while queue.next != number || queue.taken + shares > whole() {
            queue = CHANGED.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.next += 1;
        queue.taken += shares;
        CHANGED.notify_all();
        Self { shares }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.shares == 0 {
            return;
        }
        HAS_TURN.set(false);
        lock().taken -= self.shares;
        CHANGED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, Queue> {
    // A test that failed gives its turn back too.
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All shares of this machine.
fn whole() -> usize {
    SHARES * available_parallelism().map_or(1, usize::from)
}

#[test]
fn a_turn_within_a_turn_does_not_wait() {
    let _outer = Turn::call();
    let inner = Turn::whole_machine();
    assert_eq!(inner.shares, 0);
}

#[test]
fn a_measurement_has_the_machine_for_itself() {
    let _turn = Turn::whole_machine();
    assert_eq!(lock().taken, whole());
}
