//! Buckets of time whose events are known, for servers that add up by themselves.

use analysis::Counts;

/// Two arms' events, bucket by bucket.
pub(crate) struct Sums {
    /// Where the first bucket begins, in seconds.
    pub(crate) start: i64,
    /// The length of a bucket in seconds.
    pub(crate) bucket: i64,
    /// How many there are.
    pub(crate) buckets: i64,
}

impl Sums {
    /// Buckets that end about a minute ago.
    #[allow(clippy::disallowed_methods, reason = "a server keeps what is of now")]
    pub(crate) fn until_now(bucket: i64, buckets: i64) -> Self {
        let end = (jiff::Timestamp::now().as_second() - 60).div_euclid(bucket) * bucket;
        Self { start: end - buckets * bucket, bucket, buckets }
    }

    /// When a bucket begins.
    pub(crate) fn begins(&self, index: i64) -> i64 {
        self.start + index * self.bucket
    }

    /// Events of a bucket, and how many of them are bad. One bucket holds none; many hold no bad ones.
    pub(crate) fn of(&self, arm: &str, index: i64) -> Option<(u64, u64)> {
        if index == 7 {
            return None;
        }
        let index = index.unsigned_abs();
        Some(match arm {
            "canary" => (40 + index % 7, if index.is_multiple_of(4) { 1 + index % 3 } else { 0 }),
            _ => (360 + index % 11, if index.is_multiple_of(3) { 2 + index % 5 } else { 0 }),
        })
    }

    /// All events of both arms in the buckets that begin at or after `began` and are over by `end`, in seconds.
    pub(crate) fn between(&self, began: i64, end: i64) -> [Counts; 2] {
        ["canary", "stable"].map(|arm| {
            let mut sum = Counts::default();
            for index in 0..self.buckets {
                let within = began <= self.begins(index) && self.begins(index + 1) <= end;
                if let Some((total, bad)) = self.of(arm, index).filter(|_| within) {
                    sum.add(Counts::new(total, bad));
                }
            }
            sum
        })
    }

    /// Everything that there is to be written: arm, bucket, all events, bad ones.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, i64, u64, u64)> + '_ {
        let arms = ["canary", "stable"].into_iter();
        arms.flat_map(move |arm| {
            (0..self.buckets).filter_map(move |it| self.of(arm, it).map(|(total, bad)| (arm, it, total, bad)))
        })
    }
}
