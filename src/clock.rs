//! The only place that reads a clock. Everything else takes the time as an argument.
//!
//! Durations are never differences of the clock on the wall, which anybody may set: [`now`] passes as time does. What is
//! told to people, asked of others or ordered by them is in the [`wall`]'s time; a [`Timeline`] translates.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;

mod timeline;

pub use timeline::{Because, Reading, Step, Timeline};

/// What [`now`] goes by.
fn own() -> &'static ArcSwap<Timeline> {
    static OWN: OnceLock<ArcSwap<Timeline>> = OnceLock::new();
    OWN.get_or_init(|| ArcSwap::from_pointee(Timeline::new(&reading())))
}

/// The time of this process: the wall's when it began, and from then on as much later as time has passed. Where an
/// instance keeps a [`Timeline`], that one's ([`follow`]).
#[must_use]
pub fn now() -> Timestamp {
    own().load().after(uptime())
}

/// The clock on the wall, for people and for what they order.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// The monotonic clock, for latencies and timeouts within one process.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn instant() -> Instant {
    Instant::now()
}

/// All clocks of this machine.
#[must_use]
pub fn reading() -> Reading {
    Reading { boot: boot(), uptime: uptime(), wall: wall() }
}

/// From now on [`now`] is the time of this timeline, which has been looked at in this start of the machine.
pub fn follow(timeline: Timeline) {
    own().store(Arc::new(timeline));
}

/// The timeline that [`now`] goes by.
#[must_use]
pub fn timeline() -> Arc<Timeline> {
    own().load_full()
}

/// Time since the machine started, sleep included.
fn uptime() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let read = clock_gettime(ClockId::Boottime);
    Duration::new(read.tv_sec.try_into().unwrap_or_default(), read.tv_nsec.try_into().unwrap_or_default())
}

/// Which start of the machine this is, as Linux calls it (`proc_sys_kernel(5)`, `random/boot_id`). Where that cannot be
/// read every process counts as a start of its own: then what passes between two of them does not count.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| format!("unknown to process {}", std::process::id()), |it| it.trim().to_owned())
}
