//! What is written for people ends and stalls nobody who serves or decides.

use std::{net::SocketAddr, os::fd::OwnedFd, process::Command};

use libtest_mimic::Trial;
use rustix::process::Signal;
use serinus::api::view::PhaseName;

use super::case;
use crate::{
    product::{PLAIN, Product, document, full_pipe, get, pipe, serves, upstream},
    rig::{eventually, kill, signal},
};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("log_lines_of_every_part_are_kept_and_end_nobody", kept),
        case("a_reader_that_goes_away_takes_nothing_with_it", || unread(Reader::Leaves)),
        case("a_reader_that_stands_still_holds_nothing_up", || unread(Reader::StandsStill)),
        case("a_disk_that_takes_no_output_ends_nothing", || unread(Reader::IsFull)),
        case("logs_that_cannot_be_written_end_nothing", unwritable),
        case("a_closed_terminal_does_not_end_the_service", closed_terminal),
    ]
}

async fn kept() {
    let releases = [upstream(), upstream()];
    let first = document("v1", releases, PLAIN);
    let product = Product::run(&first, |it| {
        it.env("SERINUS_LOG", "info");
    })
    .await;
    serves(address(&product).await).await;
    let worker = product.observe().await.workers[0].pid.unwrap();
    kill(worker);
    let control = product.health().await.control_pid;
    kill(control);
    eventually("another control process", async || {
        Some(product.health().await).filter(|it| it.control_pid != control && it.control_restarts == 1)
    })
    .await;
    eventually("the ends in the logs", async || {
        let ends = |name: &str, what: &str| product.log(name).contains(what).then_some(());
        ends("workers.log", "worker 1: killed")?;
        ends("control.log", "serinus: killed")?;
        ends("control.log", "the engine controls")?;
        ends("supervisor.log", "a worker ended")
    })
    .await;
    // Nobody died of what was said: one death each, and both by hand.
    assert_eq!(product.log("control.log").matches("serinus: ").count(), 1, "{}", product.log("control.log"));
    let workers = product.log("workers.log");
    assert_eq!(workers.matches(": killed").count(), 1, "{workers}");
    assert_eq!(workers.lines().filter(|it| it.starts_with("worker 1 ") && it.contains("serves")).count(), 2);
    let status = product.say(&["status"]);
    assert!(status.contains(&product.state.join("logs").display().to_string()), "{status}");
}

/// Who was to read what `run` and its parts say.
#[derive(Clone, Copy)]
enum Reader {
    Leaves,
    StandsStill,
    IsFull,
}

async fn unread(reader: Reader) {
    let releases = [upstream(), upstream()];
    let mut held: Vec<OwnedFd> = vec![];
    let (out, err): (OwnedFd, OwnedFd) = match reader {
        Reader::Leaves => {
            let ((one, out), (two, err)) = (pipe(), pipe());
            held.extend([one, two]);
            (out, err)
        }
        Reader::StandsStill => {
            let ((one, out), (two, err)) = (full_pipe(), full_pipe());
            held.extend([one, two]);
            (out, err)
        }
        Reader::IsFull => {
            let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into();
            (full(), full())
        }
    };
    let set = |it: &mut Command| {
        it.env("SERINUS_LOG", "info").stdout(out).stderr(err);
    };
    let mut product = Product::run(&document("v1", releases, PLAIN), set).await;
    let address = address(&product).await;
    serves(address).await;
    if matches!(reader, Reader::Leaves) {
        held.clear();
    }
    // Each of these is something that all of them have to say something about.
    let (worker, control) =
        (product.observe().await.workers[0].pid.unwrap(), product.health().await.control_pid);
    kill(worker);
    kill(control);
    eventually("other processes", async || {
        let again = product.health().await.control_pid != control;
        let pid = product.observe().await.workers[0].pid;
        (again && pid.is_some_and(|it| it != worker)).then_some(())
    })
    .await;
    product.apply(&document("v2", releases, PLAIN)).await;
    let stable = |it: &serinus::api::view::RolloutView| {
        it.phase == PhaseName::Idle && it.stable.as_ref().is_some_and(|it| it.as_str() == "v2")
    };
    product.until("version 2 as stable", stable).await;
    for _ in 0..20 {
        assert_eq!(get(address).unwrap(), 200);
    }
    assert_eq!(product.ended(), None);
    assert!(product.end().await.success());
}

async fn unwritable() {
    let releases = [upstream(), upstream()];
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("state")).unwrap();
    // A file where the logs' directory belongs: nothing can be written, whoever tries.
    std::fs::write(directory.path().join("state/logs"), "").unwrap();
    let mut product = Product::run_in(directory, &document("v1", releases, PLAIN), |it| {
        it.env("SERINUS_LOG", "debug");
    });
    let address = address(&product).await;
    serves(address).await;
    kill(product.observe().await.workers[0].pid.unwrap());
    serves(address).await;
    assert_eq!(product.health().await.control_restarts, 0);
    assert!(product.end().await.success());
}

async fn closed_terminal() {
    let releases = [upstream(), upstream()];
    let mut product = Product::run(&document("v1", releases, PLAIN), |_| {}).await;
    let address = address(&product).await;
    serves(address).await;
    signal(product.pid(), Signal::HUP);
    product.apply(&document("v2", releases, PLAIN)).await;
    product.until("version 2 on its way", |it| it.phase != PhaseName::Idle).await;
    assert_eq!(get(address).unwrap(), 200);
    assert_eq!(product.ended(), None);
    assert!(product.end().await.success());
}

async fn address(product: &Product) -> SocketAddr {
    eventually("an address", async || product.view().await.addresses.first().map(|it| it.address)).await
}
