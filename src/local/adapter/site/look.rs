use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use strategies::{Acknowledged, Arm, ArmSeen, Fence, Ready, Role, RouteSeen, Seen, Wanted, World};

use super::{Site, is_process};
use crate::{
    clock,
    local::{
        adapter::{launch::process_id, release::Runs},
        readiness::Run,
        supervisor::protocol::{Observation, ProcessSeen, ProcessState},
    },
    port::Unavailable,
    workload::Readiness,
};

/// What the troubles of hosts begin with.
const HOST: &str = "host ";

/// One replica as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// Its number within its arm.
    pub ordinal: u32,
    /// Where it listens; `None`: nobody knows yet.
    pub address: Option<SocketAddr>,
    /// Whether it can serve.
    pub ready: bool,
    /// Whether that is known: what ran before this process began has to answer first.
    pub known: bool,
    /// Whether it runs at all.
    pub runs: bool,
    /// Why it is not ready.
    pub because: Option<String>,
    /// What the supervisor says of it; `None`: it is no process of ours, or not there.
    pub process: Option<ProcessSeen>,
}

impl Site {
    /// Looks at everything once.
    pub(super) async fn look(&mut self) -> Result<(), Unavailable> {
        let seen = self.machine.supervisor.observe().await;
        let seen = seen.map_err(|error| Unavailable::new("the supervisor cannot be asked", &error))?;
        self.seen = Some(seen);
        self.hosts.want(self.asked.upstreams.values().flatten().cloned(), clock::now());
        self.name_unknown_hosts();
        let runs = self.arms().into_iter().flat_map(|arm| self.runs(&arm)).collect();
        self.prober.ask(runs);
        Ok(())
    }

    /// A host that is not found is a trouble as long as the document names it.
    fn name_unknown_hosts(&mut self) {
        let unknown: BTreeMap<String, String> = self
            .hosts
            .unknown()
            .map(|it| (format!("{HOST}{it}"), format!("the host of {it} is not known: is its name right?")))
            .collect();
        self.troubles.retain(|what, _| !what.starts_with(HOST) || unknown.contains_key(what));
        for (what, text) in unknown {
            self.trouble(&what, Some(text));
        }
    }

    /// The processes of this rollout that the supervisor keeps.
    pub(super) fn own<'a>(&'a self, seen: &'a Observation) -> impl Iterator<Item = &'a ProcessSeen> {
        seen.processes.iter().filter(|it| it.process.rollout == self.name)
    }

    /// What is to be asked whether it is ready.
    fn runs(&self, arm: &Arm) -> Vec<(Run, Readiness)> {
        let replicas = self.replicas_of(arm);
        let readiness = self.releases.get(&arm.revision).map(|it| match &it.runs {
            Runs::Process { readiness, .. } => readiness.clone(),
            Runs::Upstream { .. } => Readiness::default(),
        });
        let Some(readiness) = readiness else { return vec![] };
        let run = |it: &Replica| Some((run_of(arm, it)?, readiness.clone()));
        replicas.iter().filter(|it| it.runs).filter_map(run).collect()
    }

    /// The replicas of one arm, those included that are to go and have not gone.
    pub fn replicas_of(&self, arm: &Arm) -> Vec<Replica> {
        match self.asked.upstreams.get(&arm.revision) {
            Some(addresses) => {
                let addresses = addresses.iter().enumerate();
                addresses.map(|(ordinal, it)| self.upstream(arm, ordinal, self.hosts.address(it))).collect()
            }
            None => {
                let ordinals = match arm.role {
                    Role::Baseline => self.fresh().map(|it| it.ordinals()).unwrap_or_default(),
                    Role::Main | Role::Trial(_) => {
                        self.arm_intent(arm).map(|(it, _)| it.ordinals.clone()).unwrap_or_default()
                    }
                };
                ordinals.into_iter().map(|ordinal| self.process(arm, ordinal)).collect()
            }
        }
    }

    fn upstream(&self, arm: &Arm, ordinal: usize, address: Option<SocketAddr>) -> Replica {
        let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
        let replica = Replica {
            ordinal,
            address,
            ready: false,
            known: true,
            runs: address.is_some(),
            because: None,
            process: None,
        };
        self.asked_whether_ready(arm, replica)
    }

    fn process(&self, arm: &Arm, ordinal: u32) -> Replica {
        let id = process_id(&self.name, arm, ordinal);
        let seen = self.seen.as_ref().and_then(|it| self.own(it).find(|it| it.process == id)).cloned();
        let runs = seen.as_ref().is_some_and(|it| it.state == ProcessState::Running);
        let address = seen.as_ref().map(|it| SocketAddr::from((Ipv4Addr::LOCALHOST, it.port)));
        let because =
            seen.as_ref().filter(|_| !runs).and_then(|it| it.last_exit.as_ref()).map(|it| it.in_words());
        self.asked_whether_ready(
            arm,
            Replica { ordinal, address, ready: false, known: true, runs, because, process: seen },
        )
    }

    fn asked_whether_ready(&self, arm: &Arm, replica: Replica) -> Replica {
        let Some(run) = run_of(arm, &replica).filter(|_| replica.runs) else { return replica };
        let answer = self.prober.answer(&run);
        Replica {
            ready: answer.ready == Some(true),
            known: answer.ready.is_some(),
            because: answer.because.or(replica.because),
            ..replica
        }
    }

    /// The world as the engine sees it.
    pub(super) fn world(&self) -> World {
        let wanted =
            Wanted { revision: self.asked.revision.clone(), replicas: self.asked.replicas, scaler: None };
        let arms = self.machines_arms().into_iter().map(|arm| {
            let seen = Seen::Is(self.arm_seen(&arm));
            (arm, seen)
        });
        let route = match self.route_intent() {
            None => Seen::Absent,
            Some((intent, fence)) => Seen::Is(RouteSeen {
                asked: intent.split.clone(),
                epoch: intent.epoch,
                acknowledged: self.acknowledged(),
                manager: None,
                fence: Fence::At(fence),
            }),
        };
        World {
            leaving: self.asked.leaving,
            wanted: Seen::Is(wanted),
            arms: arms.collect(),
            routes: [(self.asked.route.clone(), route)].into(),
            owner: Seen::Absent,
            ran: BTreeMap::new(),
        }
    }

    fn acknowledged(&self) -> Option<Acknowledged> {
        self.machine.fleet.acknowledged(&self.name)
    }

    fn arm_seen(&self, arm: &Arm) -> ArmSeen {
        let replicas = self.replicas_of(arm);
        let ready = u32::try_from(replicas.iter().filter(|it| it.ready).count()).unwrap_or(u32::MAX);
        let intent = self.arm_intent(arm);
        ArmSeen {
            desired: u32::try_from(replicas.len()).unwrap_or(u32::MAX),
            ready: replicas.iter().all(|it| it.known).then_some(Ready::Replicas(ready)),
            epoch: intent.map(|(it, _)| it.epoch),
            fence: Fence::At(intent.map_or(0, |(_, fence)| fence)),
        }
    }

    /// Whether this revision is run by us.
    pub(super) fn runs_processes(&self, arm: &Arm) -> bool {
        self.releases.get(&arm.revision).is_some_and(is_process)
    }
}

/// What is asked whether a replica is ready; `None`: nobody knows where it listens.
fn run_of(arm: &Arm, replica: &Replica) -> Option<Run> {
    let pid = replica.process.as_ref().and_then(|it| it.pid).unwrap_or(0);
    Some(Run { replica: format!("{arm}/{}", replica.ordinal), pid, address: replica.address? })
}
