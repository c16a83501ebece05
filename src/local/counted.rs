//! What the proxy workers counted, in the words of the analyses.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use strategies::{Name, Revision};

use super::proxy::{LATENCY_BOUNDS_US, Routed as RoutedBy, SeriesSnapshot, Snapshot};
use crate::analyses::{Counted, Routed, Series};

/// One worker's counts. `revisions`: what the process behind each address runs; addresses that are not listed tell
/// nothing about replicas.
#[must_use]
pub fn counted(snapshot: &Snapshot, revisions: &BTreeMap<SocketAddr, Revision>) -> Counted {
    let bounds: Vec<f64> = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).collect();
    let _ = revisions;
    Counted {
        source: snapshot.worker.to_string().into(),
        start: snapshot.start.as_str().into(),
        up: Duration::from_millis(snapshot.uptime_ms),
        bounds: Arc::from(bounds),
        series: snapshot.series.iter().map(series).collect(),
        replicas: vec![],
    }
}

fn series(it: &SeriesSnapshot) -> Series {
    Series {
        entry: Name::from(it.listener.as_str()),
        revision: Revision::from(it.revision.as_str()),
        routed: match it.routed {
            RoutedBy::Weight => Routed::Weight,
            RoutedBy::Match => Routed::Match,
            RoutedBy::Sticky => Routed::Sticky,
            RoutedBy::Mirror => Routed::Mirror,
            RoutedBy::Retry => Routed::Retry,
        },
        begun: it.requests,
        ended: it.completed,
        failed: it.errors.total(),
        latency: it.latency.clone(),
    }
}
