//! The claims.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;
use serinus::local::supervisor::protocol::{ProcessState, Refusal};
use serinus::local::supervisor::{Client, ClientError};

use crate::rig::{Rig, ask, ask_process, command, eventually, is_dead, process, server, signal, spec};

macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn all() -> Vec<Trial> {
            vec![$(Trial::test(stringify!($name), || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on($name());
                Ok(())
            })),*]
        }
    };
}

trials![
    a_repeated_command_changes_nothing,
    a_crashed_process_comes_back_on_its_port,
    a_command_of_an_earlier_epoch_is_refused,
    a_stopped_process_gives_its_port_back_and_is_reported_gone,
    a_process_that_ignores_the_signal_is_killed_with_its_group,
    what_a_launcher_launched_gets_the_whole_grace,
    what_a_crashed_launcher_leaves_behind_ends_before_the_next_run,
    children_in_sessions_of_their_own_end_with_their_process,
    who_belongs_to_nobody_ends_with_the_supervisor,
    orphans_are_reaped,
    a_program_that_cannot_run_says_why,
    a_killed_control_process_is_started_again_and_nothing_else_notices,
    a_killed_worker_loses_no_waiting_connection,
    a_killed_supervisor_takes_everything_with_it,
    a_terminated_supervisor_finishes_what_is_under_way,
    an_upgrade_fails_no_request_and_leaves_processes_alone,
    an_upgrade_to_a_broken_program_is_given_up,
    a_second_supervisor_is_told_who_is_there,
    a_deep_state_directory_works,
    a_worker_boots_with_the_configuration_last_saved,
];

async fn a_repeated_command_changes_nothing() {
    let rig = Rig::start(1).await;
    let first = rig.client.ensure_process(process("a", 0), 1, server()).await.unwrap();
    for epoch in [1, 2] {
        let again = rig.client.ensure_process(process("a", 0), epoch, server()).await.unwrap();
        assert_eq!((again.pid, again.port, again.restarts), (first.pid, first.port, 0));
    }
    let answer = eventually("the process", async || ask_process(first.port).await).await;
    assert_eq!(answer, format!("{} a", first.pid.unwrap()));
}

async fn a_crashed_process_comes_back_on_its_port() {
    let rig = Rig::start(0).await;
    let first = rig.client.ensure_process(process("a", 0), 1, server()).await.unwrap();
    for restarts in 1..=3 {
        let pid = eventually("the process", async || ask_process(first.port).await).await;
        signal(pid.split(' ').next().unwrap().parse().unwrap(), Signal::KILL);
        eventually("a restart", async || {
            let seen = rig.observe().await.processes[0].clone();
            (seen.restarts == restarts && seen.state == ProcessState::Running).then_some(())
        })
        .await;
    }
    let seen = rig.observe().await.processes[0].clone();
    assert_eq!(seen.port, first.port);
    assert_eq!(seen.last_exit.unwrap().exit.to_string(), "killed (signal 9; out of memory, or by hand)");
}

async fn a_command_of_an_earlier_epoch_is_refused() {
    let rig = Rig::start(0).await;
    rig.client.ensure_process(process("a", 0), 7, server()).await.unwrap();
    let stale = Refusal::StaleEpoch { rollout: "shop".into(), given: 6, highest: 7 };
    let late_stop = rig.client.stop_process(process("a", 0), 6, None, None).await;
    let late_start = rig.client.ensure_process(process("b", 0), 6, server()).await;
    for error in [late_stop.unwrap_err(), late_start.unwrap_err()] {
        assert!(matches!(&error, ClientError::Refused(refusal) if *refusal == stale), "{error:?}");
    }
    assert_eq!(rig.observe().await.processes.len(), 1);
    rig.client.stop_process(process("a", 0), 7, None, None).await.unwrap();
}

async fn a_stopped_process_gives_its_port_back_and_is_reported_gone() {
    let rig = Rig::start(0).await;
    let seen = rig.client.ensure_process(process("a", 0), 1, server()).await.unwrap();
    eventually("the process", async || ask_process(seen.port).await).await;
    for _ in 0..2 {
        rig.client.stop_process(process("a", 0), 1, None, None).await.unwrap();
    }
    eventually("its end", async || rig.observe().await.processes.is_empty().then_some(())).await;
    assert!(is_dead(seen.pid.unwrap()));
    let log = std::fs::read_to_string(seen.log).unwrap();
    assert_eq!(log, "listening\nasked to end\nserinus: exit code 0\n");
    eventually("the event", async || rig.events().contains("processGone").then_some(())).await;
}

async fn a_process_that_ignores_the_signal_is_killed_with_its_group() {
    let rig = Rig::start(0).await;
    let stubborn = spec(&["/bin/sh", "-c", "trap '' TERM; sleep 600 & echo $!; while :; do wait; done"]);
    let seen = rig.client.ensure_process(process("a", 0), 1, stubborn).await.unwrap();
    let child: u32 = eventually("its child", async || {
        rig.client.lines(process("a", 0), 1).await.unwrap().first().and_then(|line| line.parse().ok())
    })
    .await;
    let grace = Some(Duration::from_millis(100));
    rig.client.stop_process(process("a", 0), 1, None, grace).await.unwrap();
    eventually("its end", async || rig.observe().await.processes.is_empty().then_some(())).await;
    assert!(is_dead(seen.pid.unwrap()));
    eventually("the end of its child", async || is_dead(child).then_some(())).await;
}

/// A program that takes half a second to end well, and says so.
const SLOW_TO_END: &str = "trap 'sleep 0.5; echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done";

async fn said(rig: &Rig, line: &str) {
    eventually(line, async || {
        let lines = rig.client.lines(process("a", 0), 99).await.ok()?;
        lines.iter().any(|it| it == line).then_some(())
    })
    .await;
}

async fn what_a_launcher_launched_gets_the_whole_grace() {
    let rig = Rig::start(0).await;
    // Without a trap the outer shell dies of the signal at once; the other has a session of its own besides.
    for launcher in ["sh -c \"$0\"; echo after", "setsid sh -c \"$0\" & wait"] {
        let launched = spec(&["/bin/sh", "-c", launcher, SLOW_TO_END]);
        let seen = rig.client.ensure_process(process("a", 0), 1, launched).await.unwrap();
        said(&rig, "up").await;
        rig.client.stop_process(process("a", 0), 1, None, None).await.unwrap();
        eventually("its end", async || rig.observe().await.processes.is_empty().then_some(())).await;
        let log = std::fs::read_to_string(&seen.log).unwrap();
        assert!(log.contains("saved"), "{launcher}: {log}");
        assert!(log.contains("processes it started are still ending"), "{launcher}: {log}");
        std::fs::remove_file(&seen.log).unwrap();
    }
}

async fn what_a_crashed_launcher_leaves_behind_ends_before_the_next_run() {
    let rig = Rig::start(0).await;
    let launched = spec(&["/bin/sh", "-c", "sh -c \"$0\"; echo after", SLOW_TO_END]);
    let seen = rig.client.ensure_process(process("a", 0), 1, launched).await.unwrap();
    said(&rig, "up").await;
    signal(seen.pid.unwrap(), Signal::KILL);
    eventually("a restart", async || {
        let seen = rig.observe().await.processes[0].clone();
        (seen.restarts == 1 && seen.state == ProcessState::Running).then_some(())
    })
    .await;
    let log = std::fs::read_to_string(&seen.log).unwrap();
    let (saved, ended) =
        (log.find("saved"), log.find("serinus: killed (signal 9; out of memory, or by hand)\n"));
    assert!(saved.is_some() && saved < ended, "{log}");
}

async fn children_in_sessions_of_their_own_end_with_their_process() {
    let rig = Rig::start(0).await;
    let daemons = "setsid sleep 600 & echo $!; (setsid sh -c 'echo $$; exec sleep 600' &); exec sleep 600";
    let seen =
        rig.client.ensure_process(process("a", 0), 1, spec(&["/bin/sh", "-c", daemons])).await.unwrap();
    let children: Vec<u32> = eventually("its children", async || {
        let lines = rig.client.lines(process("a", 0), 9).await.unwrap();
        let pids: Vec<u32> = lines.iter().filter_map(|line| line.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    })
    .await;
    rig.client.stop_process(process("a", 0), 1, None, None).await.unwrap();
    eventually("its end", async || rig.observe().await.processes.is_empty().then_some(())).await;
    for pid in children.into_iter().chain(seen.pid) {
        assert!(is_dead(pid), "{pid} is alive");
    }
}

async fn who_belongs_to_nobody_ends_with_the_supervisor() {
    let mut rig = Rig::start(0).await;
    let daemon =
        "(env -i setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done' &); exec sleep 600";
    rig.client.ensure_process(process("a", 0), 1, spec(&["/bin/sh", "-c", daemon])).await.unwrap();
    let pid: u32 = eventually("the daemon", async || {
        rig.client.lines(process("a", 0), 9).await.unwrap().iter().find_map(|line| line.parse().ok())
    })
    .await;
    signal(rig.supervisor.id(), Signal::TERM);
    rig.ended().await;
    assert!(is_dead(pid));
}

async fn orphans_are_reaped() {
    let rig = Rig::start(0).await;
    let leaves = "for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.05 &); done; echo left; exec sleep 600";
    rig.client.ensure_process(process("a", 0), 1, spec(&["/bin/sh", "-c", leaves])).await.unwrap();
    said(&rig, "left").await;
    let children = format!("/proc/{0}/task/{0}/children", rig.supervisor.id());
    // The process and the control process are left.
    eventually("the end of the orphans", async || {
        let children = std::fs::read_to_string(&children).unwrap();
        (children.split_whitespace().count() == 2).then_some(())
    })
    .await;
}

async fn a_program_that_cannot_run_says_why() {
    let rig = Rig::start(0).await;
    for (name, command, reason) in [
        ("a", vec!["/nowhere/server"], "cannot run /nowhere/server: No such file"),
        ("b", vec!["/etc/passwd"], "is it executable?"),
    ] {
        rig.client.ensure_process(process(name, 0), 1, spec(&command)).await.unwrap();
        let last = eventually("its failure", async || {
            let seen = rig.observe().await.processes;
            seen.into_iter().find(|p| p.process.revision == name).unwrap().last_exit
        })
        .await;
        let text = last.reason.unwrap();
        assert!(text.contains(reason), "{text}");
    }
    let lost = serinus::local::process::ProcessSpec { directory: "/nowhere".into(), ..spec(&["/bin/true"]) };
    rig.client.ensure_process(process("c", 0), 1, lost).await.unwrap();
    for reason in ["cannot enter the working directory /nowhere", "exit code 127"] {
        eventually(reason, async || {
            let lines = rig.client.lines(process("c", 0), 9).await.unwrap();
            lines.iter().any(|it| it.contains(reason)).then_some(())
        })
        .await;
    }
}

async fn a_killed_control_process_is_started_again_and_nothing_else_notices() {
    let rig = Rig::start(1).await;
    let served = rig.client.ensure_process(process("a", 0), 1, server()).await.unwrap();
    let before = rig.observe().await;
    signal(before.supervisor.control.unwrap(), Signal::KILL);
    let after = eventually("another control process", async || {
        let seen = rig.observe().await;
        (seen.supervisor.control.is_some() && seen.supervisor.control != before.supervisor.control)
            .then_some(seen)
    })
    .await;
    assert_eq!(after.workers, before.workers);
    assert_eq!(after.processes[0].pid, served.pid);
    assert_eq!(after.supervisor.control_restarts, 1);
}

async fn a_killed_worker_loses_no_waiting_connection() {
    let rig = Rig::start(2).await;
    let load = Load::start(rig.address);
    for _ in 0..5 {
        let pid = rig.observe().await.workers[0].pid.unwrap();
        signal(pid, Signal::STOP);
        // Stopped, it holds at most what it had taken; killed, it loses no more than that.
        signal(pid, Signal::KILL);
        eventually("another", async || {
            let seen = rig.observe().await;
            seen.workers.iter().all(|w| w.pid.is_some_and(|p| p != pid)).then_some(())
        })
        .await;
        rig.workers_ready(2).await;
    }
    let Outcome { asked, failed } = load.stop().await;
    // One client asks at a time, so at most one request is in flight on the worker killed.
    assert!(asked > 50 && failed.len() <= 5, "{asked} asked, failed: {failed:?}");
    assert!(failed.iter().all(|f| !f.contains("refused")), "{failed:?}");
}

async fn a_killed_supervisor_takes_everything_with_it() {
    let mut rig = Rig::start(2).await;
    rig.client.ensure_process(process("a", 0), 1, server()).await.unwrap();
    let pids = rig.all_pids().await;
    assert_eq!(pids.len(), 4);
    rig.supervisor.kill().unwrap();
    rig.supervisor.wait().unwrap();
    for pid in pids {
        eventually("its end", async || is_dead(pid).then_some(())).await;
    }
    let again = command(&rig.state, rig.address, 1).spawn().unwrap();
    rig.supervisor = again;
    rig.client = eventually("a new supervisor", async || Client::connect(&rig.state).await.ok()).await;
    rig.workers_ready(1).await;
    ask(rig.address, "hi").await.unwrap();
}

async fn a_terminated_supervisor_finishes_what_is_under_way() {
    let mut rig = Rig::start(2).await;
    let served = rig.client.ensure_process(process("a", 0), 1, server()).await.unwrap();
    eventually("the process", async || ask_process(served.port).await).await;
    let pids = rig.all_pids().await;
    let slow: Vec<_> = (0..8).map(|_| tokio::spawn(ask(rig.address, "slow"))).collect();
    eventually("requests under way", async || (open_connections(rig.address) >= 8).then_some(())).await;
    signal(rig.supervisor.id(), Signal::TERM);
    for request in slow {
        request.await.unwrap().unwrap();
    }
    let status = rig.ended().await;
    assert!(status.success(), "{status}");
    assert!(pids.iter().all(|pid| is_dead(*pid)));
    assert!(rig.events().contains("shuttingDown"));
    let log = std::fs::read_to_string(served.log).unwrap();
    assert!(log.contains("asked to end\nserinus: exit code 0"), "{log}");
}

/// Connections to `address` that a worker has taken.
fn open_connections(address: std::net::SocketAddr) -> usize {
    let port = format!(":{:04X} ", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local =
        |line: &&str| line.split_whitespace().nth(1).is_some_and(|a| format!("{a} ").ends_with(&port));
    table.lines().filter(local).filter(|line| line.split_whitespace().nth(3) == Some("01")).count()
}

async fn an_upgrade_fails_no_request_and_leaves_processes_alone() {
    let rig = Rig::start(2).await;
    let served = rig.client.ensure_process(process("a", 0), 3, server()).await.unwrap();
    let crashing = rig.client.ensure_process(process("b", 0), 3, spec(&["/bin/false"])).await.unwrap();
    rig.client.save_proxy_config(b"config 1").await.unwrap();
    let load = Load::start(rig.address);
    let mut before = rig.observe().await;
    for round in 1..=5 {
        let slow: Vec<_> = (0..4).map(|_| tokio::spawn(ask(rig.address, "slow"))).collect();
        let after = rig.client.upgrade(None).await.unwrap();
        assert_eq!(after.supervisor.generation, before.supervisor.generation + 1, "round {round}");
        assert_eq!(after.supervisor.pid, rig.supervisor.id());
        for request in slow {
            request.await.unwrap().unwrap();
        }
        before = eventually("the old ones gone", async || {
            let seen = rig.observe().await;
            let fresh = |w: &serinus::local::supervisor::protocol::WorkerSeen| {
                before.workers.iter().all(|old| old.worker != w.worker)
            };
            let control = seen.supervisor.control;
            let replaced = control.is_some() && control != before.supervisor.control;
            (seen.workers.len() == 2 && seen.workers.iter().all(fresh) && replaced).then_some(seen)
        })
        .await;
    }
    let Outcome { asked, failed } = load.stop().await;
    assert!(asked > 50 && failed.is_empty(), "{asked} asked, failed: {failed:?}");
    let seen = rig.observe().await;
    assert_eq!((seen.processes[0].pid, seen.processes[0].port), (served.pid, served.port));
    assert_eq!(seen.processes[1].port, crashing.port);
    assert_eq!(seen.epochs["shop"], 3);
    // The pipe it prints into has moved five times.
    rig.client.stop_process(process("a", 0), 3, None, None).await.unwrap();
    eventually("its end", async || (rig.observe().await.processes.len() == 1).then_some(())).await;
    let log = std::fs::read_to_string(served.log).unwrap();
    assert_eq!(log, "listening\nasked to end\nserinus: exit code 0\n");
}

async fn an_upgrade_to_a_broken_program_is_given_up() {
    let rig = Rig::start(1).await;
    let before = rig.observe().await;
    for broken in ["/bin/false", "/etc/passwd", "/nowhere"] {
        let error = rig.client.upgrade(Some(broken.into())).await.unwrap_err().to_string();
        assert!(error.contains("everything runs on as before"), "{error}");
        ask(rig.address, "hi").await.unwrap();
    }
    let after = eventually("one worker", async || {
        let seen = rig.observe().await;
        (seen.workers.len() == 1).then_some(seen)
    })
    .await;
    assert_eq!(after.workers, before.workers);
    assert_eq!(after.supervisor.control, before.supervisor.control);
    assert!(after.supervisor.upgrade_error.is_some());
}

async fn a_second_supervisor_is_told_who_is_there() {
    let rig = Rig::start(0).await;
    let output = command(&rig.state, rig.address, 0).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains(&format!("is in use by process {}", rig.supervisor.id())), "{error}");
    rig.observe().await;
}

async fn a_deep_state_directory_works() {
    let rig = Rig::start_in(&"deep-directory/".repeat(12), 1, &[]).await;
    assert!(rig.state.as_os_str().len() > 150);
    ask(rig.address, "hi").await.unwrap();
}

async fn a_worker_boots_with_the_configuration_last_saved() {
    let rig = Rig::start(1).await;
    rig.client.save_proxy_config(b"one").await.unwrap();
    rig.client.save_proxy_config(b"two").await.unwrap();
    // Only a child started as this worker may join.
    let error = serinus::local::supervisor::WorkerLink::join(&rig.state, 1).await.unwrap_err();
    assert!(error.to_string().contains("was not started as worker 1"), "{error}");
    let pid = rig.observe().await.workers[0].pid.unwrap();
    signal(pid, Signal::KILL);
    let config = rig.state.join("worker-config");
    eventually("the configuration", async || {
        (std::fs::read(&config).unwrap_or_default() == b"two").then_some(())
    })
    .await;
}

struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    asking: tokio::task::JoinHandle<Vec<String>>,
}

struct Outcome {
    asked: u64,
    failed: Vec<String>,
}

impl Load {
    fn start(address: std::net::SocketAddr) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), asked.clone());
        let asking = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                if let Err(error) = ask(address, "hi").await {
                    failed.push(error);
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
            failed
        });
        Self { stop, asked, asking }
    }

    async fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::SeqCst);
        let failed = self.asking.await.unwrap();
        Outcome { asked: self.asked.load(Ordering::SeqCst), failed }
    }
}
