//! Parts of a machine killed under load, and what users met: the tests do it some times, `benches/kills.rs` often.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;
use serinus::{
    api::view::{DocumentChange, PhaseName},
    clock,
    local::{
        load::{LoadReport, Outcome, Record},
        supervisor::protocol::WorkerState,
    },
};
use strategies::End;

use crate::{
    journal::{self, Checked},
    rig::{Load, Rig, document, eventually, good, kill, signal},
    sockets,
    supervisor::Ended,
};

/// Steps that end by time, so that kills hit every phase.
pub(crate) const STEPS: &str = "[ { name: a, weight: 10%, pause: { for: 300ms } }, \
     { name: b, weight: 30%, pause: { for: 300ms } }, { name: c, weight: 60%, pause: { for: 300ms } } ]";

/// Workers of the document.
const WORKERS: usize = 2;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Killing {
    /// Kills, or upgrades.
    pub(crate) times: u32,
    /// Requests per second, open loop.
    pub(crate) rate: f64,
    /// A good answer later than this has failed.
    pub(crate) late_after: Duration,
    /// Decides when.
    pub(crate) seed: u64,
}

/// What came of it.
pub(crate) struct Figures {
    /// What users met.
    pub(crate) report: LoadReport,
    /// Requests that may have failed: connections open on what was killed, at the kill.
    pub(crate) may_fail: u64,
    /// Rollouts that were under way meanwhile, all of them promoted.
    pub(crate) rollouts: u32,
    /// The journal.
    pub(crate) checked: Checked,
    /// From a kill until somebody could be served again, where nobody could.
    pub(crate) outages: Vec<Duration>,
}

/// A machine under load on which one rollout follows the other.
struct Busy {
    rig: Rig,
    load: Load,
    random: ChaCha8Rng,
    /// Where users come: a port of its own, so that a supervisor started again finds it in the document.
    address: SocketAddr,
    version: u32,
}

impl Busy {
    async fn start(asked: &Killing, ended: Ended) -> Self {
        let rig = Rig::start_under(&[], ended).await;
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        rig.apply(&version(0, address), DocumentChange::Created).await;
        rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
        let load = rig.load_until(address, asked.rate, asked.late_after);
        let random = ChaCha8Rng::seed_from_u64(asked.seed);
        Self { rig, load, random, address, version: 0 }
    }

    /// Waits for some time below `most`, having begun another rollout if the last one is through.
    async fn go_on(&mut self, most: Duration) {
        let view = self.rig.view().await;
        if view.phase == PhaseName::Idle {
            self.version += 1;
            let text = version(self.version, self.address);
            eventually("an application that is answered", async || self.rig.try_apply(&text).await.ok())
                .await;
        }
        let wait = self.random.random_range(Duration::ZERO..most);
        tokio::time::sleep(wait).await;
    }

    /// Waits for the last rollout to be through, and looks at everything.
    async fn end(self) -> (Figures, Vec<Record>) {
        let Self { rig, load, random: _, address: _, version } = self;
        let view = rig.until("rest", |it| it.phase == PhaseName::Idle && it.arms.len() == 1).await;
        assert_eq!(view.last.unwrap().end, End::Promoted);
        // Told after rest, so the newest version has answered something before the load ends.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (report, bad) = load.end_with_all().await;
        let history =
            eventually("a history", async || rig.client.history(&crate::rig::SHOP.into()).await.ok()).await;
        let others: Vec<_> = history.attempts.iter().filter(|it| it.end != End::Promoted).collect();
        assert!(others.is_empty(), "good versions were not promoted: {others:?}");
        let newest = report.versions.keys().max_by_key(|it| it[1..].parse::<u32>().unwrap()).unwrap();
        assert_eq!(newest, &format!("v{version}"), "the version applied last does not serve");
        let (store, _directory) = rig.end().await;
        let checked = journal::check(&store);
        let figures = Figures { report, may_fail: 0, rollouts: version, checked, outages: vec![] };
        (figures, bad)
    }
}

fn version(number: u32, address: SocketAddr) -> String {
    document(&good(&format!("v{number}")), STEPS, "").replace("127.0.0.1:0", &address.to_string())
}

/// The control process, at random moments: while it works, while it starts.
pub(crate) async fn control(asked: &Killing, mut killed: impl FnMut(u32)) -> Figures {
    let mut busy = Busy::start(asked, Ended::Stays).await;
    let mut pids = BTreeSet::new();
    for n in 1..=asked.times {
        busy.go_on(Duration::from_millis(1_200)).await;
        let pid = busy.rig.control().await;
        assert!(pids.insert(pid) || asked.times > 500, "{pid} was killed twice");
        kill(pid);
        killed(n);
    }
    // The one that was killed last takes a moment to come back.
    let client = &busy.rig.client;
    let restarts = eventually("health", async || client.health().await.ok()).await.control_restarts;
    assert!(restarts >= u64::from(asked.times), "{restarts} restarts");
    busy.end().await.0
}

/// One worker of several at a time. It is stopped first, so that what is open on it can be counted.
pub(crate) async fn worker(asked: &Killing, mut killed: impl FnMut(u32)) -> Figures {
    let mut busy = Busy::start(asked, Ended::Stays).await;
    let mut exposed: BTreeMap<u16, u64> = BTreeMap::new();
    for n in 1..=asked.times {
        busy.go_on(Duration::from_millis(500)).await;
        let pids = serving(&busy.rig).await;
        let pid = pids[busy.random.random_range(0..pids.len())];
        signal(pid, Signal::STOP);
        for port in sockets::clients_of(pid, busy.address) {
            *exposed.entry(port).or_default() += 1;
        }
        kill(pid);
        killed(n);
    }
    serving(&busy.rig).await;
    let (mut figures, bad) = busy.end().await;
    figures.may_fail = exposed.values().sum();
    assert!(figures.may_fail > 0, "nothing was open on any worker that was killed: nothing was tried");
    let failed = bad.iter().filter(|it| it.outcome.is_failed() && it.outcome != Outcome::Late);
    for record in failed {
        let port = record.port.unwrap_or_default();
        let left = exposed.get_mut(&port).filter(|left| **left > 0);
        *left.unwrap_or_else(|| panic!("it was not on a worker that was killed: {record:?}")) -= 1;
    }
    figures
}

/// Process ids of the workers, once all of them serve.
async fn serving(rig: &Rig) -> Vec<u32> {
    let supervised = rig.supervised().await;
    eventually("workers that serve", async || {
        let workers = supervised.observe().await.ok()?.workers;
        let ready = workers.iter().filter(|it| it.state == WorkerState::Ready);
        let pids: Vec<u32> = ready.filter_map(|it| it.pid).collect();
        (pids.len() == WORKERS && workers.len() == WORKERS).then_some(pids)
    })
    .await
}

/// Everything but the users' processes becomes the next version of the program, which is the same one here.
pub(crate) async fn upgrade(asked: &Killing, mut upgraded: impl FnMut(u32)) -> Figures {
    let mut busy = Busy::start(asked, Ended::Stays).await;
    for n in 1..=asked.times {
        busy.go_on(Duration::from_millis(800)).await;
        let before = serving(&busy.rig).await;
        let supervised = busy.rig.supervised().await;
        let generation = supervised.observe().await.unwrap().supervisor.generation;
        let seen = supervised.upgrade(None).await.unwrap();
        assert_eq!(seen.supervisor.generation, generation + 1);
        let after = serving(&busy.rig).await;
        assert!(before.iter().all(|pid| !after.contains(pid)), "a worker of the old program serves on");
        upgraded(n);
    }
    busy.end().await.0
}

/// The supervisor, and with it everything. Nobody can be served until it is started again; what was stored goes on.
pub(crate) async fn supervisor(asked: &Killing, mut killed: impl FnMut(u32)) -> Figures {
    let mut busy = Busy::start(asked, Ended::IsStartedAgain).await;
    let mut outages = vec![];
    for n in 1..=asked.times {
        busy.go_on(Duration::from_millis(1_500)).await;
        let begin = clock::instant();
        busy.rig.supervisor.kill();
        eventually("another supervisor", async || (busy.rig.supervisor.starts() > n).then_some(())).await;
        let address = busy.address;
        eventually("an answer of the application", async || sockets::ask(address).await).await;
        outages.push(begin.elapsed());
        killed(n);
    }
    let (mut figures, _) = busy.end().await;
    figures.outages = outages;
    figures
}
