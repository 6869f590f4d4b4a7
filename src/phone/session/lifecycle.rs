//! Whether the program works or leaves, and how it will end.

use std::time::Instant;

use crate::output::exit::{ExitStatus, Failure};

/// Where the program stands, and what its exit status will be.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    phase: Phase,
    /// What went wrong on our side in the call that ended the program.
    failure: Option<Failure>,
    interrupts: u32,
}

/// Where the program stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The broker was not reached yet.
    #[default]
    Starting,
    /// At work.
    Running,
    /// The outcome is known; last messages are being delivered.
    Leaving { status: ExitStatus, until: Instant },
}

/// What the end of a call means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bearing {
    /// The program ends with it, and has its status.
    Decides,
    /// It does not.
    Passes,
}

impl Lifecycle {
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving { .. })
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// The broker is reached; true for the first time.
    pub(super) fn reached_broker(&mut self) -> bool {
        let is_first = self.phase == Phase::Starting;
        if is_first {
            self.phase = Phase::Running;
        }
        is_first
    }

    /// The outcome is known, and last messages may take until then; an outcome that is known already stays.
    pub(super) fn leave(&mut self, status: ExitStatus, until: Instant) {
        if !self.is_leaving() {
            self.phase = Phase::Leaving { status, until };
        }
    }

    /// The same outcome, now: nobody hears last messages.
    pub(super) fn skip_farewell(&mut self, now: Instant) {
        if let Phase::Leaving { until, .. } = &mut self.phase {
            *until = now;
        }
    }

    /// Last messages may take so long, if not longer.
    pub(super) fn extend_farewell(&mut self, least: Instant) {
        if let Phase::Leaving { until, .. } = &mut self.phase {
            *until = least.max(*until);
        }
    }

    /// A call has ended with this status. Gives back what went wrong in it, where the program goes on.
    pub(super) fn conclude(
        &mut self,
        bearing: Bearing,
        status: ExitStatus,
        failure: Option<Failure>,
    ) -> Option<Failure> {
        match (&mut self.phase, bearing) {
            (Phase::Leaving { status: ours, .. }, Bearing::Decides) => {
                *ours = status;
                self.failure = failure;
                None
            }
            (Phase::Leaving { .. }, Bearing::Passes) => {
                self.failure = self.failure.take().or(failure);
                None
            }
            (Phase::Starting | Phase::Running, Bearing::Decides | Bearing::Passes) => failure,
        }
    }

    /// Ctrl-C: the first one is to be heeded in order.
    ///
    /// # Errors
    /// The failure that the program ends with at once, for the second.
    pub(super) fn interrupt(&mut self) -> Result<(), Failure> {
        self.interrupts += 1;
        if self.interrupts > 1 { Err(Failure::new(ExitStatus::Interrupted, "interrupted")) } else { Ok(()) }
    }

    /// When the wait for last messages is over. Once it is, only jobs are waited for, and those wake the loop themselves.
    pub(super) fn deadline(&self, has_jobs: bool, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::Leaving { until, .. } => (until > now || !has_jobs).then_some(until),
            Phase::Starting | Phase::Running => None,
        }
    }

    /// How the program ends, once its last messages have arrived, or had their time.
    pub(super) fn outcome(&mut self, is_said: bool, now: Instant) -> Option<Result<ExitStatus, Failure>> {
        match self.phase {
            Phase::Leaving { status, until } if is_said || now >= until => {
                Some(self.failure.take().map_or(Ok(status), Err))
            }
            Phase::Leaving { .. } | Phase::Starting | Phase::Running => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_outcome_stays_and_waits_for_its_last_words() {
        let (now, mut life) = (Instant::now(), Lifecycle::default());
        assert!(life.reached_broker() && !life.reached_broker() && life.is_running());
        assert!(life.outcome(true, now).is_none(), "nothing has ended yet");
        let until = now + Duration::from_secs(2);
        life.leave(ExitStatus::Interrupted, until);
        life.leave(ExitStatus::Done, until);
        assert!(life.outcome(false, now).is_none());
        assert!(matches!(life.outcome(true, now), Some(Ok(ExitStatus::Interrupted))));
        assert!(matches!(life.outcome(false, until), Some(Ok(ExitStatus::Interrupted))));
    }

    #[test]
    fn a_call_that_decides_sets_the_status_and_one_that_passes_its_failure() {
        let (now, mut life) = (Instant::now(), Lifecycle::default());
        let failed = || Some(Failure::new(ExitStatus::NoMedia, "no picture"));
        assert!(life.conclude(Bearing::Passes, ExitStatus::NoMedia, failed()).is_some(), "told, since it goes on");
        life.leave(ExitStatus::Done, now);
        assert!(life.conclude(Bearing::Decides, ExitStatus::Busy, None).is_none());
        assert!(matches!(life.outcome(true, now), Some(Ok(ExitStatus::Busy))));
        assert!(life.conclude(Bearing::Passes, ExitStatus::NoMedia, failed()).is_none());
        assert!(matches!(life.outcome(true, now), Some(Err(failure)) if failure.status == ExitStatus::NoMedia));
    }

    #[test]
    fn the_second_interrupt_ends_at_once() {
        let mut life = Lifecycle::default();
        assert!(life.interrupt().is_ok() && life.interrupt().is_err());
    }
}
