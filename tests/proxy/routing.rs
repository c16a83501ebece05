//! Who gets which request.

use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use serinus::local::proxy::{
    Condition, ListenerConfig, MatchConfig, Named, Routed, StickyConfig, Text, WHOLE,
};

use crate::rig::{Backend, Http1, Rig, arm, split};

async fn two() -> (Backend, Backend) {
    (Backend::saying("v1").await, Backend::saying("v2").await)
}

fn sticky() -> StickyConfig {
    StickyConfig { cookie: "who".into(), ttl_s: 3600, key: "a key of enough bytes".into(), attempt: 1 }
}

#[tokio::test]
async fn one_percent_of_ten_thousand_requests_is_one_hundred_and_not_every_hundredth() {
    let (stable, canary) = two().await;
    let mut rig = Rig::start(split(stable.address, canary.address, 10_000)).await;
    let mut client = Http1::connect(rig.address).await;
    let mut positions = Vec::new();
    for at in 0..10_000 {
        if client.get("/").await.text() == "v2" {
            positions.push(at % 100);
        }
    }
    assert!((99..=101).contains(&positions.len()), "{}", positions.len());
    assert!(positions.iter().collect::<BTreeSet<_>>().len() > 40, "{positions:?}");
    let snapshot =
        rig.until("all ended", |s| s.series.iter().map(|s| s.completed).sum::<u64>() == 10_000).await;
    let of = |revision: &str| snapshot.series.iter().find(|s| s.revision == revision).unwrap().clone();
    assert_eq!(of("v2").requests, positions.len() as u64);
    assert_eq!(of("v1").requests + of("v2").requests, 10_000);
    assert_eq!(of("v1").responses[1], of("v1").requests);
    assert_eq!(of("v1").latency.iter().sum::<u64>(), of("v1").completed);
    assert_eq!(of("v1").bytes_out, 2 * of("v1").requests);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_choices() {
    let (stable, canary) = two().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let rig = Rig::start(split(stable.address, canary.address, 300_000)).await;
        let mut client = Http1::connect(rig.address).await;
        let mut bodies = Vec::new();
        for _ in 0..300 {
            bodies.push(client.get("/").await.text().to_owned());
        }
        seen.push(bodies);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_match_goes_before_sticky_and_weight() {
    let (stable, canary) = two().await;
    let mut config = split(stable.address, canary.address, 0);
    config.sticky = Some(sticky());
    let header = Condition::Header(Named { name: "x-canary".into(), value: Text::Exact("1".into()) });
    let path = Condition::Path(Text::Regex("/beta/.*".into()));
    config.matches =
        vec![MatchConfig { id: "staff".into(), any_of: vec![vec![header], vec![path]], to: "canary".into() }];
    let mut rig = Rig::start(config).await;
    let mut client = Http1::connect(rig.address).await;
    assert_eq!(client.get("/").await.text(), "v1");
    assert_eq!(client.get("/beta/x").await.text(), "v2");
    let staff = Request::builder().uri("/").header("host", "shop").header("X-Canary", "1");
    assert_eq!(client.send(staff, "").await.text(), "v2");
    assert_eq!(rig.series("v2", Routed::Match).await.requests, 2);
    assert_eq!(rig.series("v2", Routed::Weight).await.requests, 0);
}

/// Asks once, with the cookie if there is one; returns the answer and the cookie to send next time.
async fn ask(client: &mut Http1, cookie: Option<&str>) -> (String, Option<String>) {
    let mut request = Request::builder().uri("/").header("host", "shop");
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    let got = client.send(request, "").await;
    let set = got.header("set-cookie").map(|value| value.split(';').next().unwrap().to_owned());
    (got.text().to_owned(), set)
}

#[tokio::test]
async fn a_sticky_client_stays_on_its_revision_and_is_counted_apart() {
    let (stable, canary) = two().await;
    let mut config = split(stable.address, canary.address, 500_000);
    config.sticky = Some(sticky());
    let mut rig = Rig::start(config).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..20 {
        let (first, cookie) = ask(&mut client, None).await;
        let cookie = cookie.expect("a new client is told its assignment");
        for _ in 0..5 {
            let (again, told) = ask(&mut client, Some(&cookie)).await;
            assert_eq!((again.as_str(), told), (first.as_str(), None));
        }
    }
    let snapshot = rig.counts().await;
    let sum = |routed| snapshot.series.iter().filter(|s| s.routed == routed).map(|s| s.requests).sum::<u64>();
    assert_eq!((sum(Routed::Weight), sum(Routed::Sticky)), (20, 100));
}

#[tokio::test]
async fn as_the_weight_rises_no_client_leaves_the_canary_and_some_join() {
    let (stable, canary) = two().await;
    let at = |ppm| ListenerConfig { sticky: Some(sticky()), ..split(stable.address, canary.address, ppm) };
    let mut rig = Rig::start(at(200_000)).await;
    let mut client = Http1::connect(rig.address).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(ask(&mut client, None).await);
    }
    let on_canary =
        |clients: &[(String, Option<String>)]| clients.iter().filter(|(body, _)| body == "v2").count();
    assert_eq!(on_canary(&clients), 20, "new clients have the exact share");
    for (ppm, least, most) in [(500_000, 35, 65), (WHOLE, 100, 100)] {
        rig.apply(at(ppm)).await;
        let mut now = Vec::new();
        for (before, cookie) in &clients {
            let (body, told) = ask(&mut client, cookie.as_deref()).await;
            assert!(!(before == "v2" && body == "v1"), "nobody goes back");
            assert_eq!(told.is_some(), *before != body, "told when moved, only then");
            now.push((body, told.or_else(|| cookie.clone())));
        }
        assert!((least..=most).contains(&on_canary(&now)), "{}", on_canary(&now));
        clients = now;
    }
}

#[tokio::test]
async fn a_forged_or_foreign_cookie_is_drawn_anew() {
    let (stable, canary) = two().await;
    let mut config = split(stable.address, canary.address, 500_000);
    config.sticky = Some(sticky());
    let mut rig = Rig::start(config.clone()).await;
    let mut client = Http1::connect(rig.address).await;
    let (_, cookie) = ask(&mut client, None).await;
    let cookie = cookie.unwrap();
    let forged = format!("{}A", &cookie[..cookie.len() - 1]);
    for bad in [forged.as_str(), "who=1.9999999999.0.djI.AAAA", "who=", "who=\"\""] {
        let (_, told) = ask(&mut client, Some(bad)).await;
        assert!(bad == cookie || told.is_some(), "{bad} was believed");
    }
    config.sticky = Some(StickyConfig { attempt: 2, ..sticky() });
    rig.apply(config).await;
    assert!(ask(&mut client, Some(&cookie)).await.1.is_some(), "a new attempt assigns anew");
}

#[tokio::test]
async fn clients_of_a_revision_that_is_gone_are_drawn_anew() {
    let (stable, canary) = two().await;
    let mut config = split(stable.address, canary.address, WHOLE);
    config.sticky = Some(sticky());
    let mut rig = Rig::start(config.clone()).await;
    let mut client = Http1::connect(rig.address).await;
    let (body, cookie) = ask(&mut client, None).await;
    assert_eq!(body, "v2");
    config.arms.remove("canary");
    config.split = BTreeMap::from([("stable".to_owned(), WHOLE)]);
    rig.apply(config).await;
    let (body, told) = ask(&mut client, cookie.as_deref()).await;
    assert_eq!(body, "v1");
    assert!(told.is_some());
}

#[tokio::test]
async fn a_mirrored_request_is_whole_marked_and_counted_apart() {
    use http_body_util::{BodyExt, Full};
    let stable = Backend::saying("v1").await;
    let (bodies, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    let shadow = Backend::with(move |request: Request<hyper::body::Incoming>| {
        let bodies = bodies.clone();
        async move {
            let marked = request.headers().contains_key("serinus-mirror");
            let body = request.into_body().collect().await.unwrap().to_bytes();
            bodies.send((marked, body)).unwrap();
            http::Response::builder().status(500).body(Full::from("dropped")).unwrap()
        }
    })
    .await;
    let mut config = split(stable.address, shadow.address, 0);
    config.mirrors = BTreeMap::from([("canary".to_owned(), WHOLE)]);
    config.limits.mirror_body = 1_000;
    let mut rig = Rig::start(config).await;
    let mut client = Http1::connect(rig.address).await;
    let post = || Request::builder().method("POST").uri("/x").header("host", "shop");
    assert_eq!(client.get("/").await.text(), "v1");
    assert_eq!(arrived.recv().await.unwrap(), (true, "".into()));
    assert_eq!(client.send(post(), "hello").await.text(), "v1");
    assert_eq!(arrived.recv().await.unwrap(), (true, "hello".into()));
    assert_eq!(client.send(post(), vec![b'x'; 1_001]).await.text(), "v1");
    let snapshot = rig
        .until("mirrors ended", |s| s.series.iter().any(|s| s.routed == Routed::Mirror && s.completed == 2))
        .await;
    assert_eq!(snapshot.listeners["web"].mirrors_skipped, 1, "a body beyond the bound is not mirrored");
    let mirrored = snapshot.series.iter().find(|s| s.routed == Routed::Mirror).unwrap();
    assert_eq!((mirrored.revision.as_str(), mirrored.errors.status), ("v2", 2));
    let users = snapshot.series.iter().find(|s| s.revision == "v1").unwrap();
    assert_eq!((users.requests, users.errors.total()), (3, 0));
}

#[tokio::test]
async fn three_arms_share_as_told() {
    let (one, two) = two().await;
    let three = Backend::saying("v3").await;
    let mut config = split(one.address, two.address, 200_000);
    config.arms.insert("third".to_owned(), arm("v3", &[three.address]));
    config.split.insert("stable".to_owned(), 500_000);
    config.split.insert("third".to_owned(), 300_000);
    let rig = Rig::start(config).await;
    let mut client = Http1::connect(rig.address).await;
    for _ in 0..1_000 {
        client.get("/").await;
    }
    assert_eq!((one.served(), two.served(), three.served()), (500, 200, 300));
}
