//! What an instance at rest costs: memory, wake-ups and CPU of each of its processes.

use std::time::Duration;

use crate::instance::{Document, Instance};

/// Ticks of the kernel's clock as it tells them to processes.
const TICKS_PER_S: f64 = 100.0;

/// Counters of one process at one moment.
#[derive(Clone, Copy)]
struct Reading {
    rss_kib: u64,
    switches: u64,
    cpu_ticks: u64,
}

/// Prints it after a look at `seconds` of rest.
pub(crate) fn measure(seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let instance = Instance::start(2).await;
        println!("\nan instance at rest, looked at for {seconds} s");
        watch(&instance, "no rollout", seconds).await;
        instance.first_version(&Document::BY_HAND).await;
        watch(&instance, "one rollout, idle", seconds).await;
        println!("\ngoals: control ≤ 30 MB and nothing but timers, a worker ≤ 20 MB");
    });
}

/// Prints what each process of the instance costs while it is looked at for `seconds`.
pub(crate) async fn watch(instance: &Instance, what: &str, seconds: u64) {
    // What had to be done at the start is done.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let health = instance.client.health().await.unwrap();
    let mut processes = vec![("control".to_owned(), health.control_pid)];
    processes.push(("supervisor".to_owned(), instance.supervisor()));
    processes.extend(health.workers.iter().filter_map(|it| Some((format!("worker {}", it.worker), it.pid?))));
    // The call above was the last one: whoever asks wakes it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before: Vec<Reading> = processes.iter().map(|(_, pid)| read(*pid)).collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    println!("\n{:<20}{:>10}{:>16}{:>14}", what, "RSS", "switches/s", "CPU");
    for ((name, pid), before) in processes.iter().zip(before) {
        let after = read(*pid);
        // A thread that has ended takes its switches along.
        let switches = after.switches.saturating_sub(before.switches) as f64 / seconds as f64;
        let cpu = (after.cpu_ticks - before.cpu_ticks) as f64 / TICKS_PER_S / seconds as f64;
        let mb = after.rss_kib as f64 * 1024.0 / 1e6;
        println!("{name:<20}{mb:>7.1} MB{switches:>16.1}{:>12.2} %", cpu * 100.0);
    }
}

/// Clock ticks that all threads of a process have used so far, those that have ended included: `utime` and `stime` of
/// `proc_pid_stat(5)`.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().skip(11).take(2).map(|it| it.parse::<u64>().unwrap()).sum()
}

fn read(pid: u32) -> Reading {
    let field = |text: &str, name: &str| -> u64 {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|it| it.split_whitespace().next()).map_or(0, |it| it.parse().unwrap())
    };
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut reading = Reading { rss_kib: field(&status, "VmRSS:"), switches: 0, cpu_ticks: ticks(pid) };
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        reading.switches += field(&status, "voluntary_ctxt_switches:");
        reading.switches += field(&status, "nonvoluntary_ctxt_switches:");
    }
    reading
}
