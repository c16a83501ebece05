//! Addresses that a source may and may not have: the table is the test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use analysis::provider::{
    AnyQuestion, Egress, Failure, InvalidSource, Memory, Names, PerArm, Polled, Prometheus, Refused, Source,
    SourceConfig, Span,
};
use jiff::Timestamp;

/// What comes of an address: it is refused as it is written, it is refused when its name is resolved, or it is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    AtOnce,
    WhenResolved,
    Tried,
}

use Fate::{AtOnce, Tried, WhenResolved};

/// Address; what comes of it for an operator, and for a tenant whom the operator lets write addresses of their own.
const TABLE: &[(&str, Fate, Fate)] = &[
    // Public.
    ("https://prometheus.example.com", Tried, Tried),
    ("https://93.184.216.34", Tried, Tried),
    ("https://[2606:2800:220:1::1]", Tried, Tried),
    ("https://prometheus.example.com/a/path?tenant=1", Tried, Tried),
    ("https://xn--bcher-kva.example", Tried, Tried),
    ("http://prometheus.example.com", Tried, AtOnce),
    ("https://prometheus.example.com:9090", Tried, AtOnce),
    ("https://prometheus.example.com:22", Tried, AtOnce),
    ("https://prometheus.example.com:0", AtOnce, AtOnce),
    // This machine.
    ("https://127.0.0.1", Tried, AtOnce),
    ("https://127.8.8.8", Tried, AtOnce),
    ("https://[::1]", Tried, AtOnce),
    ("https://localhost", Tried, WhenResolved),
    ("https://loopback.example.com", Tried, WhenResolved),
    ("https://0.0.0.0", AtOnce, AtOnce),
    ("https://[::]", AtOnce, AtOnce),
    ("https://[::ffff:127.0.0.1]", Tried, AtOnce),
    ("https://[::127.0.0.1]", Tried, AtOnce),
    ("https://[64:ff9b::127.0.0.1]", Tried, AtOnce),
    ("https://[2002:7f00:1::]", Tried, AtOnce),
    // Private networks.
    ("https://10.0.0.1", Tried, AtOnce),
    ("https://172.16.5.4", Tried, AtOnce),
    ("https://192.168.1.1", Tried, AtOnce),
    ("https://100.64.0.1", Tried, AtOnce),
    ("https://[fc00::1]", Tried, AtOnce),
    ("https://[fd12:3456::1]", Tried, AtOnce),
    ("https://[::ffff:10.0.0.1]", Tried, AtOnce),
    ("https://[2002:a00:1::]", Tried, AtOnce),
    ("https://internal.example.com", Tried, WhenResolved),
    // Metadata services and what is never right.
    ("https://169.254.169.254/latest/meta-data", AtOnce, AtOnce),
    ("http://169.254.169.254", AtOnce, AtOnce),
    ("https://169.254.170.2", AtOnce, AtOnce),
    ("https://[fe80::1]", AtOnce, AtOnce),
    ("https://[fd00:ec2::254]", AtOnce, AtOnce),
    ("https://100.100.100.200", AtOnce, AtOnce),
    ("https://192.0.0.192", AtOnce, AtOnce),
    ("https://168.63.129.16", AtOnce, AtOnce),
    ("https://[::ffff:169.254.169.254]", AtOnce, AtOnce),
    ("https://[64:ff9b::a9fe:a9fe]", AtOnce, AtOnce),
    ("https://[2002:a9fe:a9fe::1]", AtOnce, AtOnce),
    ("https://[2001:0:0:0:0:0:5601:5601]", AtOnce, AtOnce),
    ("https://metadata.example.com", WhenResolved, WhenResolved),
    ("https://alias-of-metadata.example.com", WhenResolved, WhenResolved),
    ("https://good-and-bad.example.com", WhenResolved, WhenResolved),
    ("https://224.0.0.1", AtOnce, AtOnce),
    ("https://255.255.255.255", AtOnce, AtOnce),
    ("https://240.0.0.1", AtOnce, AtOnce),
    ("https://[ff02::1]", AtOnce, AtOnce),
    ("https://nowhere.example.com", WhenResolved, WhenResolved),
    // Other ways to write an address.
    ("https://2130706433", AtOnce, AtOnce),
    ("https://0x7f000001", AtOnce, AtOnce),
    ("https://0x7f.0.0.1", AtOnce, AtOnce),
    ("https://0177.0.0.1", AtOnce, AtOnce),
    ("https://127.1", AtOnce, AtOnce),
    ("https://10.1", AtOnce, AtOnce),
    ("https://2852039166", AtOnce, AtOnce),
    ("https://prometheus.example.com.", AtOnce, AtOnce),
    ("https://localhost.", AtOnce, AtOnce),
    ("https://127.0.0.1.", AtOnce, AtOnce),
    ("https://bücher.example", AtOnce, AtOnce),
    ("https://①②⑦.⓪.⓪.①", AtOnce, AtOnce),
    ("https://prom%65theus.example.com", AtOnce, AtOnce),
    ("https://%31%32%37.0.0.1", AtOnce, AtOnce),
    // Names, passwords, and characters that split a request.
    ("https://user@prometheus.example.com", AtOnce, AtOnce),
    ("https://user:password@prometheus.example.com", AtOnce, AtOnce),
    ("https://prometheus.example.com@169.254.169.254", AtOnce, AtOnce),
    ("https://prometheus.example.com#@169.254.169.254", AtOnce, AtOnce),
    ("https://prometheus.example.com/\r\nx: y", AtOnce, AtOnce),
    ("https://prometheus.example.com\r\n", AtOnce, AtOnce),
    ("https://prom\tetheus.example.com", AtOnce, AtOnce),
    (" https://prometheus.example.com", AtOnce, AtOnce),
    ("https://prometheus.example.com\\@169.254.169.254", AtOnce, AtOnce),
    ("https:\\\\169.254.169.254", AtOnce, AtOnce),
    ("https:///169.254.169.254", AtOnce, AtOnce),
    // Other protocols.
    ("file:///etc/passwd", AtOnce, AtOnce),
    ("unix:///var/run/docker.sock", AtOnce, AtOnce),
    ("gopher://prometheus.example.com", AtOnce, AtOnce),
    ("ftp://prometheus.example.com", AtOnce, AtOnce),
    ("data:application/json,{}", AtOnce, AtOnce),
    ("//prometheus.example.com", AtOnce, AtOnce),
    ("prometheus.example.com", AtOnce, AtOnce),
    ("", AtOnce, AtOnce),
];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers that never lead to a connection: those let through end at an address for documentation only where it says
/// so, and at this machine's port 1 else.
fn names() -> Names {
    let metadata = vec![vec![ip("169.254.169.254")]];
    Names::listed([
        ("localhost", vec![vec![ip("127.0.0.1")]]),
        ("loopback.example.com", vec![vec![ip("127.0.0.1"), ip("::1")]]),
        ("internal.example.com", vec![vec![ip("10.20.30.40")]]),
        ("metadata.example.com", metadata.clone()),
        ("alias-of-metadata.example.com", metadata),
        ("good-and-bad.example.com", vec![vec![ip("93.184.216.34"), ip("169.254.169.254")]]),
    ])
}

fn source(address: &str, egress: &Egress, names: Names) -> Result<Source, InvalidSource> {
    let mut config = SourceConfig::new(address);
    config.egress = egress.clone();
    config.names = names;
    config.limits.timeout = Duration::from_secs(20);
    Source::new(config)
}

async fn ask(source: &Source) -> Option<Failure> {
    let canary = AnyQuestion::Prometheus(Prometheus::Query("up".to_owned()));
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let span = Span { began: at, from: at, to: at };
    let question = PerArm { canary, baseline: None };
    match question.poll(Some(source), span, None, &mut [Memory::default(), Memory::default()]).await {
        Polled::Poll(_, failure) => failure,
        Polled::NothingNew => None,
    }
}

#[track_caller]
fn check(address: &str, egress: &Egress, expected: Fate) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let got = match egress.url(address) {
        Err(_) => AtOnce,
        // What is public is not connected to in a test: that its text and its address are let through is enough.
        Ok(url) if url.host_str().is_some_and(|it| !it.ends_with("example.com") && it != "localhost") => {
            Tried
        }
        Ok(_)
            if ["https://prometheus.example.com", "http://prometheus.example.com"]
                .iter()
                .any(|it| address.starts_with(it)) =>
        {
            Tried
        }
        Ok(_) if address.starts_with("https://internal") && egress.private => Tried,
        Ok(_) => match runtime.block_on(ask(&source(address, egress, names()).unwrap())) {
            Some(Failure::Egress(_)) => WhenResolved,
            _ => Tried,
        },
    };
    assert_eq!(got, expected, "{address:?} {egress:?}");
    if got == AtOnce {
        assert!(matches!(source(address, egress, names()), Err(InvalidSource::Address(_))), "{address:?}");
    }
}

#[test]
fn an_operator_may_name_any_network_of_theirs_and_no_metadata_service() {
    for (address, operator, _) in TABLE {
        check(address, &Egress::of_operator(), *operator);
    }
}

#[test]
fn a_trusted_tenant_may_name_what_everybody_can_reach() {
    for (address, _, tenant) in TABLE {
        check(address, &Egress::of_trusted_tenant(), *tenant);
    }
}

#[test]
fn a_tenant_may_name_nothing_by_default() {
    for (address, ..) in TABLE {
        let egress = Egress::of_tenant();
        let refused = egress.url(address).is_err()
            || [ip("93.184.216.34"), ip("10.0.0.1"), ip("127.0.0.1"), ip("2606:2800:220:1::1")]
                .iter()
                .all(|it| egress.address(*it, Some(443)) == Err(Refused::Address(*it)));
        assert!(refused, "{address:?}");
    }
}

#[test]
fn an_address_that_is_never_allowed_is_refused_by_name_and_by_number() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api_server: SocketAddr = listener.local_addr().unwrap();
    let egress = Egress { never: vec![api_server], ..Egress::of_operator() };
    let port = api_server.port();
    assert_eq!(egress.url(&format!("http://127.0.0.1:{port}")), Err(Refused::Address(ip("127.0.0.1"))));
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}");
    assert!(matches!(egress.url(&mapped), Err(Refused::Address(_))), "{mapped}");
    assert!(egress.url(&format!("http://127.0.0.1:{}", port ^ 1)).is_ok());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let source = source(&format!("http://localhost:{port}"), &egress, names()).unwrap();
    assert_eq!(runtime.block_on(ask(&source)), Some(Failure::Egress(Refused::Address(ip("127.0.0.1")))));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn a_name_that_changes_its_answer_is_tested_at_every_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The first answer is harmless (and nobody listens there), the second is not.
    let names =
        Names::listed([("rebound.example.com", vec![vec![ip("127.0.0.9")], vec![ip("169.254.169.254")]])]);
    let egress = Egress::of_operator();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let source = source(&format!("http://rebound.example.com:{port}"), &egress, names).unwrap();
    assert_eq!(
        runtime.block_on(ask(&source)),
        Some(Failure::Egress(Refused::Address(ip("169.254.169.254"))))
    );
}
