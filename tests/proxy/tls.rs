//! TLS: both protocols by ALPN, and certificates that change while serving.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use serinus::local::proxy::{ListenerConfig, Protocol};
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
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(rig.address).await?;
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

#[tokio::test]
async fn a_worker_that_starts_with_a_broken_certificate_still_starts() {
    let backend = Backend::saying("v1").await;
    let protocol = Protocol::Tls { certificate: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
    let mut rig = Rig::start(ListenerConfig { protocol, ..only(backend.address) }).await;
    assert_eq!(rig.control.health().await.unwrap().generation, None);
    assert_eq!(crate::rig::Http1::connect(rig.address).await.get("/").await.head.status, 503);
    rig.apply(only(backend.address)).await;
    assert_eq!(crate::rig::Http1::connect(rig.address).await.get("/").await.text(), "v1");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_refuses_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let (backend, mut rig) = rig(dir.path()).await;
    let protocol =
        Protocol::Tls { certificate: dir.path().join("none.pem"), key: dir.path().join("key.pem") };
    let web = ListenerConfig { protocol, ..only(backend.address) };
    let config =
        serinus::local::proxy::ProxyConfig { generation: 5, listeners: [("web".to_owned(), web)].into() };
    let refused = rig.control.apply(config).await.unwrap_err().to_string();
    assert!(refused.contains("none.pem"), "{refused}");
}
