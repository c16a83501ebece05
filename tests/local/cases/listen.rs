//! Sockets, certificates and limits of the product as it is run.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use libtest_mimic::Trial;
use serinus::api::view::{PhaseName, RolloutView};

use super::case;
use crate::{
    product::{PLAIN, PROGRAM, Product, document, get, serves, upstream},
    rig::{eventually, kill},
};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("one_bad_certificate_holds_nobody_else_back_and_is_named", bad_certificate),
        case("a_key_of_another_pair_is_named_when_the_document_is_read", foreign_key),
        case("a_changed_address_takes_effect_and_so_does_the_way_back", moved),
        case("an_address_that_another_program_has_taken_holds_no_other_one_back", taken),
        case("more_clients_than_open_files_end_nothing_and_are_shown", exhausted),
        case("parts_may_open_what_the_system_allows_and_services_begin_as_usual", limits),
    ]
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn pair(directory: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(directory.join(format!("{name}.crt")), made.cert.pem()).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
}

fn tls(plain: SocketAddr, secure: SocketAddr, certificate: &str, key: &str) -> String {
    format!(
        "[ {{ address: \"{plain}\" }}, {{ address: \"{secure}\", tls: {{ certificate: {certificate}, key: {key} }} }} ]"
    )
}

fn has_trouble(view: &RolloutView, text: &str) -> bool {
    view.troubles.iter().any(|it| it.text.contains(text))
}

async fn bad_certificate() {
    let (directory, releases) = (tempfile::tempdir().unwrap(), [upstream(), upstream()]);
    let (plain, secure) = (free(), free());
    pair(directory.path(), "one");
    let listen = tls(plain, secure, "one.crt", "one.key");
    let product = Product::run_in(directory, &document("v1", releases, &listen), |_| {});
    serves(plain).await;
    let certificate = product.directory.path().join("one.crt");
    let good = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, "garbage\n").unwrap();
    // What runs keeps the good one; what begins has none. Neither keeps the plain socket down.
    product.until("the trouble", |it| has_trouble(it, "one.crt")).await;
    assert!(product.say(&["status"]).contains("one.crt"));
    kill(product.observe().await.workers[0].pid.unwrap());
    serves(plain).await;
    // A whole release goes through meanwhile: its split counts as settled.
    product.apply(&document("v2", releases, &listen)).await;
    let done = |it: &RolloutView| {
        it.phase == PhaseName::Idle && it.stable.as_ref().is_some_and(|it| it.as_str() == "v2")
    };
    let view = product.until("version 2 as stable", done).await;
    assert!(has_trouble(&view, "one.crt"), "{:?}", view.troubles);
    let health = product.health().await;
    assert!(health.workers.iter().any(|it| it.trouble.as_ref().is_some_and(|it| it.contains("one.crt"))));
    std::fs::write(&certificate, good).unwrap();
    product.until("an end of the trouble", |it| it.troubles.is_empty()).await;
}

async fn foreign_key() {
    let (directory, releases) = (tempfile::tempdir().unwrap(), [upstream(), upstream()]);
    let (plain, secure) = (free(), free());
    for name in ["one", "two"] {
        pair(directory.path(), name);
    }
    let good = document("v1", releases, &tls(plain, secure, "one.crt", "one.key"));
    let bad = document("v1", releases, &tls(plain, secure, "one.crt", "two.key"));
    let product = Product::run_in(directory, &good, |_| {});
    serves(plain).await;
    let why = product.try_apply(&bad).await.unwrap_err();
    assert!(why.contains("two.key does not belong to the certificate"), "{why}");
    let path = product.directory.path().join("bad.yaml");
    std::fs::write(&path, &bad).unwrap();
    let lint = Command::new(PROGRAM).arg("lint").arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&lint.stdout);
    assert!(
        !lint.status.success() && said.contains("does not belong") && said.contains("bad.yaml:"),
        "{said}"
    );
    // Where the files are not there, nothing can be said about them.
    std::fs::remove_file(product.directory.path().join("two.key")).unwrap();
    let lint = Command::new(PROGRAM).arg("lint").arg(&path).output().unwrap();
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    // What was there before may be in the middle of its renewal: that refuses nothing.
    std::fs::write(product.directory.path().join("one.key"), "").unwrap();
    product.apply(&document("v2", releases, &tls(plain, secure, "one.crt", "one.key"))).await;
}

async fn moved() {
    let releases = [upstream(), upstream()];
    let (one, two, three) = (free(), free(), free());
    let at = |first: SocketAddr, second: SocketAddr| {
        let listen = format!("[ {{ address: \"{first}\" }}, {{ address: \"{second}\" }} ]");
        document("v1", releases, &listen)
    };
    let product = Product::run(&at(one, two), |_| {}).await;
    serves(one).await;
    for (now, gone) in [(at(three, two), one), (at(one, two), three), (at(two, one), three)] {
        product.apply(&now).await;
        eventually("the old address closed", async || get(gone).is_err().then_some(())).await;
        let here = if gone == one { [three, two] } else { [one, two] };
        for address in here {
            serves(address).await;
            for _ in 0..10 {
                assert_eq!(get(address).unwrap(), 200);
            }
        }
    }
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let why = product.try_apply(&at(other.local_addr().unwrap(), two)).await.unwrap_err();
    assert!(why.contains("another program listens there"), "{why}");
    assert_eq!(get(one).unwrap(), 200);
}

async fn taken() {
    let (directory, releases) = (tempfile::tempdir().unwrap(), [upstream(), upstream()]);
    let (one, two) = (free(), free());
    let listen = format!("[ {{ address: \"{one}\" }}, {{ address: \"{two}\" }} ]");
    let mut product = Product::run_in(directory, &document("v1", releases, &listen), |_| {});
    serves(one).await;
    assert!(product.end().await.success());
    let other = TcpListener::bind(two).unwrap();
    let product = product.again();
    serves(one).await;
    product.until("the trouble", |it| has_trouble(it, "another program listens there")).await;
    drop(other);
    serves(two).await;
    product.until("an end of the trouble", |it| it.troubles.is_empty()).await;
}

async fn exhausted() {
    let releases = [upstream(), upstream()];
    let few = |it: &mut Command| {
        let words: Vec<_> = it.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n 128; exec \"$@\"", "sh", PROGRAM]).args(words);
        limited.current_dir(it.get_current_dir().unwrap());
        limited.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        *it = limited;
    };
    let product = Product::run(&document("v1", releases, PLAIN), few).await;
    let address = product.view().await.addresses[0].address;
    serves(address).await;
    let mut clients: Vec<TcpStream> = vec![];
    for _ in 0..200 {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"GET ").unwrap();
        clients.push(client);
    }
    product.until("the trouble", |it| has_trouble(it, "connections cannot be accepted")).await;
    drop(clients);
    serves(address).await;
    product.until("an end of the trouble", |it| it.troubles.is_empty()).await;
    for _ in 0..10 {
        assert_eq!(get(address).unwrap(), 200);
    }
    assert_eq!(product.health().await.control_restarts, 0);
}

async fn limits() {
    let release = upstream();
    let usual = |it: &mut Command| {
        let words: Vec<_> = it.get_args().map(std::ffi::OsStr::to_owned).collect();
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -Sn 1000; ulimit -Hn 4096; exec \"$@\"", "sh", PROGRAM]).args(words);
        limited.current_dir(it.get_current_dir().unwrap());
        limited.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        *it = limited;
    };
    let text = document("v1", [release, release], PLAIN);
    let (before, rest) = text.split_once("    upstream:").unwrap();
    let (_, after) = rest.split_once("  traffic:").unwrap();
    let process = format!(
        "{before}    process: {{ command: [ \"{PROGRAM}\", internal, sample, --version, v1, --port, \"$(port)\" ], files: [] }}\n  traffic:{after}"
    );
    let product = Product::run(&process, usual).await;
    let seen = eventually("a process that runs", async || {
        Some(product.observe().await).filter(|it| it.processes.iter().any(|it| it.pid.is_some()))
    })
    .await;
    let of = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let line = text.lines().find(|it| it.starts_with("Max open files")).unwrap_or_default().to_owned();
        line.split_whitespace().skip(3).take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(of(seen.workers[0].pid.unwrap()), "4096 4096");
    assert_eq!(of(product.health().await.control_pid), "4096 4096");
    assert_eq!(of(seen.supervisor.pid), "4096 4096");
    let service = seen.processes[0].pid.unwrap();
    // Until the shim has become it.
    eventually("the limit of a service", async || (of(service) == "1000 4096").then_some(())).await;
    tokio::time::timeout(Duration::from_secs(20), serves(product.view().await.addresses[0].address))
        .await
        .unwrap();
}
