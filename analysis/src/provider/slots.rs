//! Complete buckets of time, each once: for sources that add up by themselves and are asked for one number per bucket.
//!
//! Such a source's newest bucket is still being filled, and the ones before it may be for a while. Whoever reads it too
//! early counts too little, and whoever reads it again counts twice. So a bucket is read when it is over and `delay`
//! has passed, and then never again; what was read last is in [`Memory`], and after an outage the next poll covers the
//! gap. A bucket without a number is not zero: the newest ones without any stay unread, for they may come late, and
//! where no complete bucket holds a number there is no data.
//!
//! How a provider that counts uses it:
//!
//! ```text
//! for stretch in slots.unread(span, memory) {
//!     let (bad, total) = …ask for one number per bucket of stretch.from .. stretch.until…;
//!     stretch.count(&bad, &total, memory)?;
//! }
//! slots.counts(span, memory)
//! ```
//!
//! and one that reads a number of now:
//!
//! ```text
//! if let Some(stretch) = slots.recent(span, memory) {
//!     let points = …ask for one number per bucket of stretch.from .. stretch.until…;
//!     stretch.newest(&points, memory)?;
//! }
//! slots.value(span, memory)
//! ```
//!
//! Points come in any order, may lie outside of what was asked for (they are left out), and must begin where buckets do.
//! Deliberately absent: asking, and what a question looks like.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Failure, Memory, Reading, Span};

/// Most buckets that are asked for at once.
const MOST_AT_ONCE: i64 = 1000;

/// A number of a bucket that ended longer ago is none of now; two buckets may always be looked at.
const FRESH_MS: i64 = 300_000;

/// How far from a whole number a count may be that went through floating-point sums, relative to its size.
const ROUNDED: f64 = 1e-9;

/// How a source divides time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Slots {
    /// The length of one bucket. Buckets begin at multiples of it since 1970 (UTC).
    pub bucket: Duration,
    /// How long after its end a bucket may still change. It is not read before.
    pub delay: Duration,
}

/// The beginning of a bucket in milliseconds since 1970, and its number if it has one.
pub(super) type Point = (i64, Option<f64>);

/// Complete buckets that are to be asked for at once: those that begin at or after `from` and before `until`,
/// milliseconds since 1970, both where buckets begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stretch {
    pub(super) from: i64,
    pub(super) until: i64,
    /// The length of one bucket.
    pub(super) bucket: i64,
    /// Whether the newest complete bucket is in it.
    last: bool,
}

/// Stretches until everything that is complete was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread {
    from: i64,
    end: i64,
    bucket: i64,
    most: i64,
}

impl Slots {
    /// Whether its buckets can be told apart by whole seconds.
    ///
    /// # Errors
    /// [`Failure::Question`].
    pub(super) fn check(self) -> Result<(), Failure> {
        match self.bucket.as_secs() != 0 && self.bucket.subsec_nanos() == 0 {
            true => Ok(()),
            false => Err(Failure::Question("its buckets are not whole seconds long")),
        }
    }

    /// The complete buckets that were not read yet: from the first one that begins after counting began.
    pub(super) fn unread(self, span: Span, memory: &Memory) -> Unread {
        let bucket = millis(self.bucket).max(1);
        let began = span.began.as_millisecond();
        let first =
            began.div_euclid(bucket) * bucket + if began.rem_euclid(bucket) == 0 { 0 } else { bucket };
        let over = span.to.as_millisecond().saturating_sub(millis(self.delay));
        // Buckets of another length than before: one that has begun is not read a second time in part.
        let read = memory.read_until.map_or(first, |it| -(-it).div_euclid(bucket) * bucket);
        Unread { from: read.max(first), end: over.div_euclid(bucket) * bucket, bucket, most: MOST_AT_ONCE }
    }

    /// The complete buckets among which the newest number is looked for; `None`: it was read already.
    pub(super) fn recent(self, span: Span, memory: &Memory) -> Option<Stretch> {
        let Unread { from, end, bucket, .. } = self.unread(span, memory);
        let from = from.max(end - bucket * (FRESH_MS / bucket).max(2));
        (from < end).then_some(Stretch { from, until: end, bucket, last: true })
    }

    /// What was counted since the last poll, once every stretch was.
    ///
    /// # Errors
    /// [`Failure::NoData`]: buckets are complete and hold nothing.
    pub(super) fn counts(self, span: Span, memory: &mut Memory) -> Result<Reading, Failure> {
        match memory.pending.any {
            true => memory.pending.counts(),
            false => self.nothing(span, memory),
        }
    }

    /// The newest number, unless it was in the last poll.
    ///
    /// # Errors
    /// [`Failure::NoData`]: buckets are complete and hold nothing.
    pub(super) fn value(self, span: Span, memory: &Memory) -> Result<Reading, Failure> {
        memory.pending.value.map_or_else(|| self.nothing(span, memory), |it| Ok(Reading::Values(vec![it])))
    }

    fn nothing(self, span: Span, memory: &Memory) -> Result<Reading, Failure> {
        match self.recent(span, memory) {
            Some(_) => Err(Failure::NoData),
            None => Ok(Reading::NothingNew),
        }
    }
}

impl Unread {
    /// The same for a source that does not answer about more than `most` buckets at once.
    pub(super) fn at_most(self, most: i64) -> Self {
        Self { most: self.most.min(most.max(1)), ..self }
    }
}

impl Iterator for Unread {
    type Item = Stretch;

    fn next(&mut self) -> Option<Stretch> {
        if self.end <= self.from {
            return None;
        }
        let (from, bucket) = (self.from, self.bucket);
        self.from = (from + self.most * bucket).min(self.end);
        Some(Stretch { from, until: self.from, bucket, last: self.from == self.end })
    }
}

impl Stretch {
    /// Adds up a stretch's events. Bad events without a number are none, for what never occurred has no series.
    ///
    /// # Errors
    /// [`Failure`]: a number is no count, or two of them are of one bucket; nothing is remembered then.
    pub(super) fn count(&self, bad: &[Point], total: &[Point], memory: &mut Memory) -> Result<(), Failure> {
        let [bad, total] = [self.whole(bad)?, self.whole(total)?];
        let newest = total.last_key_value().map_or(self.from, |(start, _)| start + self.bucket);
        let until = if self.last { newest } else { self.until };
        let sum = |it: &BTreeMap<i64, f64>| it.range(..until).map(|it| it.1).sum::<f64>();
        memory.pending.any |= !total.is_empty();
        memory.pending.bad += sum(&bad);
        memory.pending.total += sum(&total);
        memory.read_until = Some(until);
        Ok(())
    }

    /// Takes the newest number, if there is one.
    ///
    /// # Errors
    /// [`Failure`]: it is not finite, or two of them are of one bucket; nothing is remembered then.
    pub(super) fn newest(&self, points: &[Point], memory: &mut Memory) -> Result<(), Failure> {
        if let Some((start, value)) = self.inside(points)?.pop_last() {
            memory.read_until = Some(start + self.bucket);
            memory.pending.value = Some(value);
        }
        Ok(())
    }

    /// The numbers of its buckets, by their beginning.
    fn inside(&self, points: &[Point]) -> Result<BTreeMap<i64, f64>, Failure> {
        let mut inside = BTreeMap::new();
        for (start, value) in points {
            if (start - self.from).rem_euclid(self.bucket) != 0 {
                return Err(Failure::NotThis("in buckets as long as `bucket` says"));
            }
            let Some(value) = value.filter(|_| (self.from..self.until).contains(start)) else { continue };
            if !value.is_finite() {
                return Err(Failure::NotFinite);
            }
            if inside.insert(*start, value).is_some() {
                return Err(Failure::Contradictory("two numbers of one bucket"));
            }
        }
        Ok(inside)
    }

    /// The same where they must be counts.
    fn whole(&self, points: &[Point]) -> Result<BTreeMap<i64, f64>, Failure> {
        let inside = self.inside(points)?;
        if inside.values().any(|it| *it < 0.0) {
            return Err(Failure::Contradictory("a count below zero"));
        }
        if inside.values().any(|it| ROUNDED * it.max(1.0) < (it - it.round()).abs()) {
            return Err(Failure::NotThis("a count: a bucket holds a fraction, as rates and averages do"));
        }
        Ok(inside)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
