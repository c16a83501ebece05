use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use strategies::{Arm, Role, Status};

use super::{DRAIN, Site};
use crate::{
    clock, failpoint,
    local::{
        adapter::{
            launch::process_id,
            lower::{Endpoints, RouteWish},
            release::Runs,
        },
        supervisor::protocol::{ProcessId, ProcessSeen, ProcessState},
    },
    port::Unavailable,
};

/// How often a replica that is to go is looked at.
const GOING_EVERY: Duration = Duration::from_millis(50);

impl Site {
    /// Tells supervisor and proxy whatever they do not do yet. What fails is shown and tried at the next look.
    pub(super) async fn carry_out(&mut self) {
        self.look_again = None;
        self.start().await;
        let told = self.tell_endpoints().await;
        self.trouble("endpoints", told.err().map(|error| error.to_string()));
        self.retire().await;
    }

    /// Starts what is asked for and not there.
    async fn start(&mut self) {
        let missing: Vec<(Arm, u32)> = self.arms().into_iter().flat_map(|arm| self.missing(&arm)).collect();
        let (rollout, epoch) = (self.name.clone(), self.epoch().0);
        let mut trouble = None;
        for (arm, ordinal) in missing {
            let Some(release) = self.releases.get(&arm.revision) else { continue };
            let Runs::Process { spec, .. } = &release.runs else { continue };
            let id = process_id(&rollout, &arm, ordinal);
            failpoint::reached("site: before a process is started");
            match self.machine.supervisor.ensure_process(id.clone(), epoch, (**spec).clone()).await {
                Ok(seen) => self.remember(seen),
                Err(error) => trouble = Some(format!("{id} cannot be started: {error}")),
            }
            failpoint::reached("site: after a process is started");
        }
        if trouble.is_some() {
            self.look_again = Some(Duration::from_secs(1));
        }
        self.trouble("start", trouble);
    }

    fn missing(&self, arm: &Arm) -> Vec<(Arm, u32)> {
        if !self.runs_processes(arm) {
            return vec![];
        }
        // One that is stopping under the same name is asked for again: it starts anew when it has ended.
        let there = |it: &ProcessSeen| it.state != ProcessState::Stopping;
        let replicas = self.replicas_of(arm).into_iter();
        let missing = replicas.filter(|it| it.process.as_ref().is_none_or(|it| !there(it)));
        missing.map(|it| (arm.clone(), it.ordinal)).collect()
    }

    fn remember(&mut self, seen: ProcessSeen) {
        if let Some(known) = &mut self.seen {
            known.processes.retain(|it| it.process != seen.process);
            known.processes.push(seen);
        }
    }

    /// Tells the proxy everything about this route.
    pub(super) async fn serve(&mut self) -> Result<(), Unavailable> {
        if self.gone {
            return Ok(());
        }
        let split = self.route_intent().map(|(it, _)| (it.split.clone(), it.before.clone()));
        let (split, before) = split.map_or((None, None), |(split, before)| (Some(split), before));
        let wish = RouteWish {
            proxy: self.asked.proxy.clone(),
            split,
            arms: self.endpoints(),
            fallback: self.stable(),
            fresh: self.fresh_served(),
            sticky_key: self.sticky_key.clone(),
            attempt: self.status.as_ref().map_or(0, |it| it.attempt.into()),
        };
        failpoint::reached("site: before a split is served");
        self.machine.fleet.serve(&self.name, wish, before.as_ref()).await?;
        failpoint::reached("site: after a split is served");
        Ok(())
    }

    async fn tell_endpoints(&mut self) -> Result<(), Unavailable> {
        self.serve().await
    }

    fn stable(&self) -> Option<Arm> {
        self.status.as_ref().and_then(|it: &Status| it.stable.clone()).map(Arm::main)
    }

    fn endpoints(&self) -> BTreeMap<Arm, Endpoints> {
        let of = |arm: &Arm| {
            let replicas = self.replicas_of(arm);
            let ready = replicas.iter().filter(|it| it.ready);
            let mut addresses: Vec<SocketAddr> = ready.filter_map(|it| it.address).collect();
            if addresses.is_empty() && arm.role != Role::Baseline {
                addresses = replicas.iter().filter(|it| it.runs).filter_map(|it| it.address).collect();
            }
            Endpoints { addresses }
        };
        self.arms().into_iter().map(|arm| (arm.clone(), of(&arm))).collect()
    }

    /// Ends what nobody asks for any more, once nothing is in flight on it.
    pub(super) async fn retire(&mut self) {
        let asked: BTreeSet<ProcessId> = self
            .arms()
            .iter()
            .flat_map(|arm| {
                self.replicas_of(arm).into_iter().map(|it| process_id(&self.name, arm, it.ordinal))
            })
            .collect();
        let Some(seen) = &self.seen else { return };
        let surplus =
            self.own(seen).filter(|it| !asked.contains(&it.process) && it.state != ProcessState::Stopping);
        let surplus: Vec<ProcessSeen> = surplus.cloned().collect();
        self.going.retain(|id, _| surplus.iter().any(|it| it.process == *id));
        if surplus.is_empty() {
            return;
        }
        self.look_again = Some(GOING_EVERY);
        let now = clock::now();
        for it in &surplus {
            self.going.entry(it.process.clone()).or_insert(now);
        }
        let busy = self.busy().await;
        let epoch = self.epoch().0;
        let mut trouble = None;
        for it in surplus {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, it.port));
            let since = self.going.get(&it.process).copied().unwrap_or(now);
            let overdue = since.checked_add(DRAIN).is_ok_and(|end| end <= now);
            if !overdue && busy.as_ref().is_none_or(|it| it.contains(&address)) {
                continue;
            }
            failpoint::reached("site: before a process is stopped");
            let stopped = self.machine.supervisor.stop_process(it.process.clone(), epoch, None, None).await;
            failpoint::reached("site: after a process is stopped");
            match stopped {
                Ok(()) => drop(self.going.remove(&it.process)),
                Err(error) => trouble = Some(format!("{} cannot be stopped: {error}", it.process)),
            }
        }
        self.trouble("stop", trouble);
    }

    /// Where requests are in flight; `None`: nobody can say yet.
    async fn busy(&self) -> Option<BTreeSet<SocketAddr>> {
        if !self.machine.fleet.is_up_to_date(&self.name) {
            return None;
        }
        let workers = self.machine.fleet.known().1.len();
        let counts = self.machine.fleet.counts().await;
        if counts.len() < workers {
            return None;
        }
        let endpoints = counts.iter().flat_map(|it| &it.endpoints);
        Some(endpoints.filter(|it| it.in_flight > 0 || it.configured).map(|it| it.address).collect())
    }
}
