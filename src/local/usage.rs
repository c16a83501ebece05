//! What the processes of this machine use, by process group: a user's process may be a launcher that starts others.
//!
//! Linux only; elsewhere nobody knows, and nothing is judged by it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::analyses::Usage;

/// Ticks per second in which Linux tells processor time, on every architecture it is used on.
const TICK_MS: u64 = 10;

/// What each of these groups uses; those that are gone are left out. Reads one small file per process of this machine.
#[must_use]
pub fn of_groups(leaders: &BTreeSet<u32>) -> BTreeMap<u32, Usage> {
    in_proc(Path::new("/proc"), leaders)
}

fn in_proc(proc: &Path, leaders: &BTreeSet<u32>) -> BTreeMap<u32, Usage> {
    let mut sums: BTreeMap<u32, Usage> = BTreeMap::new();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
        let Some((group, cpu_ms)) = read("stat").and_then(|it| stat(&it)) else { continue };
        if !leaders.contains(&group) {
            continue;
        }
        // One that ends between the two has given its memory back.
        let memory = read("status").map_or(0, |it| memory(&it));
        let sum = sums.entry(group).or_default();
        sum.memory += memory;
        sum.cpu_ms += cpu_ms;
    }
    sums
}

/// Process group and processor time. The name of the program comes first, in parentheses, and may hold anything.
fn stat(text: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let group = fields.get(2)?.parse().ok()?;
    Some((group, TICK_MS * (ticks(11)? + ticks(12)?)))
}

/// What the process itself holds: neither files nor libraries that it maps.
fn memory(status: &str) -> u64 {
    let of = |line: &str| -> Option<u64> {
        let (name, value) = line.split_once(':')?;
        let counts = matches!(name, "RssAnon" | "RssShmem" | "VmSwap");
        let kib: u64 = value.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        counts.then_some(1024 * kib)
    };
    status.lines().filter_map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_the_sum_of_its_processes_whatever_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let process = |pid: u32, name: &str, group: u32, ticks: u64, kib: u64| {
            let it = folder.path().join(pid.to_string());
            fs::create_dir(&it).unwrap();
            let stat = format!("{pid} ({name}) S 1 {group} 1 0 -1 0 0 0 0 0 {ticks} 5 0 0 20 0 1 0 0 0 0");
            fs::write(it.join("stat"), stat).unwrap();
            fs::write(
                it.join("status"),
                format!("Name:\tx\nVmRSS:\t 99999 kB\nRssAnon:\t {kib} kB\nVmSwap:\t 1 kB\n"),
            )
            .unwrap();
        };
        process(10, "sh", 10, 1, 100);
        process(11, "a) R 7 7 (b", 10, 2, 200);
        process(12, "other", 12, 100, 9000);
        fs::create_dir(folder.path().join("sys")).unwrap();
        let seen = in_proc(folder.path(), &BTreeSet::from([10, 77]));
        let whole = Usage { memory: 1024 * 302, cpu_ms: 10 * (1 + 5 + 2 + 5) };
        assert_eq!(seen, BTreeMap::from([(10, whole)]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_seen_in_its_group() {
        let group = u32::try_from(rustix::process::getpgrp().as_raw_nonzero().get()).unwrap();
        let seen = of_groups(&BTreeSet::from([group]));
        assert!(seen[&group].memory > 100_000, "{seen:?}");
    }
}
