//! `serinus run` as the first process of a container.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::rig::{PROGRAM, RUN, Rig, signal};

/// A process namespace of its own, as a container has one, with or without the rights of root.
const CONTAINER: [&str; 6] = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];

#[test]
fn the_first_process_of_a_container_reaps_orphans_and_ends_everything_in_order() {
    let possible = Command::new("unshare").args(CONTAINER).arg("true").status().is_ok_and(|it| it.success());
    if !possible {
        let all = std::env::var_os("SERINUS_TESTS").is_some_and(|it| it == "all");
        assert!(!all, "`unshare {} true` fails on this machine", CONTAINER.join(" "));
        return;
    }
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1"), ("ORPHANS", "20")], "");
    let mut command = Command::new("unshare");
    command.args(CONTAINER).arg(PROGRAM).args(RUN).arg("shop.yaml").stdin(Stdio::null());
    rig.start(command);
    rig.serves("1");
    let outside = rig.running().id();
    // All twenty lost their parent before anything was served.
    let is_left = |it: &Process| it.state == 'Z' || it.name == "sleep";
    rig.eventually("the end of all orphans", || !below(outside).values().any(is_left));
    let first = below(outside).into_iter().find(|(_, it)| it.parent == outside).unwrap().0;
    signal(first, Signal::TERM);
    assert!(rig.ends().success(), "{}", rig.said());
    assert_eq!(rig.answer(), None);
}

struct Process {
    name: String,
    state: char,
    parent: u32,
}

fn process(stat: &str) -> Option<Process> {
    // The name stands in parentheses and may hold anything.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    let mut rest = rest.split(' ');
    let (state, parent) = (rest.next()?.chars().next()?, rest.next()?.parse().ok()?);
    Some(Process { name: name.to_owned(), state, parent })
}

/// Everybody below this process.
fn below(ancestor: u32) -> BTreeMap<u32, Process> {
    let mut all: BTreeMap<u32, Process> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        all.extend(process(&stat).map(|it| (pid, it)));
    }
    let parent = |pid: &u32| all.get(pid).map(|it| it.parent);
    let is_below = |pid: u32| std::iter::successors(parent(&pid), parent).any(|it| it == ancestor);
    let below: Vec<u32> = all.keys().copied().filter(|pid| is_below(*pid)).collect();
    below.into_iter().filter_map(|pid| Some((pid, all.remove(&pid)?))).collect()
}
