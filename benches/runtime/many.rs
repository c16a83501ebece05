//! What many rollouts on one machine cost: at rest, and while a quarter of them is under way with requests.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serinus::{
    api::view::{Apply, NewOrder, PhaseName},
    local::load::{LoadPlan, generate},
};
use strategies::{Action, Name, Weight};
use tokio_util::sync::CancellationToken;

use crate::{idle::watch, instance::Instance};

/// Requests per second to each rollout under way.
const RATE: f64 = 10.0;
/// Longest wait for all of them.
const PATIENCE: Duration = Duration::from_secs(300);

/// Prints what `rollouts` cost at rest, and what they cost while a quarter of them is under way, each looked at for
/// `seconds`.
pub(crate) fn measure(rollouts: u64, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let services = [service().await, service().await];
        let instance = Instance::start(2).await;
        let names: Vec<Name> = (0..rollouts).map(|it| Name::from(format!("shop-{it}"))).collect();
        let begun = Instant::now();
        let mut addresses = vec![];
        for name in &names {
            addresses.push(apply(&instance, name, "v1", services).await);
        }
        println!(
            "\n{rollouts} rollouts of upstreams, handed in within {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        until(&instance, "every one to rest", |_, phase, _| phase == PhaseName::Idle).await;
        watch(&instance, "all at rest", seconds).await;

        let under_way = &names[..names.len() / 4];
        for name in under_way {
            apply(&instance, name, "v2", services).await;
        }
        let half = Some(Weight::from_percent(50));
        until(&instance, "a quarter at its half", |name, _, weight| {
            !under_way.contains(name) || weight == half
        })
        .await;
        let stop = CancellationToken::new();
        for address in &addresses[..under_way.len()] {
            tokio::spawn(generate(LoadPlan::new(*address, RATE), stop.clone(), |_| {}));
        }
        watch(&instance, "a quarter under way", seconds).await;
        aborts(&instance, under_way).await;
        stop.cancel();
    });
}

/// A service that answers everything at once.
async fn service() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = service_fn(async |_| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    address
}

async fn apply(
    instance: &Instance,
    name: &Name,
    current: &str,
    [first, second]: [SocketAddr; 2],
) -> SocketAddr {
    let release =
        |revision: &str, at: SocketAddr| format!("{{ revision: {revision}, addresses: [ \"{at}\" ] }}");
    let text = format!(
        "apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {{ name: {name} }}
spec:
  workload: {{ upstream: {{ current: {current}, releases: [ {}, {} ] }} }}
  traffic: [ {{ proxy: {{ listen: [ {{ address: \"127.0.0.1:0\" }} ] }} }} ]
  strategy: {{ canary: {{ steps: [ {{ name: half, weight: 50%, pause: {{}} }} ] }} }}
",
        release("v1", first),
        release("v2", second),
    );
    let apply = Apply { text, path: format!("{name}.yaml"), base: "/".into(), dry_run: false };
    let applied = instance.client.apply(&apply).await.unwrap();
    let wrong: Vec<&str> =
        applied.findings.iter().filter(|it| it.is_error).map(|it| it.rendered.as_str()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    applied.rollouts[0].addresses[0].address
}

async fn until(instance: &Instance, what: &str, is: impl Fn(&Name, PhaseName, Option<Weight>) -> bool) {
    let begun = Instant::now();
    loop {
        let list = instance.client.rollouts().await.unwrap();
        if list.rollouts.iter().all(|it| is(&it.name, it.phase, it.weight.settled)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// How long an order takes among so many.
async fn aborts(instance: &Instance, names: &[Name]) {
    let mut took = vec![];
    for name in names.iter().take(20) {
        let order = NewOrder {
            id: None,
            action: Action::Abort,
            revision: None,
            attempt: None,
            step: None,
            reason: None,
            not_after: None,
        };
        let begun = Instant::now();
        assert!(instance.client.order(name, &order).await.unwrap().accepted);
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    println!(
        "\nan abort among them is answered after {:.1} ms in the median, {:.1} ms at most",
        crate::quantile(&took, 0.5),
        crate::quantile(&took, 1.0)
    );
}
