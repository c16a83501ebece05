//! Orders to a worker.

use std::time::Duration;

use serinus::local::proxy::{BadStreak, ProxyConfig, Routed, WHOLE, WorkerCallError, WorkerClient};

use crate::rig::{Backend, Http1, PATIENCE, Rig, nobody, only, split};

#[tokio::test]
async fn an_applied_configuration_holds_for_the_next_request_on_an_old_connection() {
    let (stable, canary) = (Backend::saying("v1").await, Backend::saying("v2").await);
    let mut rig = Rig::start(split(stable.address, canary.address, 0)).await;
    let mut client = Http1::connect(rig.address).await;
    for round in 0..50 {
        assert_eq!(client.get("/").await.text(), if round % 2 == 0 { "v1" } else { "v2" });
        rig.apply(split(stable.address, canary.address, if round % 2 == 0 { WHOLE } else { 0 })).await;
    }
}

#[tokio::test]
async fn what_is_refused_of_one_socket_changes_nothing_there_and_holds_no_other_one_back() {
    let (v1, v2) = (Backend::saying("v1").await, Backend::saying("v2").await);
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (web, other) = (bind(), bind());
    let at = other.local_addr().unwrap();
    let sockets = vec![("web".to_owned(), web), ("other".to_owned(), other)];
    let config = |generation, web, other| ProxyConfig {
        generation,
        listeners: [("web".to_owned(), web), ("other".to_owned(), other)].into(),
    };
    let first = config(1, only(v1.address), only(v1.address));
    let mut rig = Rig::start_with(sockets, first, 0).await;
    let mut broken = only(v2.address);
    broken.split.insert("canary".to_owned(), 1);
    let refused = rig.control.apply(config(9, broken, only(v2.address))).await.unwrap_err();
    let WorkerCallError::Refused { generation: 9, reason, only: Some(named) } = refused else {
        panic!("{refused}")
    };
    assert!(reason.contains("1000001"), "{reason}");
    assert_eq!(named.into_keys().collect::<Vec<_>>(), ["web"]);
    assert_eq!(Http1::connect(rig.address).await.get("/").await.text(), "v1");
    assert_eq!(Http1::connect(at).await.get("/").await.text(), "v2");
    assert!(rig.counts().await.troubles["web"].contains("1000001"));
    let mended = config(10, only(v2.address), only(v2.address));
    assert_eq!(rig.control.apply(mended).await.unwrap(), 10);
    assert_eq!(Http1::connect(rig.address).await.get("/").await.text(), "v2");
    assert!(rig.counts().await.troubles.is_empty());
}

#[tokio::test]
async fn without_a_ready_backend_the_answer_says_so() {
    let rig = Rig::start(only(nobody())).await;
    let got = Http1::connect(rig.address).await.get("/").await;
    assert_eq!(got.head.status, 503);
    assert_eq!(got.header("serinus-proxy"), Some("no ready backend"));
    assert!(got.text().contains("no ready backend"));
}

#[tokio::test]
async fn a_bad_streak_is_pushed_before_anybody_asks() {
    let stable = Backend::saying("v1").await;
    let rig = Rig::start(split(stable.address, nobody(), 500_000)).await;
    let subscriber = WorkerClient::connect(&rig.socket, PATIENCE).await.unwrap();
    let mut streaks = subscriber.subscribe(BadStreak { failures: 5, within_ms: 60_000 }).await.unwrap();
    let mut client = Http1::connect(rig.address).await;
    let mut rescued = 0;
    let seen = loop {
        tokio::select! {
            seen = streaks.next() => break seen.unwrap(),
            got = client.get("/") => {
                assert_eq!(got.text(), "v1", "stable takes over what the canary was never sent");
                rescued += 1;
                assert!(rescued < 1_000, "never pushed");
            }
        }
    };
    assert_eq!((seen.listener.as_str(), seen.revision.as_str()), ("web", "v2"));
    let canary =
        seen.snapshot.series.iter().find(|s| s.revision == "v2" && s.routed == Routed::Weight).unwrap();
    assert!(canary.errors.connect >= 5);
    assert_eq!(canary.errors.connect, canary.completed);
}

#[tokio::test]
async fn nonsense_on_the_control_socket_is_answered_and_survived() {
    use std::io::{BufRead, BufReader, Write};
    let stable = Backend::saying("v1").await;
    let mut rig = Rig::start(only(stable.address)).await;
    let mut socket = std::os::unix::net::UnixStream::connect(&rig.socket).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(b"{\"apply\": 3}\n\xff\xfe\n\n[]\n\"health\"\n").unwrap();
    let lines: Vec<String> = BufReader::new(&socket).lines().take(5).map(Result::unwrap).collect();
    assert!(lines[..4].iter().all(|line| line.contains("unreadable")), "{lines:?}");
    assert!(lines[4].contains("\"health\""), "{lines:?}");
    assert!(rig.control.health().await.is_ok());
    tokio::time::timeout(Duration::from_secs(5), rig.control.counts()).await.unwrap().unwrap();
}
