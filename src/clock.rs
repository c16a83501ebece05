//! The only place that reads a clock. Everything else takes the time as an argument.

use std::time::Instant;

use jiff::Timestamp;

/// The wall clock, for what is stored and shown.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The monotonic clock, for latencies and timeouts within one process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn instant() -> Instant {
    Instant::now()
}
