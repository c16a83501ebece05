//! What Prometheus reads: the proxy's counts and the state of the engine.

use std::sync::Arc;

use super::Service;
use crate::{
    api::{Refusal, metrics, view::RolloutView},
    local::{control::roster::Entry, proxy::render_prometheus},
};

impl Service {
    pub(super) async fn render(&self) -> Result<String, Refusal> {
        let snapshots = self.roster.machine().fleet.counts().await;
        let proxy = render_prometheus(&snapshots).map_err(|error| Refusal::Unavailable(error.to_string()))?;
        // As each said last: nobody is woken for it.
        let last = |it: &Entry| it.told.view.borrow().clone();
        let rollouts: Vec<Arc<RolloutView>> = self.roster.all().iter().filter_map(last).collect();
        let good = self.roster.machine().store.trouble().is_none();
        let mut own = String::new();
        metrics::engine(&mut own, &rollouts, good)
            .map_err(|error| Refusal::Unavailable(error.to_string()))?;
        // One exposition has one end.
        let proxy = proxy.strip_suffix("# EOF\n").unwrap_or(&proxy);
        Ok(format!("{proxy}{own}# EOF\n"))
    }
}

/// Resident memory of this process, bytes.
pub(super) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
