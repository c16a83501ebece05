//! The small real HTTP service of the demo. It misbehaves exactly as its command line says, and nobody but its
//! command line knows.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    io::{self, Write as _},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, LogNormal};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// First word of every body the service sends, success or failure; the version follows.
pub const SAMPLE_TOKEN: &str = "serinus-sample";

/// Exit status of a deliberate crash.
pub const CRASH_STATUS: i32 = 70;

/// Standard deviation of the logarithm of times to answer, as services behind a network were measured to have.
const SPREAD: f64 = 0.7;

/// Command line of the sample service.
#[derive(Clone, Debug, clap::Args)]
pub struct SampleArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one and prints it.
    #[arg(long, env = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Text in every body, after the token.
    #[arg(long, default_value = "v1")]
    pub version: String,
    /// Share of requests answered 500, `0 ..= 1` or a percentage.
    #[arg(long, default_value = "0", value_parser = share)]
    pub error_rate: f64,
    /// Median time to answer; single requests take log-normal times around it, one in a hundred five times as long.
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    pub latency: Duration,
    /// Dies at once instead of listening.
    #[arg(long)]
    pub crash_at_start: bool,
    /// Dies in the middle of this request, counted from 1.
    #[arg(long)]
    pub crash_at_request: Option<u64>,
    /// Dies so long after its start.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub crash_after: Option<Duration>,
    /// Answers its health check with 503 for so long after its start.
    #[arg(long, default_value = "0ms", value_parser = humantime::parse_duration)]
    pub ready_after: Duration,
    /// Seeds which requests fail and how long each takes.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Longest time to finish requests in flight after SIGTERM.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub grace: Duration,
}

fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map(|number| number / scale);
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share from 0 to 1, or 0% to 100%".to_owned())
}

/// The sample service could not run.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// It could not listen.
    #[error("sample service can't listen on {address}; choose another --port")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its runtime could not be set up.
    #[error("sample service can't set up its runtime")]
    Runtime(#[source] io::Error),
    /// It crashed, as it was told to; end the process with [`CRASH_STATUS`].
    #[error("crashed as told to")]
    Crashed,
}

struct Sample {
    args: SampleArgs,
    random: RefCell<ChaCha8Rng>,
    /// Times to answer, as multiples of the median.
    paces: LogNormal,
    served: Cell<u64>,
    ready: Cell<bool>,
    crash: watch::Sender<bool>,
    stop: watch::Sender<bool>,
}

/// Runs the service until SIGTERM, printing `listening on ADDRESS` once it takes requests. Blocks.
///
/// `GET /healthz` is its health check; every other path answers with a body `serinus-sample VERSION`.
///
/// # Errors
/// [`SampleError::Crashed`] when its arguments say so: the caller ends the process, which resets connections.
pub fn run_sample(args: SampleArgs) -> Result<(), SampleError> {
    if args.crash_at_start {
        return Err(SampleError::Crashed);
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(SampleError::Runtime)?;
    let address = SocketAddr::new(args.host, args.port);
    let local = tokio::task::LocalSet::new();
    let ended = local.block_on(&runtime, async move {
        let listener =
            TcpListener::bind(address).await.map_err(|source| SampleError::Listen { address, source })?;
        let bound = listener.local_addr().unwrap_or(address);
        // Whether anybody reads it is not this service's concern.
        let _ = writeln!(io::stdout(), "listening on {bound}");
        serve(args, listener).await
    });
    runtime.shutdown_background();
    ended
}

async fn serve(args: SampleArgs, listener: TcpListener) -> Result<(), SampleError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(SampleError::Runtime)?;
    let grace = args.grace;
    let sample = Rc::new(Sample {
        random: RefCell::new(ChaCha8Rng::seed_from_u64(args.seed)),
        paces: LogNormal::new(0.0, SPREAD).unwrap_or_else(|why| unreachable!("{SPREAD}: {why}")),
        served: Cell::new(0),
        ready: Cell::new(args.ready_after.is_zero()),
        crash: watch::Sender::new(false),
        stop: watch::Sender::new(false),
        args,
    });
    let mut crashed = sample.crash.subscribe();
    let clocks = Rc::clone(&sample);
    tokio::task::spawn_local(async move { clocks.clocks().await });
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    connections.spawn_local(connection(Rc::clone(&sample), stream));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = terminate.recv() => break,
            _ = crashed.changed() => return Err(SampleError::Crashed),
        }
    }
    drop(listener);
    sample.stop.send_replace(true);
    let finished = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        _ = tokio::time::timeout(grace, finished) => Ok(()),
        _ = crashed.changed() => Err(SampleError::Crashed),
    }
}

async fn connection(sample: Rc<Sample>, stream: tokio::net::TcpStream) {
    let mut stop = sample.stop.subscribe();
    let service = service_fn(move |request| answer(Rc::clone(&sample), request));
    let connection =
        http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

impl Sample {
    async fn clocks(&self) {
        let ready = async {
            tokio::time::sleep(self.args.ready_after).await;
            self.ready.set(true);
        };
        let crash = async {
            if let Some(after) = self.args.crash_after {
                tokio::time::sleep(after).await;
                self.crash.send_replace(true);
            }
        };
        tokio::join!(ready, crash);
    }

    /// Whether the next request fails, and how long it takes.
    fn next(&self) -> (bool, Duration) {
        let mut random = self.random.borrow_mut();
        let (failing, pace): (f64, f64) = (random.random(), random.random());
        (failing < self.args.error_rate, self.args.latency.mul_f64(self.paces.inverse_cdf(pace)))
    }
}

async fn answer(sample: Rc<Sample>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let version = &sample.args.version;
    if request.uri().path() == "/healthz" {
        let status = if sample.ready.get() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return Ok(respond(status, format!("{SAMPLE_TOKEN} {version} health\n")));
    }
    sample.served.set(sample.served.get() + 1);
    if sample.args.crash_at_request == Some(sample.served.get()) {
        sample.crash.send_replace(true);
        std::future::pending::<()>().await;
    }
    let (fails, takes) = sample.next();
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
    let status = if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    Ok(respond(status, format!("{SAMPLE_TOKEN} {version}\n")))
}

fn respond(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_fraction_or_a_percentage() {
        assert_eq!(share("0.5"), Ok(0.5));
        assert_eq!(share("5%"), Ok(0.05));
        for bad in ["", "2", "-1", "101%", "x", "NaN"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
