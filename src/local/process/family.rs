//! The processes that a process of ours started, and those that start processes and leave them.
//!
//! A launcher (`npm start`, `sh -c`) ends before the program it launched, a program may start others in sessions of
//! their own, and a tool may fork twice so that its child belongs to nobody. The kernel hands whoever lost its parent
//! to the nearest ancestor that asked for it ([`adopt_orphans`]), or to process 1; so everything that our processes
//! ever started stays below us in the tree, and can be found and reaped. To whom an orphan belonged is told by the
//! environment it was started with; one that was given another is found when everything ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, getpid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, waitid,
};

use crate::clock;

/// How long whoever is left at the very end may take after it was asked to go, and again after it was killed.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// One process as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listed {
    parent: u32,
    group: u32,
    session: u32,
    /// Ticks of the kernel's clock; with the process id it names a process for ever.
    started: u64,
    /// It has ended and was not reaped.
    ended: bool,
}

/// A living process of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Process id.
    pub pid: u32,
    started: u64,
    /// Whether a signal to the family's process group reaches it.
    pub in_group: bool,
}

impl Member {
    /// Sends a signal; nobody else gets it, should the process have ended meanwhile.
    pub fn signal(&self, signal: Signal) {
        let Some(pid) = pid_of(self.pid) else { return };
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        // The handle was opened by a number: it is the process that was listed if it began when that did.
        if listed(self.pid).is_some_and(|(_, it)| it.started == self.started) {
            let _ = pidfd_send_signal(handle, signal);
        }
    }
}

/// Everything that one process of ours started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Process id of the first, which leads their process group and is not reaped yet.
    pub leader: u32,
    /// Variables that all of them were started with, as `NAME=value`.
    pub marks: Vec<String>,
}

impl Family {
    /// Who is alive besides the leader. Who cannot be looked at is taken for gone.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let census = census();
        let own = own_pid();
        let strays = census.iter().filter(|(_, it)| it.parent == own).map(|(pid, _)| *pid);
        let strays = strays.filter(|pid| *pid != self.leader && self.is_marked(*pid)).collect();
        members(&census, self.leader, &strays)
    }

    /// Sends a signal to all of them, the leader included.
    pub fn signal(&self, signal: Signal) {
        super::child::signal_group(self.leader, signal);
        self.members().iter().filter(|it| !it.in_group).for_each(|it| it.signal(signal));
    }

    fn is_marked(&self, pid: u32) -> bool {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
        let variables: BTreeSet<&[u8]> = environment.split(|byte| *byte == 0).collect();
        !self.marks.is_empty() && self.marks.iter().all(|it| variables.contains(it.as_bytes()))
    }
}

/// The living members of a family: the leader's group and session, the strays, and whoever descends from any of them.
fn members(census: &BTreeMap<u32, Listed>, leader: u32, strays: &BTreeSet<u32>) -> Vec<Member> {
    let belongs = |pid: &u32, it: &Listed| it.group == leader || it.session == leader || strays.contains(pid);
    let roots = census.iter().filter(|(pid, it)| belongs(pid, it)).map(|(pid, _)| *pid);
    below(census, leader, roots.collect())
}

/// Who is alive among the descendants of `leader` and of `roots`, these included.
fn below(census: &BTreeMap<u32, Listed>, leader: u32, roots: Vec<u32>) -> Vec<Member> {
    let mut todo = roots;
    todo.push(leader);
    let mut all: BTreeSet<u32> = BTreeSet::new();
    while let Some(pid) = todo.pop() {
        if all.insert(pid) {
            todo.extend(census.iter().filter(|(_, it)| it.parent == pid).map(|(pid, _)| *pid));
        }
    }
    all.remove(&leader);
    let alive = all.into_iter().filter_map(|pid| Some((pid, census.get(&pid)?))).filter(|(_, it)| !it.ended);
    alive.map(|(pid, it)| Member { pid, started: it.started, in_group: it.group == leader }).collect()
}

/// From now on whoever loses its parent below this process becomes its child. Kept over an exec.
///
/// # Errors
/// What the kernel said.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Reaps adopted children that have ended; those for which `is_ours` is true are reaped by whoever started them.
pub fn reap_orphans(is_ours: impl Fn(u32) -> bool) {
    for child in children().into_iter().filter(|it| !is_ours(*it)) {
        if let Some(pid) = pid_of(child) {
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// Ends whatever is left below this process: asked first, killed if it does not go. To be called when everything that
/// is known has ended.
pub async fn end_the_rest() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut told = BTreeSet::new();
        let until = clock::instant() + LAST_GRACE;
        loop {
            reap_orphans(|_| false);
            let left = below(&census(), own_pid(), vec![]);
            if left.is_empty() {
                return;
            }
            for member in left.into_iter().filter(|it| told.insert(*it)) {
                tracing::info!(pid = member.pid, ?signal, "a process that was left behind is ended");
                member.signal(signal);
            }
            if clock::instant() >= until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Direct children of this process, of all its threads.
fn children() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists: Result<Vec<String>, io::Error> =
        tasks.map(|task| fs::read_to_string(task.path().join("children"))).collect();
    match lists {
        Ok(lists) if !lists.is_empty() => {
            lists.iter().flat_map(|it| it.split_whitespace()).filter_map(|it| it.parse().ok()).collect()
        }
        // A kernel that keeps no such lists.
        Ok(_) | Err(_) => {
            let own = own_pid();
            census().into_iter().filter(|(_, it)| it.parent == own).map(|(pid, _)| pid).collect()
        }
    }
}

/// Every process that can be seen.
fn census() -> BTreeMap<u32, Listed> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|it| listed(it.file_name().to_str()?.parse().ok()?)).collect()
}

fn listed(pid: u32) -> Option<(u32, Listed)> {
    Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?))
}

/// Reads `/proc/PID/stat`. A program's name may hold blanks and parentheses; nothing after it does.
fn parse(stat: &str) -> Option<Listed> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Listed {
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        started: fields.get(19)?.parse().ok()?,
    })
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn own_pid() -> u32 {
    super::shim::own_pid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(parent: u32, group: u32, session: u32) -> Listed {
        Listed { parent, group, session, started: 1, ended: false }
    }

    #[track_caller]
    fn check(census: &[(u32, Listed)], strays: &[u32], expected: &[u32]) {
        let census = census.iter().copied().collect();
        let found = members(&census, 10, &strays.iter().copied().collect());
        assert_eq!(found.iter().map(|it| it.pid).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_family_is_the_group_the_session_the_strays_and_all_their_descendants() {
        let leader = (10, one(1, 10, 1));
        check(&[leader], &[], &[]);
        check(&[leader, (11, one(10, 10, 1)), (12, one(11, 10, 1)), (20, one(1, 20, 1))], &[], &[11, 12]);
        // The launcher has ended, its child was adopted and has a child of its own in another session.
        check(&[(11, one(1, 10, 1)), (12, one(11, 12, 12))], &[], &[11, 12]);
        // A session of its own, with its parent still there.
        check(&[leader, (11, one(10, 11, 11))], &[], &[11]);
        // Forked twice: only its mark tells whose it is.
        check(&[leader, (30, one(1, 30, 30)), (31, one(30, 30, 30))], &[30], &[30, 31]);
        check(&[leader, (11, Listed { ended: true, ..one(10, 10, 1) })], &[], &[]);
    }

    #[test]
    fn only_the_group_is_reached_by_a_signal_to_it() {
        let census = [(11, one(10, 10, 1)), (12, one(10, 12, 12))].into();
        let found = members(&census, 10, &BTreeSet::new());
        assert_eq!(found.iter().map(|it| it.in_group).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) (b) S 1 2 3 0 -1 4194304 100 0 0 0 1 2 3 4 20 0 1 0 12345 1 2";
        let expected = Listed { parent: 1, group: 2, session: 3, started: 12_345, ended: false };
        assert_eq!(parse(stat), Some(expected));
        assert_eq!(parse("7 (x"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_is_listed() {
        assert!(census().contains_key(&own_pid()));
        assert!(!listed(own_pid()).unwrap().1.ended);
    }
}
