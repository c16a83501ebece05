//! A service that answers as its words say, on `PORT`: `service [status CODE] [grpc CODE] [leak MIB_PER_S]`.

use std::{convert::Infallible, net::Ipv4Addr, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::StreamBody;
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

/// What it does with every request, and beside them.
#[derive(Clone, Copy)]
enum Says {
    Status(u16),
    /// Over HTTP/2, with HTTP status 200 and this code in the trailers.
    Grpc(&'static str),
    /// 200, and so many MiB more each second.
    Leaks(usize),
}

/// Plays the service until it is killed, if the arguments name it.
pub(crate) fn play(arguments: &[String]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let says = match words.as_slice() {
        ["service", "status", code] => Says::Status(code.parse().unwrap()),
        ["service", "grpc", code] => Says::Grpc((*code).to_owned().leak()),
        ["service", "leak", rate] => Says::Leaks(rate.parse().unwrap()),
        _ => return None,
    };
    if let Says::Leaks(rate) = says {
        std::thread::spawn(move || leak(rate));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Some(runtime.block_on(accept(says)))
}

fn leak(mib_per_s: usize) {
    let mut all: Vec<Vec<u8>> = vec![];
    loop {
        // Touched, or it is only promised.
        all.push(vec![1; mib_per_s << 16]);
        std::thread::sleep(Duration::from_millis(62));
    }
}

async fn accept(says: Says) -> ExitCode {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let service =
            service_fn(move |_: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(says.answer())));
        let io = TokioIo::new(stream);
        match says {
            Says::Grpc(_) => {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(async move { drop(builder.serve_connection(io, service).await) });
            }
            Says::Status(_) | Says::Leaks(_) => {
                let connection = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
                tokio::spawn(async move { drop(connection.await) });
            }
        }
    }
}

type Frames = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

impl Says {
    fn answer(self) -> Response<Frames> {
        let (status, kind, trailer) = match self {
            Self::Status(code) => (code, "text/plain", None),
            Self::Leaks(_) => (200, "text/plain", None),
            Self::Grpc(code) => (200, "application/grpc", Some(code)),
        };
        let mut frames = vec![Ok(Frame::data(Bytes::from_static(b"\0\0\0\0\0")))];
        frames.extend(trailer.map(|code| {
            let name = HeaderName::from_static("grpc-status");
            Ok(Frame::trailers(HeaderMap::from_iter([(name, HeaderValue::from_static(code))])))
        }));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Response::builder().status(status).header("content-type", kind).body(body).unwrap()
    }
}
