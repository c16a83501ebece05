//! What is known about a rollout, in plain words. Pure.

use std::time::Duration;

use jiff::Timestamp;
use strategies::{Action, End, Ended, Hold};

use crate::api::view::{FailureView, PhaseName, RolloutView, StepView};
pub(super) use crate::api::view::{cause, hold, said};

/// Where a rollout stands, as a short phrase: `step 2 of 4 (ten)`.
#[must_use]
pub(super) fn stands(view: &RolloutView) -> String {
    let held = if view.hold.is_some() { "paused in " } else { "" };
    match view.phase {
        PhaseName::Adopting => "bringing up its first revision".to_owned(),
        PhaseName::Idle => match view.stable {
            Some(_) => "at rest, stable serves".to_owned(),
            None => "at rest".to_owned(),
        },
        PhaseName::Stepping => match &view.step {
            Some(it) => format!("{held}{}", step(it)),
            None => format!("{held}a step"),
        },
        PhaseName::Promoting => "promoted; what is left of the old revision goes".to_owned(),
        PhaseName::Aborting => "turning back".to_owned(),
        PhaseName::RolledBack => "rolled back, stable serves".to_owned(),
        PhaseName::Leaving => "being deleted".to_owned(),
        PhaseName::Left => "deleted".to_owned(),
    }
}

/// A step and its place: `step 2 of 4 (ten)`.
#[must_use]
pub(super) fn step(step: &StepView) -> String {
    format!("step {} of {} ({})", step.index + 1, step.count, step.name)
}

/// Why no step is taken, with the reason that somebody gave for it.
#[must_use]
pub(super) fn held(view: &RolloutView) -> Option<String> {
    let held = view.hold.as_ref()?;
    let reason = match held {
        Hold::Ordered { .. } => view.given.iter().rev().find(|it| it.action == Action::Pause),
        Hold::Verdict { .. } | Hold::ProgressDeadline => None,
    };
    let reason = reason.and_then(|it| it.reason.as_ref()).map(|it| format!(": {it}")).unwrap_or_default();
    Some(format!("{}{reason}", hold(held)))
}

/// What a replica on trial failed of, and where more stands.
#[must_use]
pub(super) fn failure(failure: &FailureView) -> String {
    let log = failure.log.as_ref().map(|it| format!("; its log: {}", it.display())).unwrap_or_default();
    format!("{}{log}", failure.because)
}

/// How an attempt ended, as a short phrase.
#[must_use]
pub(super) fn end(ended: &Ended) -> String {
    match &ended.end {
        End::Promoted => "promoted".to_owned(),
        End::RolledBack(why) => format!("rolled back: {}", cause(why)),
        End::Superseded { by } => format!("superseded by {by}"),
    }
}

/// The time between two moments; nothing where the second is not later.
#[must_use]
pub(super) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// A length of time as two units at most: `850ms`, `12s`, `1m 20s`, `3h 5m`.
#[must_use]
pub(super) fn span(length: Duration) -> String {
    let (seconds, millis) = (length.as_secs(), length.subsec_millis());
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A latency, as precise as it is given: `250us`, `7ms 500us`, `1s`.
#[must_use]
pub(super) fn latency(seconds: f64) -> String {
    let micros = Duration::from_micros((seconds.max(0.0) * 1e6).round() as u64);
    humantime::format_duration(micros).to_string()
}

fn two(first: u64, unit: &str, second: u64, smaller: &str) -> String {
    match second {
        0 => format!("{first}{unit}"),
        _ => format!("{first}{unit} {second}{smaller}"),
    }
}

/// How long ago, or how far ahead.
#[must_use]
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let (past, ahead) = (between(at, now), between(now, at));
    match ahead.as_secs() {
        0 if past.as_secs() == 0 => "now".to_owned(),
        0 => format!("{} ago", span(whole(past))),
        _ => format!("in {}", span(whole(ahead))),
    }
}

fn whole(length: Duration) -> Duration {
    Duration::from_secs(length.as_secs())
}

/// The time of day here, `14:03:07`.
#[must_use]
pub(super) fn clock_time(at: Timestamp) -> String {
    at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// Day and time here, `2026-03-01 14:03:07`.
#[must_use]
pub(super) fn day_and_time(at: Timestamp) -> String {
    at.to_zoned_datetime(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A count with its thousands apart: `12,345`.
#[must_use]
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun: `1 request`, `2 requests`.
#[must_use]
pub(super) fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", count(number)),
    }
}

/// A share as a percentage with as many digits as it deserves: `0 %`, `0.04 %`, `4.2 %`, `42 %`.
#[must_use]
pub(super) fn percentage(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    let percent = 100.0 * part as f64 / whole as f64;
    match percent {
        it if it < 0.095 => format!("{it:.2} %"),
        it if it < 9.95 => format!("{it:.1} %"),
        it => format!("{it:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_two_units_at_most() {
        let check = |seconds, expected| assert_eq!(span(Duration::from_secs(seconds)), expected);
        check(12, "12s");
        check(60, "1m");
        check(80, "1m 20s");
        check(3_600 * 3 + 305, "3h 5m");
        check(86_400 * 2 + 3_600, "2d 1h");
        assert_eq!(span(Duration::from_millis(850)), "850ms");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(percentage(4, 10_000), "0.04 %");
        assert_eq!(percentage(42, 1_000), "4.2 %");
        assert_eq!(percentage(1, 2), "50 %");
        assert_eq!(percentage(0, 0), "0 %");
    }

    #[test]
    fn moments_are_told_from_now() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(relative(at(100), at(100)), "now");
        assert_eq!(relative(at(100), at(180)), "1m 20s ago");
        assert_eq!(relative(at(180), at(100)), "in 1m 20s");
    }
}
