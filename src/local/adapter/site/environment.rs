//! What a rollout at work asks of this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use analysis::judge::Baseline;
use jiff::{SignedDuration, Timestamp};
use strategies::{Arm, Revision, Role};
use tokio::sync::broadcast;

use super::{Replica, Site};
use crate::{
    analyses::{Counted, FreshNow, PodHealth, Usage},
    api::view::{AddressView, ReplicaView, Trouble},
    clock,
    local::{
        adapter::fleet::is_of, counted::counted, proxy::BadStreakSeen, supervisor::protocol::ProcessState,
        usage,
    },
    port::Unavailable,
    rollout::{ArmNow, Depth, Environment, Failed, News, Pace, Trial},
    written::Fact,
};

/// How often the workers and the processes are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is read what processes use while a canary is on trial.
const USAGE_EVERY: Duration = Duration::from_secs(5);
/// How long a replica that runs may take to get ready before that is worth a word.
const STARTS_WITHIN: SignedDuration = SignedDuration::from_secs(2);
/// What to do about a file that a process looks for in its own copy.
const NOT_COPIED: &str = "; it looks beside its copy: only the program and what `files:` lists is copied";

impl Site {
    /// Where users reach it.
    pub fn reached_at(&mut self, addresses: Vec<AddressView>) {
        self.addresses = addresses;
    }

    /// What the processes use; nothing where it was read just now.
    async fn usage(&mut self, replicas: &BTreeMap<Arm, Vec<Replica>>) -> BTreeMap<u32, Usage> {
        let now = clock::now();
        if self.used.is_some_and(|at| now < at + USAGE_EVERY) {
            return BTreeMap::new();
        }
        self.used = Some(now);
        let leaders: BTreeSet<u32> =
            replicas.values().flatten().filter_map(|it| it.process.as_ref()?.pid).collect();
        // Files of the kernel, but many of them. If it fails nobody knows what they use.
        tokio::task::spawn_blocking(move || usage::of_groups(&leaders)).await.unwrap_or_default()
    }
}

impl Environment for Site {
    async fn counted(&mut self) -> Vec<Counted> {
        let snapshots = self.machine.fleet.counts().await;
        let replicas = self.replicas();
        let listening =
            replicas.iter().flat_map(|(arm, all)| all.iter().map(|it| (it.address, arm.revision.clone())));
        let revisions: BTreeMap<SocketAddr, Revision> =
            listening.filter_map(|(address, revision)| Some((address?, revision))).collect();
        snapshots.iter().map(|it| counted(it, &self.name, &revisions)).collect()
    }

    async fn pods(&mut self, depth: Depth) -> Option<Vec<PodHealth>> {
        let replicas = self.replicas();
        let usage = match depth {
            Depth::Usage => self.usage(&replicas).await,
            Depth::Health => BTreeMap::new(),
        };
        let known = replicas.values().flatten().all(|it| it.known);
        let pods = replicas.iter().flat_map(|(arm, all)| all.iter().map(|it| pod(arm, it, &usage)));
        known.then(|| pods.collect())
    }

    /// Their replicas are known by address, as a scraper on this machine calls them.
    fn facts(&self, revision: &Revision, of: Baseline) -> BTreeMap<Fact, String> {
        let belongs = |arm: &Arm| match of {
            Baseline::Stable => arm.revision == *revision,
            Baseline::Fresh => *arm == Arm::baseline(revision.clone()),
        };
        let replicas = self.replicas();
        let own = replicas.iter().filter(|(arm, _)| belongs(arm));
        let addresses = own.flat_map(|(_, all)| all).filter_map(|it| Some(it.address?.to_string()));
        let addresses: Vec<String> = addresses.collect();
        let mut facts = BTreeMap::new();
        // The hash is that of all of stable's replicas: it does not tell the fresh ones.
        if of == Baseline::Stable {
            facts.insert(Fact::Hash, revision.to_string());
        }
        if !addresses.is_empty() {
            facts.insert(Fact::Pods, addresses.join("|"));
        }
        facts
    }

    fn arms(&self) -> Vec<ArmNow> {
        let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let one = |(arm, replicas): (Arm, Vec<Replica>)| ArmNow {
            arm,
            desired: count(replicas.len()),
            ready: replicas
                .iter()
                .all(|it| it.known)
                .then(|| count(replicas.iter().filter(|it| it.ready).count())),
            replicas: replicas.into_iter().map(replica).collect(),
        };
        self.replicas().into_iter().map(one).collect()
    }

    fn fresh(&self) -> Option<FreshNow> {
        self.fresh_now()
    }

    fn trial(&self, arm: &Arm) -> Trial {
        let replicas = self.replicas_of(arm);
        if replicas.is_empty() {
            return Trial::Absent;
        }
        let Some(mut failed) = replicas.iter().find_map(|it| failed(it, clock::now())) else {
            return Trial::Well { ready: replicas.iter().all(|it| it.ready) };
        };
        let copy = format!("/revisions/{}/{}/", self.name, arm.revision);
        if failed.because.contains(&copy) || failed.said.iter().any(|it| it.contains(&copy)) {
            failed.because.push_str(NOT_COPIED);
        }
        Trial::Fails(failed)
    }

    fn addresses(&self) -> Vec<AddressView> {
        self.addresses.clone()
    }

    fn troubles(&self) -> Vec<Trouble> {
        let own = self.troubles.values().cloned();
        let sockets = self.machine.fleet.troubles(&self.name).into_iter();
        own.chain(sockets).map(|(text, since)| Trouble { text, since }).collect()
    }

    fn pace(&self) -> Pace {
        Pace { counts: Some(EVERY), pods: EVERY }
    }

    fn look_again(&self) -> Option<Duration> {
        self.look_again
    }

    /// A replica has become ready or has ceased to be, a host has been found or not, a worker has followed or not, or a
    /// revision fails.
    async fn changed(&mut self) -> News {
        tokio::select! {
            biased;
            news = streak(&mut self.streaks, &self.name) => news,
            Ok(()) = self.news.changed() => News::Changed,
            () = self.prober.changed() => News::Changed,
            () = self.hosts.changed() => News::Changed,
        }
    }

    /// Its route first, then its processes.
    async fn dissolve(&mut self) -> Result<bool, Unavailable> {
        self.objects.clear();
        self.gone = true;
        self.machine.fleet.forget(&self.name).await?;
        self.look().await?;
        self.retire().await;
        let left = self.seen.as_ref().is_some_and(|it| self.own(it).next().is_some());
        Ok(!left)
    }
}

/// A revision of this rollout fails. Whoever was too slow to hear of all takes it that one of its own did not.
async fn streak(streaks: &mut broadcast::Receiver<Arc<BadStreakSeen>>, rollout: &str) -> News {
    loop {
        match streaks.recv().await {
            Ok(seen) if is_of(&seen.listener, rollout) => return News::Fails,
            Ok(_) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => return News::Changed,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn pod(arm: &Arm, it: &Replica, usage: &BTreeMap<u32, Usage>) -> PodHealth {
    let process = it.process.as_ref();
    let pid = process.and_then(|it| it.pid);
    let state = process.map(|it| it.state);
    PodHealth {
        revision: arm.revision.clone(),
        pod: match &arm.role {
            Role::Main => it.ordinal.to_string().into(),
            Role::Baseline => format!("baseline/{}", it.ordinal).into(),
            Role::Trial(name) => format!("{name}/{}", it.ordinal).into(),
        },
        ready: it.ready,
        leaving: state == Some(ProcessState::Stopping),
        restarts: process.map_or(0, |it| it.restarts),
        oom_kills: 0,
        crash_looping: state == Some(ProcessState::BackingOff) && process.is_some_and(|it| it.restarts >= 2),
        usage: pid.and_then(|it| usage.get(&it)).copied(),
    }
}

fn replica(it: Replica) -> ReplicaView {
    let state = match it.process.as_ref().map(|it| it.state) {
        None if it.runs => "running",
        None => "missing",
        Some(ProcessState::Starting) => "starting",
        Some(ProcessState::Running) => "running",
        Some(ProcessState::BackingOff) => "backing off",
        Some(ProcessState::Stopping) => "stopping",
        Some(ProcessState::Exited) => "exited",
    };
    ReplicaView {
        ordinal: it.ordinal,
        address: it.address,
        ready: it.ready,
        state: state.to_owned(),
        pid: it.process.as_ref().and_then(|it| it.pid),
        restarts: it.process.as_ref().map_or(0, |it| it.restarts),
        because: it.because.filter(|_| !it.ready),
        log: it.process.map(|it| it.log),
    }
}

fn failed(replica: &Replica, now: Timestamp) -> Option<Failed> {
    let process = replica.process.as_ref();
    let because = replica.because.clone().filter(|_| !replica.ready)?;
    let (because, at, ended) = match process.map(|it| it.state) {
        Some(ProcessState::BackingOff | ProcessState::Exited) => {
            let at = process.and_then(|it| it.last_exit.as_ref()).map_or(now, |it| it.at);
            (because, at, true)
        }
        // Between two runs: what the one before ended of is the news.
        Some(ProcessState::Starting | ProcessState::Running) if 0 < process.map_or(0, |it| it.restarts) => {
            let last = process.and_then(|it| it.last_exit.as_ref())?;
            (last.in_words(), last.at, true)
        }
        Some(ProcessState::Starting | ProcessState::Running) => {
            let since = process.map_or(now, |it| it.since);
            if now < since + STARTS_WITHIN {
                return None;
            }
            (because, since, false)
        }
        Some(ProcessState::Stopping) => return None,
        None => (because, now, false),
    };
    let last = process.and_then(|it| it.last_exit.as_ref()).filter(|_| ended);
    Some(Failed {
        because,
        at,
        ended,
        said: last.map(|it| it.said.clone()).unwrap_or_default(),
        log: process.map(|it| it.log.clone()),
    })
}
