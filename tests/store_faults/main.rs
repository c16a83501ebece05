//! The store on a disk that fails at every single operation in turn (`tests/shim/faults.c`), and on one whose pages
//! rot. A child process works on a store under the fault; this process then opens what is left and compares.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Trial};
use serinus::local::store::{self, OrderState, Store};

mod script;

/// Largest number of operations of one kind in the script: an end for a loop that should have found its own.
const TOO_MANY: u32 = 5_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [_, "script", state] => return script::play(Path::new(state)),
        [_, "probe", file] => return write_a_probe(Path::new(file)),
        _ => {}
    }
    let mut trials: Vec<Trial> = [
        // One write fails, once or from then on.
        "enospc",
        "enospc-on",
        "eio",
        "eio-on",
        "erofs",
        "erofs-on",
        // One sync fails, once or from then on, or having lost what it was to save.
        "sync-eio",
        "sync-eio-on",
        "sync-lost",
        // The power fails in the middle of a write; instead of an operation, with all unsynced writes lost.
        "torn",
        "crash",
    ]
    .into_iter()
    .map(|fault| Trial::test(format!("no_saved_word_is_lost_to_{fault}"), move || every_operation(fault, 0)))
    .collect();
    // Some unsynced writes arrive and others do not, in whatever order.
    for seed in 1..=2 {
        let name = format!("no_saved_word_is_lost_to_crash_with_reordered_writes_{seed}");
        trials.push(Trial::test(name, move || every_operation("crash", seed)));
    }
    trials.push(Trial::test("a_rotten_page_is_refused_or_held_nothing", rotten_pages));
    trials.push(Trial::test("the_faults_reach_the_store", the_faults_reach_the_store));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The library that makes the disk fail, built once.
fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/faults.c");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{}.so", std::process::id()));
        let built =
            Command::new("cc").args(["-O1", "-shared", "-fPIC", "-o"]).arg(&target).arg(source).status();
        assert!(built.unwrap().success(), "the C compiler that linked this test has to build the shim too");
        target
    })
}

/// Runs the script in `state` under one fault.
fn play(state: &Path, fault: &str, at: u32, seed: u32, hit: &Path) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("script").arg(state).stdin(Stdio::null());
    command.env("LD_PRELOAD", shim()).env("FAULT_PATH", "/store.db").env("FAULT_KIND", fault);
    command.env("FAULT_AT", at.to_string()).env("FAULT_SEED", seed.to_string()).env("FAULT_HIT", hit);
    command.output().unwrap()
}

/// A directory in memory if there is one: thousands of small stores are made.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn every_operation(fault: &'static str, seed: u32) -> Result<(), libtest_mimic::Failed> {
    let mut errors_shown = 0_u64;
    for at in 1..TOO_MANY {
        let directory = directory();
        let (state, hit) = (directory.path().join("state"), directory.path().join("hit"));
        fs::create_dir(&state).unwrap();
        let output = play(&state, fault, at, seed, &hit);
        let said = Said::read(&output);
        let place = format!("{fault} at operation {at}, seed {seed}");
        check(&state, &said, &place);
        errors_shown += said.errors;
        if !hit.exists() {
            assert!(at > 20, "{place}: the script ended after so few operations; it said {said:?}");
            let faults_that_show = !matches!(fault, "torn" | "crash");
            assert!(
                !faults_that_show || errors_shown >= u64::from(at) / 2,
                "{errors_shown} errors in {at} runs"
            );
            return Ok(());
        }
    }
    Err(format!("{fault} still hits after {TOO_MANY} operations").into())
}

/// What the child said: what it was told is saved, and what was reported as failed.
#[derive(Debug, Default)]
struct Said {
    /// Highest number the store called saved.
    saved: u64,
    /// Highest number it tried to save.
    tried: u64,
    /// Whether the acceptance of the abort order was called saved.
    aborted: bool,
    /// Errors the store gave.
    errors: u64,
}

impl Said {
    fn read(output: &Output) -> Self {
        let killed = output.status.signal() == Some(9);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(killed || output.status.success(), "the child failed: {}\n{stderr}", output.status);
        assert!(!stderr.contains("panicked"), "{stderr}");
        let mut said = Self::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let number = |text: &str| text.parse::<u64>().unwrap();
            match line.split_once(' ') {
                Some(("try", n)) => said.tried = said.tried.max(number(n)),
                Some(("saved", n)) => said.saved = said.saved.max(number(n)),
                Some(("aborted", _)) => said.aborted = true,
                Some(("error", text)) => {
                    assert!(!text.is_empty());
                    said.errors += 1;
                }
                Some(_) | None => panic!("unexpected: {line}"),
            }
        }
        said
    }
}

/// What is left holds everything that was called saved, and nothing that was never tried.
#[track_caller]
fn check(state: &Path, said: &Said, place: &str) {
    let store = Store::open(state).unwrap_or_else(|error| panic!("{place}: it does not open again: {error}"));
    let n = store.status::<script::Status>("shop").unwrap().map_or(0, |saved| saved.status.n);
    assert!(said.saved <= n, "{place}: {} was saved, {n} is there", said.saved);
    assert!(n <= said.tried, "{place}: {} was tried, {n} is there", said.tried);
    let journal: Vec<u64> =
        store.journal(None, 0, u32::MAX).unwrap().iter().map(|r| r.decode().unwrap()).collect();
    assert_eq!(journal, (1..=n).collect::<Vec<_>>(), "{place}: the journal and the status disagree");
    store.check_journal().unwrap();
    let accepted = store.orders::<String>("shop", OrderState::Accepted).unwrap();
    if said.aborted || n > script::ABORT_AT {
        assert!(
            accepted.iter().any(|order| order.order == "abort"),
            "{place}: an accepted abort was forgotten"
        );
    }
    for order in 1..=n / script::ORDER_EVERY {
        assert!(
            store.order::<String>(&order.to_string()).unwrap().is_some(),
            "{place}: order {order} is gone"
        );
    }
    let checkpoint = store.checkpoints::<u64>("shop").unwrap().first().map_or(0, |c| c.checkpoint);
    assert_eq!(checkpoint, n, "{place}: part of a change was saved without the rest");
}

/// Without this, a shim that never does anything would make every test above pass.
fn the_faults_reach_the_store() -> Result<(), libtest_mimic::Failed> {
    let directory = directory();
    let (state, hit) = (directory.path().join("state"), directory.path().join("hit"));
    fs::create_dir(&state).unwrap();
    let output = play(&state, "crash", 60, 0, &hit);
    assert_eq!(output.status.signal(), Some(9));
    assert!(hit.exists());
    // A store that called a change saved before its sync would lose it: unsynced writes do get lost.
    let probe = directory.path().join("store.db.probe");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("probe").arg(&probe).env("LD_PRELOAD", shim()).env("FAULT_PATH", "/store.db");
    assert_eq!(command.status().unwrap().signal(), Some(9));
    assert_eq!(fs::read(&probe).unwrap(), b"synced");
    Ok(())
}

/// Writes with and without a sync, then loses power.
fn write_a_probe(path: &Path) -> ExitCode {
    let mut file = fs::File::create(path).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    file.write_all(b" and lost").unwrap();
    file.write_all_at(b"lost", 0).unwrap();
    file.set_len(3).unwrap();
    let _ = fs::remove_file("/shim/power");
    ExitCode::SUCCESS
}

/// Every page in turn becomes zeros, noise, or has one bit turned over: the store says so, or nothing was on it.
fn rotten_pages() -> Result<(), libtest_mimic::Failed> {
    let directory = directory();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    script::play_quietly(&state).unwrap();
    let good = Reading::of(&state).unwrap();
    let path = state.join(store::FILE);
    let wal = state.join("store.db-wal");
    assert_eq!(fs::metadata(&wal).map_or(0, |m| m.len()), 0, "everything has to be in the database itself");
    let original = fs::read(&path).unwrap();
    let mut refused = 0;
    let pages = original.len() / 4096;
    for number in 0..pages {
        let mut seed = number as u64;
        let mut noise = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        for damage in 0..6 {
            let mut bytes = original.clone();
            let page = &mut bytes[number * 4096..][..4096];
            match damage {
                0 => page.fill(0),
                1 => page.iter_mut().for_each(|b| *b = u8::try_from(noise() & 0xff).unwrap()),
                _ => page[noise() % 4096] ^= 1 << (noise() % 8),
            }
            let _ = fs::remove_file(&wal);
            fs::write(&path, &bytes).unwrap();
            match Reading::of(&state) {
                Ok(reading) => {
                    assert_eq!(reading, good, "page {number} damage {damage}: it reads something else")
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.contains("is damaged") && error.contains(".corrupt"), "{error}");
                    assert_eq!(fs::read(&path).unwrap(), bytes, "a damaged file has been touched");
                }
            }
        }
    }
    // Zeros and noise are never taken for a page that holds something.
    assert!(refused >= pages, "{refused} of {} damages of {pages} pages were noticed", 6 * pages);
    println!("{refused} of {} damages noticed, the others changed nothing that is read", 6 * pages);
    Ok(())
}

/// Everything a store says.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    status: script::Status,
    fence: u64,
    journal: Vec<String>,
    orders: BTreeSet<(String, String)>,
    documents: Vec<String>,
}

impl Reading {
    fn of(state: &Path) -> Result<Self, String> {
        let store = Store::open(state).map_err(|error| error.to_string())?;
        let saved = store.status::<script::Status>("shop").unwrap().unwrap();
        let states = [OrderState::Pending, OrderState::Accepted, OrderState::Expired];
        let orders = states.iter().flat_map(|state| store.orders::<String>("shop", *state).unwrap());
        Ok(Self {
            orders: orders.map(|o| (o.id, format!("{:?} {:?} {}", o.state, o.closed_at, o.order))).collect(),
            journal: store.journal(None, 0, u32::MAX).unwrap().into_iter().map(|r| r.body).collect(),
            documents: store.documents::<String>().unwrap().into_iter().map(|d| d.text).collect(),
            fence: saved.fence,
            status: saved.status,
        })
    }
}
