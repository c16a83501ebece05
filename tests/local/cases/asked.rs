use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use libtest_mimic::Trial;
use serinus::{
    api::view::{AnalysisView, DocumentChange, PhaseName},
    clock,
};
use strategies::{Cause, End};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::case;
use crate::rig::{Rig, document, eventually, good, kill};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("a_metric_that_somebody_else_is_asked_for_decides", decides),
        case("evidence_of_somebody_else_outlives_the_control_process", outlives),
    ]
}

/// A service that knows a number, and counters that rise by 100 a second since it began, one in a hundred of them bad.
#[derive(Clone)]
struct Source {
    address: std::net::SocketAddr,
    number: Arc<AtomicU64>,
    asked: Arc<AtomicU64>,
}

impl Source {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let it = Self { address, number: Arc::default(), asked: Arc::default() };
        let (source, began) = (it.clone(), clock::instant());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let source = source.clone();
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let read = stream.read(&mut request).await.unwrap_or_default();
                    let request = String::from_utf8_lossy(&request[..read]).into_owned();
                    assert!(!request.contains("$("), "every parameter is filled in: {request}");
                    source.asked.fetch_add(1, Ordering::Relaxed);
                    let total = 1_000 + began.elapsed().as_millis() as u64 / 10;
                    let (number, bad) = (source.number.load(Ordering::Relaxed), total / 100);
                    let body = format!(r#"{{"number":{number},"total":{total},"bad":{bad}}}"#);
                    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    // Whoever was killed does not listen.
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        it
    }

    /// A document whose second half waits for this metric.
    fn document(&self, version: &str, step: &str, metric: &str) -> String {
        let step = format!("[ {{ name: half, weight: 50%, {step} }} ]");
        let own = "  analyses: [ { name: own, templateRef: { name: own } } ]\n";
        let text = document(&good(version), &step, own);
        let address = self.address;
        format!(
            "{text}---\napiVersion: serinus.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{ name: own }}\nspec:\n  \
             metrics:\n    - {{ name: asked, every: 1s, {} }}\n",
            metric.replace("ADDRESS", &format!("http://{address}"))
        )
    }
}

async fn decides() {
    let rig = Rig::start().await;
    let source = Source::start().await;
    let metric = "judge: { threshold: { pass: \"result < 10.0\", count: 2 } }, provider: { web: { address: \"ADDRESS\", \
                  path: \"/of/$(canary.hash)?at=$(canary.pods)\", value: \"$.number\" } }";
    let text = |version: &str| source.document(version, "analyze: { for: 8s }", metric);
    rig.apply(&text("v1"), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    source.number.store(5, Ordering::Relaxed);
    rig.apply(&text("v2"), DocumentChange::NewRevision).await;
    let view = rig.until("the promotion", |it| it.phase == PhaseName::Idle && it.last.is_some()).await;
    assert_eq!(view.last.unwrap().end, End::Promoted);
    assert!(source.asked.load(Ordering::Relaxed) > 0, "nobody was asked");
    source.number.store(50, Ordering::Relaxed);
    rig.apply(&text("v3"), DocumentChange::NewRevision).await;
    let view = rig.until("the roll-back", |it| it.phase == PhaseName::RolledBack).await;
    assert!(matches!(view.cause, Some(Cause::Analysis { .. })), "{:?}", view.cause);
}

async fn outlives() {
    let rig = Rig::start().await;
    let source = Source::start().await;
    // More evidence than this test lasts: nothing is concluded.
    let metric = "judge: { sequential: { rollBack: { alpha: 1e-300 }, promote: { alpha: 1e-300 }, warmUp: 0s } }, \
                  provider: { web: { address: \"ADDRESS\", path: \"/of/$(arm.pods)\", bad: \"$.bad\", \
                  total: \"$.total\" } }";
    let text = |version: &str| source.document(version, "pause: {}", metric);
    rig.apply(&text("v1"), DocumentChange::Created).await;
    rig.until("the first version to serve", |it| it.phase == PhaseName::Idle).await;
    rig.apply(&text("v2"), DocumentChange::NewRevision).await;
    let own = |view: &serinus::api::view::RolloutView| -> Option<AnalysisView> {
        view.analyses.iter().find(|it| it.id.name.as_str() == "own").cloned()
    };
    let counted = |it: &AnalysisView| it.metrics[0].evidence.as_ref().map_or(0, |it| it.canary.total);
    let enough = |least: u64| move |it: &AnalysisView| counted(it) >= least;
    let view = rig.until("evidence", |it| own(it).is_some_and(|it| enough(700)(&it))).await;
    let before = own(&view).unwrap();
    kill(rig.control().await);
    eventually("the next control process", async || {
        rig.client.health().await.ok().filter(|it| it.control_restarts > 0)
    })
    .await;
    let begun = clock::instant();
    let view =
        rig.until("more evidence", |it| own(it).is_some_and(|it| enough(counted(&before) + 1)(&it))).await;
    let after = own(&view).unwrap();
    assert_eq!(after.since, before.since, "it was started over: {after:?}");
    // All that was counted while nobody looked, too: the counters say so.
    let seconds = begun.elapsed().as_secs_f64();
    let since = view.at.duration_since(after.since.unwrap()).as_secs_f64();
    let missing = 100.0 * since - counted(&after) as f64;
    assert!(missing < 100.0 * (3.0 + seconds), "{missing} of {since} s are missing");
}
