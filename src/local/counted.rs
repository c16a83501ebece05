//! What the proxy workers counted, in the words of the analyses.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use analysis::Answers;
use strategies::{Name, Revision};

use super::{
    adapter::{fleet::is_of, lower::arm_of},
    proxy::{EndpointSnapshot, LATENCY_BOUNDS_US, Outcomes, SeriesSnapshot, Snapshot},
};
use crate::analyses::{Counted, ReplicaCounts, Series};

/// One worker's counts of a rollout. `revisions`: what the process behind each address runs; addresses that are not listed tell
/// nothing about replicas.
#[must_use]
pub fn counted(snapshot: &Snapshot, rollout: &str, revisions: &BTreeMap<SocketAddr, Revision>) -> Counted {
    let own = |it: &&SeriesSnapshot| is_of(&it.listener, rollout);
    let bounds: Vec<f64> = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).collect();
    let replica = |it: &EndpointSnapshot| {
        revisions.get(&it.address).map(|revision| ReplicaCounts {
            replica: it.address.to_string().into(),
            revision: revision.clone(),
            ended: it.completed,
            failed: it.failed,
            latency: it.latency.clone(),
        })
    };
    Counted {
        source: snapshot.worker.to_string().into(),
        start: snapshot.start.as_str().into(),
        up: Duration::from_millis(snapshot.uptime_ms),
        bounds: Arc::from(bounds),
        series: snapshot.series.iter().filter(own).map(series).collect(),
        replicas: snapshot.endpoints.iter().filter_map(replica).collect(),
    }
}

fn series(it: &SeriesSnapshot) -> Series {
    Series {
        entry: Name::from(it.listener.as_str()),
        arm: arm_of(&it.revision),
        routed: it.routed,
        begun: it.requests,
        ended: it.completed,
        failed: it.errors.total(),
        latency: it.latency.clone(),
        answers: answers(it),
    }
}

/// What the answers meant.
fn answers(it: &SeriesSnapshot) -> Answers {
    let Outcomes { success, redirect, not_found, client_error, server_error, unanswered } = it.outcomes;
    Answers { success, redirect, not_found, client_error, server_error, unanswered }
}

#[cfg(test)]
mod tests {
    use super::{
        super::proxy::{Errors, Outcomes, Routed, SeriesSnapshot},
        *,
    };

    #[test]
    fn every_count_finds_its_place_and_unlisted_addresses_are_no_replicas() {
        let series = SeriesSnapshot {
            listener: "shop/0".into(),
            revision: "v2".into(),
            routed: Routed::Weight,
            requests: 12,
            completed: 10,
            responses: [0, 7, 0, 0, 1],
            errors: Errors { status: 1, connect: 1, reset: 0, timeout: 0 },
            cancelled: 1,
            reconnects: 0,
            in_flight: 2,
            bytes_in: 0,
            bytes_out: 0,
            latency: vec![0; LATENCY_BOUNDS_US.len() + 1],
            latency_sum_us: 0,
            life: Vec::new(),
            life_sum_us: 0,
            outcomes: Outcomes { success: 7, server_error: 1, unanswered: 1, ..Outcomes::default() },
            grpc: Vec::new(),
        };
        let endpoint = |port: u16| EndpointSnapshot {
            address: ([127, 0, 0, 1], port).into(),
            in_flight: 0,
            completed: 10,
            failed: 2,
            latency: vec![0; LATENCY_BOUNDS_US.len() + 1],
            ejected: false,
            configured: true,
        };
        let snapshot = Snapshot {
            worker: 3,
            start: "a".into(),
            generation: Some(1),
            uptime_ms: 1500,
            listeners: BTreeMap::new(),
            series: vec![SeriesSnapshot { listener: "shopping/0".into(), ..series.clone() }, series],
            endpoints: vec![endpoint(1), endpoint(2)],
            troubles: BTreeMap::new(),
            arms: BTreeMap::new(),
        };
        let got = counted(&snapshot, "shop", &BTreeMap::from([(endpoint(2).address, "v2".into())]));
        assert_eq!((got.source, got.up), ("3".into(), Duration::from_millis(1500)));
        assert_eq!(got.series.len(), 1, "others' are left out");
        assert_eq!((got.series[0].begun, got.series[0].ended, got.series[0].failed), (12, 10, 2));
        let answers = Answers { success: 7, server_error: 1, unanswered: 1, ..Answers::default() };
        assert_eq!(got.series[0].answers, answers);
        assert_eq!(got.bounds.len() + 1, got.series[0].latency.len());
        let replica = ReplicaCounts {
            replica: "127.0.0.1:2".into(),
            revision: "v2".into(),
            ended: 10,
            failed: 2,
            latency: got.series[0].latency.clone(),
        };
        assert_eq!(got.replicas, [replica]);
    }
}
