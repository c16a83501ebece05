//! Any bytes at all, from clients and from backends: never a panic, and the next client is served.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use proptest::prelude::*;
use serinus::local::proxy::WHOLE;

use crate::rig::{Backend, Http1, Rig, arm, impatient, only};

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST /a?b=%zz HTTP/1.1\r\n",
        b"GET http://h/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: upgrade, host, te\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"Cookie: who=1.2.3.4; a==;;\r\n",
        b"TE: trailers\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 X\r\n",
        b"HTTP/1.0 500 \r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x01",
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",
        b"\x16\x03\x01\x00\x05hello",
    ]);
    let piece = prop_oneof![
        8 => words.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn say(address: SocketAddr, bytes: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(address) else { panic!("nobody accepts") };
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 256]);
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_of_a_client_stop_the_worker() {
    let backend = Backend::saying("v1").await;
    let rig = Rig::start(impatient(only(backend.address))).await;
    let address = rig.address;
    let fuzz = tokio::task::spawn_blocking(move || {
        proptest::test_runner::TestRunner::new(config()).run(&pieces(), |bytes| {
            say(address, &bytes);
            Ok(())
        })
    });
    fuzz.await.unwrap().unwrap();
    assert_eq!(Http1::connect(address).await.get("/").await.text(), "v1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_of_a_backend_stop_the_worker() {
    let good = Backend::saying("v1").await;
    let bad = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config_of_web = impatient(only(good.address));
    config_of_web.arms.insert("bad".to_owned(), arm("v2", &[bad.local_addr().unwrap()]));
    config_of_web.arms.get_mut("bad").unwrap().upstream = serinus::local::proxy::Upstream::Auto;
    config_of_web.split = [("stable".to_owned(), 0), ("bad".to_owned(), WHOLE)].into();
    config_of_web.timeouts.response_head_ms = 100;
    let mut rig = Rig::start(config_of_web).await;
    let address = rig.address;
    let fuzz = tokio::task::spawn_blocking(move || {
        proptest::test_runner::TestRunner::new(config()).run(&pieces(), |bytes| {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
            // The worker may use a connection it kept from the case before; then this one has nothing to accept.
            bad.set_nonblocking(true).unwrap();
            let mut backend = None;
            for _ in 0..20 {
                if let Ok((stream, _)) = bad.accept() {
                    backend = Some(stream);
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            if let Some(mut backend) = backend {
                backend.set_nonblocking(false).unwrap();
                let _ = backend.write_all(&bytes);
            }
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer);
            Ok(())
        })
    });
    fuzz.await.unwrap().unwrap();
    rig.apply(only(good.address)).await;
    assert_eq!(Http1::connect(address).await.get("/").await.text(), "v1");
}
