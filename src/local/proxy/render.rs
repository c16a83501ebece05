//! Counts as Prometheus text, for `/metrics` of the control process.

use std::{borrow::Cow, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text::encode},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::{
    counts::{LATENCY_BOUNDS_US, SeriesSnapshot, Snapshot},
    outcome::Outcomes,
};

/// The newest snapshot of each worker as Prometheus (OpenMetrics) text.
///
/// Counters carry `worker`, `listener`, `revision` and `routed`; a restarted worker's begin at zero again, which is
/// what Prometheus expects of a counter.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub fn render_prometheus(snapshots: &[Snapshot]) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("serinus_proxy");
    registry.register_collector(Box::new(Workers(snapshots.to_vec())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Workers(Vec<Snapshot>);

/// gRPC's names of its codes, in order.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

type Value = (Option<(&'static str, &'static str)>, u64);

fn outcomes(series: &SeriesSnapshot) -> Vec<Value> {
    let Outcomes { success, redirect, not_found, client_error, server_error, unanswered } = series.outcomes;
    let all = [
        ("success", success),
        ("redirect", redirect),
        ("not_found", not_found),
        ("client_error", client_error),
        ("server_error", server_error),
        ("unanswered", unanswered),
    ];
    all.into_iter().map(|(outcome, n)| (Some(("outcome", outcome)), n)).collect()
}

type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

fn labels<'a>(snapshot: &'a Snapshot, series: &'a SeriesSnapshot) -> Labels<'a> {
    vec![
        ("worker", Cow::from(snapshot.worker.to_string())),
        ("listener", Cow::from(&series.listener)),
        ("revision", Cow::from(&series.revision)),
        ("routed", Cow::from(series.routed.as_str())),
    ]
}

impl Workers {
    fn each(&self) -> impl Iterator<Item = (&Snapshot, &SeriesSnapshot)> {
        self.0.iter().flat_map(|snapshot| snapshot.series.iter().map(move |series| (snapshot, series)))
    }

    fn counter(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl Fn(&SeriesSnapshot) -> Vec<Value>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (snapshot, series) in self.each() {
            for (label, value) in values(series) {
                let mut labels = labels(snapshot, series);
                labels.extend(label.map(|(name, value)| (name, Cow::from(value))));
                ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn histogram(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        of: impl Fn(&SeriesSnapshot) -> (&[u64], u64),
    ) -> fmt::Result {
        let mut family =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (snapshot, series) in self.each() {
            let (counts, sum_us) = of(series);
            let bounds = LATENCY_BOUNDS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
            let count = counts.iter().sum();
            let labels = labels(snapshot, series);
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<NoLabelSet>(sum_us as f64 / 1e6, count, &buckets, None)?;
        }
        Ok(())
    }

    fn listeners(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Count = fn(&super::counts::ListenerSnapshot) -> u64;
        let counters: [(&str, &str, Count); 5] = [
            ("accepted_connections", "Client connections accepted", |listener| listener.accepted),
            ("unserved_requests", "Requests no arm could serve", |listener| listener.unserved),
            ("refused_requests", "Requests that broke HTTP or a limit", |listener| listener.refused),
            ("turned_away_connections", "Connections beyond the bound of their address", |listener| {
                listener.turned_away
            }),
            ("skipped_mirrors", "Mirrored requests not sent because of a bound", |listener| {
                listener.mirrors_skipped
            }),
        ];
        let each =
            || self.0.iter().flat_map(|s| s.listeners.iter().map(move |(name, l)| (s.worker, name, l)));
        for (name, help, value) in counters {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (worker, listener, counts) in each() {
                let labels = [("worker", Cow::from(worker.to_string())), ("listener", Cow::from(listener))];
                ConstCounter::new(value(counts)).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Client connections open";
        let mut family = encoder.encode_descriptor("connections", help, None, MetricType::Gauge)?;
        for (worker, listener, counts) in each() {
            let labels = [("worker", Cow::from(worker.to_string())), ("listener", Cow::from(listener))];
            let open = i64::try_from(counts.connections).unwrap_or(i64::MAX);
            ConstGauge::new(open).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Workers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.counter(encoder, "requests", "Requests begun", None, |s| vec![(None, s.requests)])?;
        self.counter(encoder, "completed", "Requests ended", None, |s| vec![(None, s.completed)])?;
        self.counter(encoder, "cancelled", "Requests the client gave up", None, |s| {
            vec![(None, s.cancelled)]
        })?;
        self.counter(encoder, "reconnects", "Requests moved to another process", None, |s| {
            vec![(None, s.reconnects)]
        })?;
        self.counter(encoder, "responses", "Response heads by class", None, |s| {
            let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(s.responses);
            classes.map(|(class, n)| (Some(("class", class)), n)).collect()
        })?;
        self.counter(encoder, "errors", "Requests that count as bad, by cause", None, |s| {
            let super::counts::Errors { status, connect, reset, timeout } = s.errors;
            let causes = [("status", status), ("connect", connect), ("reset", reset), ("timeout", timeout)];
            causes.into_iter().map(|(cause, n)| (Some(("cause", cause)), n)).collect()
        })?;
        self.counter(encoder, "outcomes", "Ended requests by what their answer meant", None, outcomes)?;
        self.counter(encoder, "grpc", "Ended gRPC calls by code", None, |s| {
            GRPC_CODES
                .into_iter()
                .zip(s.grpc.iter().copied())
                .map(|(code, n)| (Some(("code", code)), n))
                .collect()
        })?;
        let bytes = Some(&Unit::Bytes);
        self.counter(encoder, "received", "Body bytes from clients", bytes, |s| vec![(None, s.bytes_in)])?;
        self.counter(encoder, "sent", "Body bytes to clients", bytes, |s| vec![(None, s.bytes_out)])?;
        let mut family =
            encoder.encode_descriptor("in_flight", "Requests in flight", None, MetricType::Gauge)?;
        for (snapshot, series) in self.each() {
            let in_flight = i64::try_from(series.in_flight).unwrap_or(i64::MAX);
            ConstGauge::new(in_flight).encode(family.encode_family(&labels(snapshot, series))?)?;
        }
        let help = "Time from a request's head to the head of its answer";
        self.histogram(encoder, "latency", help, |s| (&s.latency, s.latency_sum_us))?;
        let help = "Time from a request's head to the end of its answer, stream or tunnel";
        self.histogram(encoder, "life", help, |s| (&s.life, s.life_sum_us))?;
        self.listeners(encoder)
    }
}
