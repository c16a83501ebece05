//! When a kept process is started, restarted, asked to end and killed: pure, with time as an input.

use std::time::{Duration, Instant};

use super::child::Exit;
use super::{Restart, RestartWhen};

/// Where a kept process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// To be started at this time.
    Waiting {
        /// When.
        until: Instant,
    },
    /// Started; the program has not taken over yet.
    Starting {
        /// When it was started.
        since: Instant,
    },
    /// The program runs.
    Running {
        /// When it was started.
        since: Instant,
    },
    /// The program has ended by itself; what it started has not, and was asked to.
    Remains {
        /// When the program was started.
        since: Instant,
        /// When it ended.
        ended: Instant,
        /// When the rest is killed, or killed again.
        kill_at: Instant,
    },
    /// It was asked to end.
    Stopping {
        /// When it and all that it started is killed, or killed again.
        kill_at: Instant,
        /// It has been killed once.
        killed: bool,
    },
    /// It has ended and is not started again.
    Ended,
}

/// A killed process ends at once; one that it started in that moment is found the next time.
const KILL_AGAIN: Duration = Duration::from_millis(200);

/// What the caller has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Act {
    /// Nothing.
    Nothing,
    /// Start it, then call [`Lifecycle::started`] or [`Lifecycle::exited`].
    Start,
    /// Ask its group to end, with the signal agreed on.
    Ask,
    /// Kill it and all that it started.
    Kill,
}

/// One kept process, over all its runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// Where it stands.
    pub stage: Stage,
    /// Restarts so far.
    pub restarts: u64,
    /// Short runs in a row, which is what the wait grows with.
    pub in_a_row: u32,
    restart: Restart,
}

impl Lifecycle {
    /// A process to be started at once.
    #[must_use]
    pub fn new(restart: Restart, now: Instant) -> Self {
        Self { stage: Stage::Waiting { until: now }, restarts: 0, in_a_row: 0, restart }
    }

    /// A process taken over from an earlier image of the supervisor.
    #[must_use]
    pub fn resumed(restart: Restart, stage: Stage, restarts: u64, in_a_row: u32) -> Self {
        Self { stage, restarts, in_a_row, restart }
    }

    /// When [`Lifecycle::due`] has something to do, if it does.
    #[must_use]
    pub fn wakes(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting { until } => Some(until),
            Stage::Stopping { kill_at, .. } | Stage::Remains { kill_at, .. } => Some(kill_at),
            Stage::Starting { .. } | Stage::Running { .. } | Stage::Ended => None,
        }
    }

    /// What is to be done at this time.
    pub fn due(&mut self, now: Instant) -> Act {
        match self.stage {
            Stage::Waiting { until } if until <= now => Act::Start,
            Stage::Stopping { kill_at, .. } if kill_at <= now => {
                self.stage = Stage::Stopping { kill_at: now + KILL_AGAIN, killed: true };
                Act::Kill
            }
            Stage::Remains { since, ended, kill_at } if kill_at <= now => {
                self.stage = Stage::Remains { since, ended, kill_at: now + KILL_AGAIN };
                Act::Kill
            }
            Stage::Waiting { .. }
            | Stage::Starting { .. }
            | Stage::Running { .. }
            | Stage::Remains { .. }
            | Stage::Stopping { .. }
            | Stage::Ended => Act::Nothing,
        }
    }

    /// It was started.
    pub fn started(&mut self, now: Instant) {
        self.stage = Stage::Starting { since: now };
    }

    /// The program has taken over.
    pub fn took_over(&mut self) {
        if let Stage::Starting { since } = self.stage {
            self.stage = Stage::Running { since };
        }
    }

    /// The program has ended, but not all that it started: nobody else could have its port. The rest is asked to end,
    /// unless that has been done.
    pub fn left_others(&mut self, grace: Duration, now: Instant) -> Act {
        match self.stage {
            Stage::Starting { since } | Stage::Running { since } => {
                self.stage = Stage::Remains { since, ended: now, kill_at: now + grace };
                Act::Ask
            }
            Stage::Waiting { .. } | Stage::Remains { .. } | Stage::Stopping { .. } | Stage::Ended => {
                Act::Nothing
            }
        }
    }

    /// It ended with all that it started, or could not be started at all.
    pub fn exited(&mut self, exit: Exit, now: Instant) {
        let ran = match self.stage {
            Stage::Starting { since } | Stage::Running { since } => now.saturating_duration_since(since),
            Stage::Remains { since, ended, .. } => ended.saturating_duration_since(since),
            Stage::Waiting { .. } => Duration::ZERO,
            Stage::Stopping { .. } | Stage::Ended => {
                self.stage = Stage::Ended;
                return;
            }
        };
        let again = match self.restart.when {
            RestartWhen::Always => true,
            RestartWhen::OnFailure => exit != Exit::Code(0),
            RestartWhen::Never => false,
        };
        if !again {
            self.stage = Stage::Ended;
            return;
        }
        if ran >= Duration::from_millis(self.restart.reset_after_ms) {
            self.in_a_row = 0;
        }
        let wait = wait_before(&self.restart, self.in_a_row);
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.restarts = self.restarts.saturating_add(1);
        self.stage = Stage::Waiting { until: now + wait };
    }

    /// It has ended and is wanted again, as if it were new; its restarts stay counted.
    pub fn again(&mut self, restart: Restart, now: Instant) {
        *self = Self { restarts: self.restarts, ..Self::new(restart, now) };
    }

    /// It shall end. Asked again, the earlier of the two deadlines counts.
    pub fn stop(&mut self, grace: Duration, now: Instant) -> Act {
        match self.stage {
            Stage::Waiting { .. } | Stage::Ended => {
                self.stage = Stage::Ended;
                Act::Nothing
            }
            Stage::Starting { .. } | Stage::Running { .. } => {
                self.stage = Stage::Stopping { kill_at: now + grace, killed: false };
                Act::Ask
            }
            // Asked already; it is only not started again.
            Stage::Remains { kill_at, .. } => {
                self.stage = Stage::Stopping { kill_at: kill_at.min(now + grace), killed: false };
                Act::Nothing
            }
            Stage::Stopping { kill_at, killed } => {
                self.stage = Stage::Stopping { kill_at: kill_at.min(now + grace), killed };
                Act::Nothing
            }
        }
    }
}

/// How long to wait before the next restart after `in_a_row` short runs that were restarted already.
fn wait_before(restart: &Restart, in_a_row: u32) -> Duration {
    let Some(doublings) = in_a_row.checked_sub(1) else { return Duration::ZERO };
    let factor = 1_u64.checked_shl(doublings.min(63)).unwrap_or(u64::MAX);
    Duration::from_millis(restart.initial_ms.saturating_mul(factor).min(restart.max_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn always() -> Restart {
        Restart { when: RestartWhen::Always, initial_ms: 100, max_ms: 1_000, reset_after_ms: 5_000 }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_crash_loop_waits_longer_each_time_up_to_the_longest() {
        let mut now = clock::instant();
        let mut process = Lifecycle::new(always(), now);
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert_eq!(process.due(now), Act::Start);
            process.started(now);
            process.took_over();
            process.exited(Exit::Code(1), now);
            let Stage::Waiting { until } = process.stage else { panic!("{:?}", process.stage) };
            if until > now {
                assert_eq!(process.due(until - ms(1)), Act::Nothing);
            }
            waits.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_000]);
        assert_eq!(process.restarts, 6);
    }

    #[test]
    fn a_long_run_starts_the_waits_anew() {
        let start = clock::instant();
        let mut process = Lifecycle::new(always(), start);
        process.started(start);
        process.exited(Exit::Signal(9), start);
        process.started(start);
        process.exited(Exit::Signal(9), start + ms(5_000));
        assert_eq!(process.stage, Stage::Waiting { until: start + ms(5_000) });
    }

    #[test]
    fn a_stopped_process_is_asked_then_killed_and_never_restarted() {
        let start = clock::instant();
        let mut process = Lifecycle::new(always(), start);
        process.started(start);
        assert_eq!(process.stop(ms(1_000), start), Act::Ask);
        assert_eq!(process.stop(ms(9_000), start), Act::Nothing);
        assert_eq!(process.wakes(), Some(start + ms(1_000)));
        assert_eq!(process.due(start + ms(999)), Act::Nothing);
        assert_eq!(process.due(start + ms(1_000)), Act::Kill);
        assert_eq!(process.due(start + ms(1_001)), Act::Nothing);
        assert_eq!(process.due(start + ms(2_000)), Act::Kill, "what was started in the moment of the kill");
        process.exited(Exit::Signal(9), start + ms(2_000));
        assert_eq!((process.stage, process.wakes()), (Stage::Ended, None));
    }

    #[test]
    fn what_a_program_leaves_behind_is_asked_to_end_and_killed_before_the_next_run() {
        let start = clock::instant();
        let mut process = Lifecycle::new(always(), start);
        process.started(start);
        process.took_over();
        assert_eq!(process.left_others(ms(1_000), start + ms(6_000)), Act::Ask);
        assert_eq!(process.left_others(ms(1_000), start + ms(6_500)), Act::Nothing);
        assert_eq!(process.wakes(), Some(start + ms(7_000)));
        assert_eq!(process.due(start + ms(6_999)), Act::Nothing);
        assert_eq!(process.due(start + ms(7_000)), Act::Kill);
        process.exited(Exit::Code(0), start + ms(7_001));
        // Its own run was a long one: the next begins at once.
        assert_eq!(process.stage, Stage::Waiting { until: start + ms(7_001) });
    }

    #[test]
    fn a_stop_while_others_are_left_keeps_the_earlier_deadline_and_asks_nobody_twice() {
        let start = clock::instant();
        for (grace, kill_at) in [(100, 100), (5_000, 1_000)] {
            let mut process = Lifecycle::new(always(), start);
            process.started(start);
            assert_eq!(process.left_others(ms(1_000), start), Act::Ask);
            assert_eq!(process.stop(ms(grace), start), Act::Nothing);
            assert_eq!(process.wakes(), Some(start + ms(kill_at)));
            process.exited(Exit::Code(0), start);
            assert_eq!(process.stage, Stage::Ended);
        }
    }

    #[test]
    fn a_stop_between_two_runs_ends_it_there() {
        let start = clock::instant();
        let mut process = Lifecycle::new(always(), start);
        for _ in 0..2 {
            process.started(start);
            process.exited(Exit::Code(1), start);
        }
        assert_eq!(process.stage, Stage::Waiting { until: start + ms(100) });
        assert_eq!(process.stop(ms(1_000), start), Act::Nothing);
        assert_eq!(process.stage, Stage::Ended);
        assert_eq!(process.due(start + ms(10_000)), Act::Nothing);
    }

    #[test]
    fn exit_code_zero_is_a_failure_only_to_those_who_say_always() {
        let start = clock::instant();
        for (when, exit, again) in [
            (RestartWhen::Always, Exit::Code(0), true),
            (RestartWhen::OnFailure, Exit::Code(0), false),
            (RestartWhen::OnFailure, Exit::Code(1), true),
            (RestartWhen::OnFailure, Exit::Signal(11), true),
            (RestartWhen::Never, Exit::Signal(11), false),
        ] {
            let mut process = Lifecycle::new(Restart { when, ..always() }, start);
            process.started(start);
            process.exited(exit, start);
            assert_eq!(process.stage != Stage::Ended, again, "{when:?} {exit:?}");
        }
    }

    #[test]
    fn the_wait_cannot_overflow() {
        let huge = Restart { initial_ms: u64::MAX, max_ms: 60_000, ..always() };
        assert_eq!(wait_before(&huge, u32::MAX), ms(60_000));
    }
}
