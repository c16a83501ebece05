//! TLS: both protocols by ALPN, and certificates that change while serving.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use serinus::local::proxy::{ListenerConfig, Protocol, ProxyConfig};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::rig::{Backend, PATIENCE, Rig, only};

/// Writes a new certificate and its key; returns the certificate.
fn certificate(dir: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).unwrap();
    for (name, text) in [("key.pem", made.signing_key.serialize_pem()), ("cert.pem", made.cert.pem())] {
        // As a certificate manager does: whole files, moved into place.
        let new = dir.join(format!("{name}.new"));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, dir.join(name)).unwrap();
    }
    made.cert.der().clone()
}

async fn connect(
    rig: &Rig,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    connect_to(rig.address, trusted, protocols).await
}

async fn connect_to(
    address: std::net::SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("shop.test").unwrap(), stream).await
}

async fn rig(dir: &Path) -> (Backend, Rig) {
    let backend = Backend::saying("v1").await;
    let protocol = Protocol::Tls { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    let rig = Rig::start(ListenerConfig { protocol, ..only(backend.address) }).await;
    (backend, rig)
}

#[tokio::test]
async fn both_protocols_are_served_as_negotiated() {
    let dir = tempfile::tempdir().unwrap();
    let trusted = certificate(dir.path());
    let (backend, rig) = rig(dir.path()).await;
    let stream = connect(&rig, &trusted, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().uri("https://shop.test/").body(Full::<Bytes>::default()).unwrap();
    let got = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(got, "v1");
    for offered in [&["http/1.1"][..], &[]] {
        let stream = connect(&rig, &trusted, offered).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request =
            Request::builder().uri("/").header("host", "shop.test").body(Full::<Bytes>::default()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        assert_eq!(backend.last_head().headers["x-forwarded-proto"], "https");
    }
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let first = certificate(dir.path());
    let (_backend, rig) = rig(dir.path()).await;
    let old = connect(&rig, &first, &[]).await.unwrap();
    let second = certificate(dir.path());
    let renewed = async {
        while connect(&rig, &second, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the new certificate");
    assert!(connect(&rig, &first, &[]).await.is_err());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(old)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::builder().uri("/").header("host", "shop.test").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200, "old connections live on");
    std::fs::write(dir.path().join("cert.pem"), "-----BEGIN CERTIFICATE-----\nnonsense").unwrap();
    // Longer than the interval at which the files are looked at.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        connect(&rig, &second, &[]).await.expect("the last good certificate stays");
    }
}

/// A worker with a plain socket `web` and one `tls` whose files are in `dir`, whatever they hold.
async fn both(dir: &Path, v1: &Backend) -> (Rig, std::net::SocketAddr) {
    let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (web, tls) = (bind(), bind());
    let address = tls.local_addr().unwrap();
    let sockets = vec![("web".to_owned(), web), ("tls".to_owned(), tls)];
    (Rig::start_with(sockets, config(1, dir, v1), 0).await, address)
}

fn config(generation: u64, dir: &Path, backend: &Backend) -> ProxyConfig {
    let protocol = Protocol::Tls { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    let tls = ListenerConfig { protocol, ..only(backend.address) };
    ProxyConfig {
        generation,
        listeners: [("web".to_owned(), only(backend.address)), ("tls".to_owned(), tls)].into(),
    }
}

#[tokio::test]
async fn a_worker_that_starts_with_a_bad_certificate_serves_the_others_and_the_mended_one_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::saying("v1").await;
    let (mut rig, tls) = both(dir.path(), &backend).await;
    assert_eq!(crate::rig::Http1::connect(rig.address).await.get("/").await.text(), "v1");
    let trouble = rig.counts().await.troubles.remove("tls").unwrap();
    assert!(trouble.contains("cert.pem") && trouble.contains("nobody can be served"), "{trouble}");
    assert!(!rig.control.health().await.unwrap().troubles.contains_key("web"));
    let trusted = certificate(dir.path());
    let mended = async {
        while connect_to(tls, &trusted, &[]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, mended).await.expect("the mended certificate");
    assert_eq!(rig.counts().await.troubles, BTreeMap::new());
}

#[tokio::test]
async fn while_a_certificate_is_bad_its_own_split_is_applied_too() {
    let dir = tempfile::tempdir().unwrap();
    let trusted = certificate(dir.path());
    let (v1, v2) = (Backend::saying("v1").await, Backend::saying("v2").await);
    let (mut rig, tls) = both(dir.path(), &v1).await;
    connect_to(tls, &trusted, &[]).await.expect("the good one");
    // As a renewal that is half done: the certificate is new, the key is not.
    let other = tempfile::tempdir().unwrap();
    certificate(other.path());
    std::fs::copy(other.path().join("cert.pem"), dir.path().join("cert.pem")).unwrap();
    assert_eq!(rig.control.apply(config(2, dir.path(), &v2)).await.unwrap(), 2);
    assert_eq!(crate::rig::Http1::connect(rig.address).await.get("/").await.text(), "v2");
    let stream = connect_to(tls, &trusted, &[]).await.expect("the last good certificate");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::builder().uri("/").header("host", "shop.test").body(Full::<Bytes>::default()).unwrap();
    let got = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(got, "v2");
    let trouble = rig.counts().await.troubles.remove("tls").unwrap();
    assert!(trouble.contains("key.pem does not belong to the certificate"), "{trouble}");
    assert!(trouble.contains("the one read before is served"), "{trouble}");
}
