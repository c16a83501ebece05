//! The reason in one sentence, with the numbers.

use super::{
    Tables,
    state::{Signal, State},
};
use crate::{finding::Evidence, finding::Verdict, poll::Counts};

pub(super) fn because(state: &State, tables: &Tables, evidence: Option<&Evidence>) -> String {
    let Some(evidence) = evidence else { return String::new() };
    let seen = match &state.signal {
        Signal::Unread => return unread(state),
        Signal::Errors(_) => {
            format!("bad requests: canary {}, baseline {}", arm(evidence.canary), arm(evidence.baseline))
        }
        Signal::Latency(_) => format!(
            "requests slower than {}: canary {}, baseline {}",
            evidence.bound.map_or_else(|| "nothing".to_owned(), latency),
            arm(evidence.canary),
            arm(evidence.baseline)
        ),
        Signal::Gauge(gauge) => {
            let (canary, baseline) = gauge.means();
            format!("means of {} batches: canary {canary:.4}, baseline {baseline:.4}", gauge.batches())
        }
    };
    let ratio = evidence.ratio_found().map_or_else(String::new, |it| format!(" ({it:.2}x)"));
    let (bad, good) = (evidence.ln_e_bad, evidence.ln_e_good);
    let weighed = match state.verdict() {
        Verdict::Fail => format!("evidence of harm {bad:.1}, {:.1} needed", tables.needed_bad),
        Verdict::Pass => format!("evidence against {}x {:.1}, {:.1} needed", tables.margin, state.now.largest_good, tables.needed_good),
        Verdict::Pending | Verdict::Inconclusive | Verdict::Error => format!(
            "evidence of harm {bad:.1} of {:.1}, against {}x {good:.1} of {:.1}{}",
            tables.needed_bad,
            tables.margin,
            tables.needed_good,
            if state.last.is_some_and(|last| last < state.warm_until()) { ", warming up" } else { "" }
        ),
    };
    format!("{seen}{ratio}; {weighed}")
}

/// Latencies of a canary that warms up are not looked at, so nothing may be wrong with the measurement.
fn unread(state: &State) -> String {
    let nothing = "nothing was measured yet";
    match state.warms_up().then(|| state.warm_until()) {
        Some(end) => format!("{nothing}; the warm-up ends at {} UTC", end.strftime("%H:%M:%S")),
        None => nothing.to_owned(),
    }
}

/// A bound of a histogram, whose unit is the second.
fn latency(seconds: f64) -> String {
    let micros = std::time::Duration::from_micros((seconds.max(0.0) * 1e6).round() as u64);
    humantime::format_duration(micros).to_string()
}

fn arm(counts: Counts) -> String {
    match counts.rate() {
        Some(rate) => format!("{} of {} ({:.3} %)", counts.bad, counts.total, 100.0 * rate),
        None => "no requests".to_owned(),
    }
}
