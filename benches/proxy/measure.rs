//! One round of load on one proxy, and the memory of connections at rest.

use std::time::Duration;

use serinus::local::load::{LoadPlan, generate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use crate::contestants::Contestant;

/// What one round showed.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub(crate) cpu_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub(crate) failed: u64,
}

/// Runs the schedule of `seed`; a second of warm-up is not counted.
pub(crate) async fn round(contestant: &Contestant, rate: f64, duration: Duration, seed: u64) -> Round {
    let plan = LoadPlan { seed, ..LoadPlan::new(contestant.address, rate) };
    let warm_up = LoadPlan { duration: Some(Duration::from_secs(1)), ..plan.clone() };
    generate(warm_up, CancellationToken::new(), |_| {}).await;
    let before = contestant.cpu_ns();
    let plan = LoadPlan { duration: Some(duration), ..plan };
    let report = generate(plan, CancellationToken::new(), |_| {}).await;
    let cpu_ns = contestant.cpu_ns() - before;
    Round {
        cpu_us: cpu_ns as f64 / 1_000.0 / report.requests as f64,
        p50_us: report.latency_us.value_at_quantile(0.5) as f64,
        p99_us: report.latency_us.value_at_quantile(0.99) as f64,
        failed: report.failed(),
    }
}

/// KiB that so many connections take which made one request and rest.
pub(crate) async fn memory_of_idle_connections(contestant: &Contestant, connections: usize) -> u64 {
    let before = contestant.rss_kib();
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = tokio::net::TcpStream::connect(contestant.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4_096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", contestant.kind.name());
        open.push(stream);
    }
    // Long enough for connections to the backends to be given up again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    contestant.rss_kib().saturating_sub(before)
}
