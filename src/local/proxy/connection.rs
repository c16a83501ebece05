//! One client connection: handshake, protocol, and driving it until it ends or is told to.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    client_io::{ClientIo, ConnState, Kick, Stream},
    forward::{Client, serve},
    http2::{NO_CONNECTION_WINDOW, SEND_BUFFER, STREAM_WINDOW},
    local_exec::LocalExec,
    worker::{Listener, Worker},
};
use crate::clock;

/// What an HTTP/2 client with prior knowledge sends first. Source: RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves one connection to its end.
pub(super) async fn run(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    state: Arc<ConnState>,
) {
    let serving = serve_connection(worker, listener, stream, peer, Arc::clone(&state));
    let mut serving = pin!(serving);
    // The handshake and the first bytes have no driver of their own that could be told to stop.
    poll_fn(|cx| {
        if state.kicked() == Kick::Cut {
            return Poll::Ready(());
        }
        state.driven_by(cx.waker());
        serving.as_mut().poll(cx)
    })
    .await;
}

async fn serve_connection(
    worker: Rc<Worker>,
    listener: Rc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    state: Arc<ConnState>,
) {
    let _ = stream.set_nodelay(true);
    let table = listener.table.borrow().clone();
    let tls = table.as_ref().and_then(|table| table.tls.clone());
    let limits = table.as_ref().map(|table| table.limits.clone()).unwrap_or_default();
    let Some(_place) = listener.place(peer.ip(), limits.connections_per_address) else { return };
    let (stream, ahead, is_http2) = match &tls {
        Some(tls) => {
            let Some(config) = tls.config(clock::instant()) else { return };
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            (Stream::Tls(Box::new(stream)), Bytes::new(), http2)
        }
        None => {
            let Some((stream, ahead, http2)) = read_ahead(stream).await else { return };
            (Stream::Plain(stream), ahead, http2)
        }
    };
    let io = TokioIo::new(ClientIo::new(stream, ahead, Arc::clone(&state)));
    let address = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
    let Ok(address) = address else { return };
    let client = Rc::new(Client { worker, listener, state: Arc::clone(&state), address, tls: tls.is_some() });
    let service = service_fn(move |request| serve(Rc::clone(&client), request));
    if is_http2 {
        state.speaks_http2();
        let mut builder = http2::Builder::new(LocalExec);
        builder.timer(TokioTimer::new());
        builder.max_concurrent_streams(limits.streams);
        builder.max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(NO_CONNECTION_WINDOW);
        builder.max_send_buf_size(SEND_BUFFER);
        drive(builder.serve_connection(io, service), &state).await;
    } else {
        let mut builder = http1::Builder::new();
        // No `pipeline_flush`: with it hyper drops its own answer to what it cannot parse.
        builder.max_buf_size(limits.header_bytes.max(8192));
        // With this number hyper counts in place, with any other it makes room anew for every head.
        if limits.headers != 100 {
            builder.max_headers(limits.headers);
        }
        drive(builder.serve_connection(io, service).with_upgrades(), &state).await;
    }
}

/// Reads until it is clear whether the client speaks HTTP/2; most often one read.
async fn read_ahead(mut stream: TcpStream) -> Option<(TcpStream, Bytes, bool)> {
    let mut ahead = BytesMut::with_capacity(4096);
    loop {
        let read = stream.read_buf(&mut ahead).await.ok()?;
        let n = ahead.len().min(PREFACE.len());
        let may_be = ahead[..n] == PREFACE[..n];
        if !may_be || n == PREFACE.len() {
            return Some((stream, ahead.freeze(), may_be));
        }
        if read == 0 {
            return None;
        }
    }
}

/// A connection that can be asked to end well.
trait Graceful: Future {
    fn end_well(self: Pin<&mut Self>);
}

macro_rules! graceful {
    ($connection:ty, [$($generics:tt)*], [$($bounds:tt)*]) => {
        impl<$($generics)*> Graceful for $connection where Self: Future, $($bounds)* {
            fn end_well(self: Pin<&mut Self>) {
                self.graceful_shutdown();
            }
        }
    };
}

graceful!(http1::UpgradeableConnection<I, S>, [I, S], [
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
]);
graceful!(http2::Connection<I, S, E>, [I, S, E], [
    S: hyper::service::HttpService<hyper::body::Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
]);

/// Polls a connection until it ends; how it ended is the client's business.
async fn drive<C: Graceful>(connection: C, state: &ConnState) {
    let mut connection = pin!(connection);
    let mut ending = false;
    poll_fn(|cx| {
        if state.kicked() == Kick::Graceful && !std::mem::replace(&mut ending, true) {
            connection.as_mut().end_well();
        }
        connection.as_mut().poll(cx).map(|_| ())
    })
    .await;
}
