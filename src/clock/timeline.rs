use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The clocks of a machine, read together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// Which start of the machine this is; uptimes of two starts cannot be compared.
    pub boot: String,
    /// Time since the machine started, sleep included. Nobody can set it.
    pub uptime: Duration,
    /// The clock on the wall, which anybody may set at any time.
    pub wall: Timestamp,
}

/// The time of an instance: it passes as time does, whatever happens to the clock on the wall.
///
/// Pauses, bakes, deadlines and all other durations are measured with it. It begins as the time of the wall and goes on
/// from there by the machine's uptime, also over restarts of the process. What passes while the machine is off is not
/// known and does not count. How far the wall is ahead is remembered stretch by stretch, so that a moment of any time
/// can be told to people as the wall called it then.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    boot: String,
    uptime: Duration,
    at: Timestamp,
    stretches: Vec<Stretch>,
}

/// From when on the wall is ahead by how much.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stretch {
    from: Timestamp,
    ahead: SignedDuration,
    because: Because,
}

/// What came between the wall and the time that passed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Because {
    /// The clock was set.
    Set,
    /// The machine was started: it was off, and its clock may have been set meanwhile.
    Started,
}

/// The wall went ahead or stayed behind.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How much later the wall says it is than it would have; negative: earlier.
    pub by: SignedDuration,
    /// When it was noticed, as the wall calls it since.
    pub at: Timestamp,
    /// Why.
    pub because: Because,
}

impl Timeline {
    /// How far the wall may get away before that counts as a step: clocks of one machine read one after the other
    /// differ by less.
    const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);
    /// Largest number of stretches remembered; what was before them is told by the earliest.
    const STRETCHES: usize = 64;

    /// One that begins now.
    #[must_use]
    pub fn new(reading: &Reading) -> Self {
        let first = Stretch { from: Timestamp::MIN, ahead: SignedDuration::ZERO, because: Because::Started };
        let Reading { boot, uptime, wall } = reading.clone();
        Self { boot, uptime, at: wall, stretches: vec![first] }
    }

    /// The same one after a restart of the process or of the machine. It is `at_least` this late: something happened
    /// then.
    #[must_use]
    pub fn go_on(self, reading: &Reading, at_least: Timestamp) -> Self {
        let because = if reading.boot == self.boot { Because::Set } else { Because::Started };
        let at = self.now(reading).max(at_least);
        let (boot, uptime) = (reading.boot.clone(), reading.uptime);
        let mut next = Self { boot, uptime, at, stretches: self.stretches };
        next.compare(reading.wall, because);
        next
    }

    /// The time now. It never goes back.
    #[must_use]
    pub fn now(&self, reading: &Reading) -> Timestamp {
        if reading.boot != self.boot {
            return self.at;
        }
        self.after(reading.uptime)
    }

    /// The time at this uptime of the same start of the machine.
    #[must_use]
    pub fn after(&self, uptime: Duration) -> Timestamp {
        let passed = uptime.saturating_sub(self.uptime);
        self.at.checked_add(passed).unwrap_or(Timestamp::MAX)
    }

    /// Goes on to now, and says whether the wall was set since the last look.
    pub fn look(&mut self, reading: &Reading) -> Option<Step> {
        self.at = self.now(reading);
        (self.boot, self.uptime) = (reading.boot.clone(), reading.uptime);
        self.compare(reading.wall, Because::Set).then(|| self.last_step()).flatten()
    }

    /// The last time that the wall went ahead or stayed behind; `None`: it never did.
    #[must_use]
    pub fn last_step(&self) -> Option<Step> {
        let [.., before, last] = self.stretches.as_slice() else { return None };
        let by = last.ahead.saturating_sub(before.ahead);
        Some(Step { by, at: later(last.from, last.ahead), because: last.because })
    }

    /// Begins a stretch if the wall is not where it would be; says whether.
    fn compare(&mut self, wall: Timestamp, because: Because) -> bool {
        let ahead = wall.duration_since(self.at);
        if ahead.saturating_sub(self.ahead()).abs() <= Self::TOLERANCE {
            return false;
        }
        self.stretches.push(Stretch { from: self.at, ahead, because });
        if self.stretches.len() > Self::STRETCHES {
            self.stretches.remove(0);
        }
        true
    }

    /// What the wall said at that time.
    #[must_use]
    pub fn wall(&self, at: Timestamp) -> Timestamp {
        let then = self.stretches.iter().rev().find(|it| it.from <= at).or(self.stretches.first());
        later(at, then.map(|it| it.ahead).unwrap_or_default())
    }

    /// What the wall would have said at that time if it had been as far ahead as it is: for those who are asked now
    /// about a while that ends now.
    #[must_use]
    pub fn present_wall(&self, at: Timestamp) -> Timestamp {
        later(at, self.ahead())
    }

    /// When the wall will say this, if nobody sets it.
    #[must_use]
    pub fn of_wall(&self, wall: Timestamp) -> Timestamp {
        later(wall, -self.ahead())
    }

    /// How far the wall is ahead at present; negative: behind.
    fn ahead(&self) -> SignedDuration {
        self.stretches.last().map(|it| it.ahead).unwrap_or_default()
    }
}

/// Saturating at the ends of what can be said.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(boot: &str, uptime: u64, wall: i64) -> Reading {
        Reading {
            boot: boot.to_owned(),
            uptime: Duration::from_secs(uptime),
            wall: Timestamp::from_second(wall).unwrap(),
        }
    }

    fn second(at: Timestamp) -> i64 {
        at.as_second()
    }

    #[test]
    fn a_clock_that_is_set_changes_no_duration() {
        let mut it = Timeline::new(&reading("a", 100, 1_000));
        for wall in [1_000, 4_600, -2_600, 0] {
            assert_eq!(second(it.now(&reading("a", 160, wall))), 1_060);
        }
        it.look(&reading("a", 160, 4_660));
        assert_eq!(second(it.now(&reading("a", 170, 0))), 1_070);
    }

    #[test]
    fn a_clock_that_was_set_while_nothing_ran_changes_no_duration() {
        let before = Timeline::new(&reading("a", 100, 1_000));
        let after = before.go_on(&reading("a", 130, 90_000), Timestamp::MIN);
        assert_eq!(second(after.now(&reading("a", 130, 90_000))), 1_030);
        assert_eq!(after.last_step().map(|it| it.because), Some(Because::Set));
    }

    #[test]
    fn time_in_which_the_machine_was_off_does_not_count() {
        let mut before = Timeline::new(&reading("a", 100, 1_000));
        before.look(&reading("a", 150, 1_050));
        let mut after = before.go_on(&reading("b", 7, 9_000), Timestamp::MIN);
        assert_eq!(second(after.now(&reading("b", 7, 9_000))), 1_050);
        let step = after.last_step().unwrap();
        assert_eq!((step.by.as_secs(), second(step.at), step.because), (7_950, 9_000, Because::Started));
        assert_eq!(after.look(&reading("b", 8, 9_001)), None);
        assert_eq!(second(after.now(&reading("b", 18, 1))), 1_061);
    }

    #[test]
    fn it_goes_on_after_the_last_thing_that_happened() {
        let before = Timeline::new(&reading("a", 100, 1_000));
        let after = before.go_on(&reading("b", 7, 1_100), Timestamp::from_second(1_040).unwrap());
        assert_eq!(second(after.now(&reading("b", 7, 1_100))), 1_040);
    }

    #[test]
    fn moments_are_told_as_the_wall_called_them_then() {
        let mut it = Timeline::new(&reading("a", 100, 1_000));
        assert_eq!(it.look(&reading("a", 110, 1_010)), None);
        let step = it.look(&reading("a", 120, 4_620)).unwrap();
        assert_eq!((step.by.as_secs(), second(step.at)), (3_600, 4_620));
        assert_eq!(it.look(&reading("a", 130, 4_630)), None);
        let told = |at: i64| second(it.wall(Timestamp::from_second(at).unwrap()));
        assert_eq!((told(900), told(1_010), told(1_020), told(1_030)), (900, 1_010, 4_620, 4_630));
        assert_eq!(second(it.of_wall(Timestamp::from_second(4_640).unwrap())), 1_040);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn it_passes_as_uptime_does_and_never_goes_back(
            steps in prop::collection::vec((0_u64..100_000, -2_000_000_000_i64..4_000_000_000, any::<bool>()), 1..200),
        ) {
            let (mut uptime, mut boot) = (0, 0);
            let mut it = Timeline::new(&reading("0", 0, 0));
            let mut before = it.now(&reading("0", 0, 0));
            for (passed, wall, reboot) in steps {
                let reading = if reboot {
                    (boot, uptime) = (boot + 1, passed);
                    let reading = reading(&boot.to_string(), passed, wall);
                    it = it.go_on(&reading, Timestamp::MIN);
                    prop_assert_eq!(it.now(&reading), before);
                    reading
                } else {
                    uptime += passed;
                    let reading = reading(&boot.to_string(), uptime, wall);
                    let now = it.now(&reading);
                    prop_assert_eq!(now.duration_since(before).as_secs(), passed as i64);
                    reading
                };
                it.look(&reading);
                before = it.now(&reading);
                prop_assert!((second(it.wall(before)) - wall).abs() <= 1);
                prop_assert!(it.stretches.len() <= Timeline::STRETCHES);
                let json = serde_json::to_string(&it).unwrap();
                prop_assert_eq!(serde_json::from_str::<Timeline>(&json).unwrap(), it.clone());
            }
        }
    }
}
