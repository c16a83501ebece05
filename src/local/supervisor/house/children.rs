//! Starting children, hearing of them, ending them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::kept::{ChildId, Kept, SharedLog};
use super::{House, News};
use crate::clock;
use crate::failpoint;
use crate::local::process::child::{self, Exit, Spawned, Watch};
use crate::local::process::family::{self, Family};
use crate::local::process::lifecycle::{Act, Lifecycle, Stage};
use crate::local::process::log::Log;
use crate::local::process::shim::{Launch, own_pid};
use crate::local::process::{EnvVar, LogLimits, StopSignal, expand};
use crate::local::supervisor::logs;
use crate::local::supervisor::protocol::{Event, ProcessId};

/// Longest reason a shim gives.
const MAX_REASON: usize = 4 << 10;
/// First pause between two looks at what a program that has ended left behind; later ones are twice as long.
const LOOK_FIRST: Duration = Duration::from_millis(5);
/// Longest wait for the rest of the output of a process that has ended.
const DRAIN_OUTPUT: Duration = Duration::from_millis(300);
/// Longest pause.
const LOOK_MOST: Duration = Duration::from_millis(100);

impl House {
    pub(super) fn new_control(state: &Path) -> Kept {
        let log = SharedLog::new(Log::new(logs::control(state), LogLimits::default()));
        Kept::new(Lifecycle::new(super::own_restart(), clock::instant()), log, clock::now())
    }

    /// Does for every child what has become due.
    pub(super) fn settle_children(&mut self, now: Instant) {
        let processes = self.processes.keys().cloned().map(ChildId::Process);
        let workers = self.workers.keys().copied().map(ChildId::Worker);
        for child in processes.chain(workers).chain([ChildId::Control]).collect::<Vec<_>>() {
            let Some(kept) = self.kept(&child) else { continue };
            let act = kept.life.due(now);
            self.perform(&child, act, None);
        }
    }

    pub(super) fn kept(&mut self, child: &ChildId) -> Option<&mut Kept> {
        match child {
            ChildId::Process(id) => self.processes.get_mut(id).map(|p| &mut p.kept),
            ChildId::Worker(number) => self.workers.get_mut(number).map(|w| &mut w.kept),
            ChildId::Control => self.control.as_mut(),
        }
    }

    /// Does what a lifecycle asks for.
    pub(super) fn perform(&mut self, child: &ChildId, act: Act, signal: Option<StopSignal>) {
        match act {
            Act::Nothing => {}
            Act::Start => self.start(child),
            Act::Ask => self.send(child, signal.unwrap_or(StopSignal::Term)),
            Act::Kill => self.send(child, StopSignal::Kill),
        }
    }

    fn send(&mut self, child: &ChildId, signal: StopSignal) {
        let Some(pid) = self.kept(child).and_then(|kept| kept.pid) else { return };
        match self.family(child, pid) {
            // What a program started elsewhere is its own to end; what it has not ended is, when the time is up.
            Some(family) if signal == StopSignal::Kill => family.signal(signal.signal()),
            Some(_) | None => child::signal_group(pid, signal.signal()),
        }
    }

    /// Whoever the run `pid` of a user's process started; our own programs start nobody.
    pub(super) fn family(&self, child: &ChildId, pid: u32) -> Option<Family> {
        let ChildId::Process(id) = child else { return None };
        let port = self.processes.get(id)?.port;
        let own = known(id, port).into_iter().filter(|it| it.name.starts_with("SERINUS_"));
        let marks = own.map(|it| format!("{}={}", it.name, it.value)).collect();
        Some(Family { leader: pid, marks })
    }

    /// Reaps what our children left behind and has ended.
    pub(super) fn reap_orphans(&self) {
        let processes = self.processes.values().map(|it| &it.kept);
        let all = processes.chain(self.workers.values().map(|it| &it.kept)).chain(&self.control);
        let ours: BTreeSet<u32> = all.filter_map(|it| it.pid).collect();
        family::reap_orphans(|pid| ours.contains(&pid));
    }

    fn start(&mut self, child: &ChildId) {
        let Some(launch) = self.launch(child) else { return };
        let program = self.program(child);
        failpoint::reached("supervisor: before a child is started");
        let started = child::spawn((&program, &self.settings.shim), &launch).and_then(|spawned| {
            let handle = Watch::new(spawned.pid).inspect_err(|_| child::abandon(spawned.pid))?;
            Ok((spawned, handle))
        });
        failpoint::reached("supervisor: after a child is started");
        let (wall, now) = (clock::now(), clock::instant());
        match started {
            Ok((spawned, handle)) => self.adopt_run(child, spawned, handle),
            Err(error) => {
                tracing::warn!(?child, %error, "cannot start a child");
                if let Some(kept) = self.kept(child) {
                    kept.not_started = Some(format!("cannot start it: {error}"));
                    kept.exited(Exit::Unknown, wall, now);
                }
            }
        }
        self.tell_child(child);
    }

    fn adopt_run(&mut self, child: &ChildId, spawned: Spawned, handle: Watch) {
        let (news, family) = (self.news_to.clone(), self.family(child, spawned.pid));
        let Some(kept) = self.kept(child) else { return };
        kept.life.started(clock::instant());
        kept.since = clock::now();
        kept.pid = Some(spawned.pid);
        let Spawned { pid, report, output } = spawned;
        kept.read(OwnedFd::from(output));
        let drained = kept.drained.take();
        follow_run(child.clone(), (pid, report), handle, (family, drained), news);
    }

    /// The program that children are started from: the very file this supervisor runs, even if its path has been
    /// replaced since. During an upgrade new workers are started from the new one.
    fn program(&self, child: &ChildId) -> PathBuf {
        let upgrading = match child {
            ChildId::Worker(number) => self.upgrade.as_ref().and_then(|upgrade| upgrade.program_of(*number)),
            ChildId::Process(_) | ChildId::Control => None,
        };
        upgrading.unwrap_or_else(|| PathBuf::from(format!("/proc/{}/exe", own_pid())))
    }

    fn launch(&self, child: &ChildId) -> Option<Launch> {
        let own = |arguments: &[String], worker: Option<u64>| {
            let state = self.settings.state.to_string_lossy().into_owned();
            let mut parameters = BTreeMap::from([("state", state)]);
            parameters.extend(worker.map(|number| ("worker", number.to_string())));
            let program = self.program(child).to_string_lossy().into_owned();
            let arguments = arguments.iter().map(|a| expand(a, &parameters));
            let called = self.settings.executable.to_string_lossy().into_owned();
            Launch {
                parent: own_pid(),
                command: [program].into_iter().chain(arguments).collect(),
                called: Some(called),
                env: Vec::new(),
                directory: None,
                limits: BTreeMap::new(),
                open_files: None,
                own: true,
            }
        };
        match child {
            ChildId::Control => Some(own(&self.settings.control, None)),
            ChildId::Worker(number) => Some(own(&self.settings.worker, Some(*number))),
            ChildId::Process(id) => {
                let process = self.processes.get(id)?;
                let parameters = parameters(id, process.port);
                let text = |text: &String| expand(text, &parameters);
                let given =
                    process.spec.env.iter().map(|v| EnvVar { name: v.name.clone(), value: text(&v.value) });
                Some(Launch {
                    parent: own_pid(),
                    command: process.spec.command.iter().map(text).collect(),
                    called: None,
                    env: known(id, process.port).into_iter().chain(given).collect(),
                    directory: Some(process.spec.directory.clone()),
                    limits: process.spec.limits.clone(),
                    open_files: self.settings.open_files,
                    own: false,
                })
            }
        }
    }

    pub(super) fn hear(&mut self, news: News) {
        let (wall, now) = (clock::now(), clock::instant());
        let child = match news {
            News::TookOver { child, pid, result } => {
                let Some(kept) = self.kept(&child).filter(|kept| kept.pid == Some(pid)) else { return };
                match result {
                    Ok(()) => kept.life.took_over(),
                    Err(reason) => kept.not_started = Some(reason),
                }
                child
            }
            News::LeftOthers { child, pid, exit, count } => {
                let grace = match &child {
                    ChildId::Process(id) => self.processes.get(id).map(|it| it.spec.stop.clone()),
                    ChildId::Worker(_) | ChildId::Control => None,
                };
                let stop = grace.unwrap_or_default();
                let Some(kept) = self.kept(&child).filter(|kept| kept.pid == Some(pid)) else { return };
                kept.left_others(exit, count, wall);
                let act = kept.life.left_others(stop.grace(), now);
                self.perform(&child, act, Some(stop.signal));
                child
            }
            News::Exited { child, pid, exit } => {
                let Some(kept) = self.kept(&child).filter(|kept| kept.pid == Some(pid)) else { return };
                let asked = matches!(kept.life.stage, Stage::Stopping { .. });
                kept.exited(exit, wall, now);
                match &child {
                    ChildId::Worker(number) => {
                        match asked {
                            true => {
                                tracing::info!(worker = number, %exit, "a worker ended, as it was asked to")
                            }
                            false => tracing::warn!(worker = number, %exit, "a worker ended"),
                        }
                        if let Some(worker) = self.workers.get_mut(number) {
                            (worker.ready, worker.connection) = (false, None);
                        }
                    }
                    ChildId::Control if asked => {
                        tracing::info!(%exit, "the control process ended, as it was asked to");
                    }
                    ChildId::Control => tracing::warn!(%exit, "the control process ended"),
                    ChildId::Process(id) => tracing::info!(process = %id, %exit, "a process ended"),
                }
                child
            }
        };
        self.tell_child(&child);
    }

    fn tell_child(&mut self, child: &ChildId) {
        match child {
            ChildId::Process(id) => self.tell_process(id),
            ChildId::Worker(number) => self.tell_worker(*number),
            ChildId::Control => {}
        }
    }

    /// Forgets what was to end and has, and starts again what is wanted again.
    pub(super) fn forget_ended(&mut self) {
        let ended = |p: &super::Process| p.kept.ended() && (p.leaving || p.then.is_some());
        let processes: Vec<ProcessId> =
            self.processes.iter().filter(|(_, p)| ended(p)).map(|(id, _)| id.clone()).collect();
        for id in processes {
            let Some(process) = self.processes.get_mut(&id) else { continue };
            if let Some(spec) = process.then.take() {
                process.kept.life.again(spec.restart.clone(), clock::instant());
                process.spec = spec;
                process.leaving = false;
                let act = process.kept.life.due(clock::instant());
                self.perform(&ChildId::Process(id), act, None);
            } else {
                self.processes.remove(&id);
                self.ports.release(&id);
                self.tell(Event::ProcessGone(id));
            }
        }
        let gone = |w: &super::Worker| w.draining && w.kept.ended();
        let workers: Vec<u64> = self.workers.iter().filter(|(_, w)| gone(w)).map(|(n, _)| *n).collect();
        for number in workers {
            self.workers.remove(&number);
            let _ = std::fs::remove_file(self.control_socket(number));
            self.tell(Event::WorkerGone(number));
        }
    }
}

impl Kept {
    /// Reads a child's output into its log until the last holder of the other end is gone.
    pub(super) fn read(&mut self, output: OwnedFd) {
        if let Some(reading) = self.reading.take() {
            reading.abort();
        }
        // Without a copy an upgrade cannot pass it on; read it is all the same.
        self.output = output.as_fd().try_clone_to_owned().ok();
        let (tell, drained) = oneshot::channel();
        let log = self.log.clone();
        match pipe::Receiver::from_owned_fd(output) {
            Ok(reader) => {
                self.drained = Some(drained);
                self.reading = Some(tokio::spawn(async move {
                    read_output(reader, log).await;
                    // Nobody waits for it any more: fine.
                    let _ = tell.send(());
                }));
            }
            Err(error) => tracing::warn!(%error, "the output of a child cannot be read"),
        }
    }
}

async fn read_output(mut reader: pipe::Receiver, log: SharedLog) {
    let mut chunk = vec![0; 16 << 10];
    loop {
        match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(read) => log.take(&chunk[..read]),
        }
    }
}

/// Reports that the program took over, or why it could not, and then its end.
fn follow_run(
    child: ChildId,
    (pid, report): (u32, std::os::unix::net::UnixStream),
    handle: Watch,
    of_user: OfUser,
    news: mpsc::Sender<News>,
) {
    tokio::spawn(async move {
        let result = read_report(report).await.unwrap_or_else(|error| Err(error.to_string()));
        let _ = news.send(News::TookOver { child: child.clone(), pid, result }).await;
        follow_end(child, pid, handle, of_user, news).await;
    });
}

/// What a process of a user has besides: whom it started, and output that is read to its end.
pub(super) type OfUser = (Option<Family>, Option<oneshot::Receiver<()>>);

/// Reports the end of a child; of a user's process only when all that it started has ended too.
pub(super) async fn follow_end(
    child: ChildId,
    pid: u32,
    handle: Watch,
    (family, drained): OfUser,
    news: mpsc::Sender<News>,
) {
    let exit = handle.ended().await;
    if let Some(family) = family {
        let (mut told, mut outsiders_asked, mut pause) = (false, false, LOOK_FIRST);
        loop {
            let left = family.members();
            if left.is_empty() {
                break;
            }
            if !told {
                told = true;
                let _ =
                    news.send(News::LeftOthers { child: child.clone(), pid, exit, count: left.len() }).await;
            }
            // Sessions of their own may still be needed by the group; nobody else ends them.
            if !outsiders_asked && left.iter().all(|it| !it.in_group) {
                outsiders_asked = true;
                left.iter().for_each(|it| it.signal(rustix::process::Signal::TERM));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_MOST);
        }
    }
    handle.reap();
    if let Some(drained) = drained {
        // Its last words are what people look for. A stranger may hold the other end: it is not waited for long.
        let _ = tokio::time::timeout(DRAIN_OUTPUT, drained).await;
    }
    let _ = news.send(News::Exited { child, pid, exit }).await;
}

async fn read_report(report: std::os::unix::net::UnixStream) -> io::Result<Result<(), String>> {
    let mut reason = Vec::new();
    UnixStream::from_std(report)?.take(MAX_REASON as u64).read_to_end(&mut reason).await?;
    Ok(if reason.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&reason).into_owned()) })
}

/// Variables that every process of a user gets.
fn known(id: &ProcessId, port: u16) -> Vec<EnvVar> {
    let parameters = parameters(id, port);
    let known = [
        ("PORT", "port"),
        ("SERINUS_ROLLOUT", "rollout"),
        ("SERINUS_REVISION", "revision"),
        ("SERINUS_ROLE", "role"),
        ("SERINUS_ORDINAL", "ordinal"),
    ];
    let one = |(name, parameter): &(&str, &str)| EnvVar {
        name: (*name).to_owned(),
        value: parameters.get(parameter).cloned().unwrap_or_default(),
    };
    known.iter().map(one).collect()
}

fn parameters(id: &ProcessId, port: u16) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("port", port.to_string()),
        ("rollout", id.rollout.clone()),
        ("revision", id.revision.clone()),
        ("role", id.role.clone()),
        ("ordinal", id.ordinal.to_string()),
    ])
}
