//! One request through the proxy: pick an arm, send, pass the answer back.

use std::{convert::Infallible, net::SocketAddr, rc::Rc, sync::Arc, time::Instant};

use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, SET_COOKIE},
};
use hyper::{
    body::{Body, Incoming},
    upgrade::OnUpgrade,
};

use super::{
    backend::{Failed, Failure, Lease},
    client_io::{Busy, ConnState},
    config::Upstream,
    counts::{End, Routed},
    headers::{self, Wants},
    interim,
    live::Live,
    mirror::{self, Copying},
    origin::ClientIs,
    refusal::Refusal,
    request_body::{Fault, RequestBody, Tee, Upload},
    response_body::ResponseBody,
    sticky::Assignment,
    table::{Arm, Table},
    tunnel,
    worker::{Listener, Worker},
};
use crate::clock;

/// What every request of one client connection shares.
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: Rc<Listener>,
    pub(super) state: Arc<ConnState>,
    pub(super) address: HeaderValue,
    pub(super) tls: bool,
}

/// Serves one request. Never fails: what can't be served is answered.
pub(super) async fn serve(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let busy = Busy::new(&client.state);
    let http1 = request.version() <= Version::HTTP_11;
    let mut response = match exchange(&client, request).await {
        Ok(answer) => answer.into_response(busy),
        Err(refusal) => {
            client.listener.refused(refusal);
            let (head, text) = refusal.response();
            head.map(|()| ResponseBody::own(text, busy))
        }
    };
    if http1 && client.worker.draining.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// A backend's answer, ready to be passed on.
struct Answer {
    response: Response<Incoming>,
    silence: std::time::Duration,
    /// Gone when a tunnel took them.
    open: Option<(Live, Lease)>,
}

impl Answer {
    fn into_response(self, busy: Busy) -> Response<ResponseBody> {
        let Self { response, silence, open } = self;
        match open {
            Some((live, lease)) => {
                response.map(|body| ResponseBody::backend(body, silence, live, lease, busy))
            }
            None => response.map(|_| ResponseBody::own(bytes::Bytes::new(), busy)),
        }
    }
}

async fn exchange(client: &Client, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let started = clock::instant();
    let Client { worker, listener, .. } = client;
    let table = listener.table.borrow().clone().ok_or(Refusal::Unconfigured)?;
    let (mut parts, incoming) = request.into_parts();
    let takes_interim = parts.version == Version::HTTP_11;
    let is = ClientIs { address: client.address.clone(), tls: client.tls, trusted: table.trust_forwarded };
    let wants = headers::prepare_request(&mut parts, &is)?;
    let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_| wants.upgrade);
    parts.extensions.clear();
    let picked = table.pick(&parts, clock_s).ok_or(Refusal::NoBackend)?;
    let mut copies = Vec::new();
    if table.mirrors() && upgrade.is_none() {
        copies = mirror::jobs(worker, listener, &table, picked.arm, &parts);
    }
    let (body, upload) = request_body(incoming, copies, &table, client, started);
    let mut request = Request::from_parts(parts, body);
    if takes_interim {
        interim::pass_on(&mut request, &client.state);
    }
    let sending = Sending { worker, table: &table, upload, started };
    let (arm, live, response, lease) = sending.to(picked.arm, picked.routed, wants, request).await?;
    let assign = picked.assign.filter(|_| arm == picked.arm);
    answer(worker, &table, (live, response, lease), upgrade, assign)
}

fn clock_s() -> u64 {
    u64::try_from(clock::now().as_second()).unwrap_or(0)
}

fn request_body(
    incoming: Incoming,
    copies: Vec<mirror::Job>,
    table: &Table,
    client: &Client,
    now: Instant,
) -> (RequestBody, Option<Rc<Upload>>) {
    if incoming.is_end_stream() {
        for copy in copies {
            copy.launch(bytes::Bytes::new());
        }
        return (RequestBody::Empty, None);
    }
    let most = table.limits.mirror_body;
    let copied = !copies.is_empty();
    let copying = || Box::new(Copying::new(copies, &client.listener, most)) as Box<dyn Tee>;
    let upload = Rc::new(Upload::new(now, copied.then(copying)));
    let http1 = (!client.state.is_http2()).then(|| Arc::clone(&client.state));
    let body = RequestBody::stream(incoming, Rc::clone(&upload), table.timeouts.stream_idle(), http1);
    (body, Some(upload))
}

/// Sends one request to an arm, or to the fallback if the arm takes no connection.
struct Sending<'a> {
    worker: &'a Rc<Worker>,
    table: &'a Table,
    upload: Option<Rc<Upload>>,
    started: Instant,
}

type Sent = (usize, Live, Response<Incoming>, Lease);

impl Sending<'_> {
    async fn to(
        &self,
        mut arm: usize,
        mut routed: Routed,
        wants: Wants,
        mut request: Request<RequestBody>,
    ) -> Result<Sent, Refusal> {
        loop {
            let mut live = Live::begin(&self.worker.subscribers, &self.table.arms[arm], routed, self.started);
            if let Some(upload) = &self.upload {
                live.with_upload(upload);
            }
            match self.try_arm(&self.table.arms[arm], wants, request, &mut live).await? {
                Tried::Answered(response, lease) => return Ok((arm, live, response, lease)),
                Tried::Broken(failure) => {
                    live.end(failure.end());
                    return Err(self.broken(failure));
                }
                Tried::Unsent(unsent) => {
                    live.end(End::Connect);
                    let fallback = self.table.instead_of(arm).filter(|_| routed != Routed::Retry);
                    (arm, routed) = (fallback.ok_or(Refusal::NoBackend)?, Routed::Retry);
                    request = unsent;
                }
            }
        }
    }

    /// What the client is told; what it broke off itself is nobody else's fault.
    fn broken(&self, failure: Failure) -> Refusal {
        match (self.upload.as_ref().and_then(|upload| upload.fault()), failure) {
            (Some(Fault::Broken), _) => Refusal::BrokenBody,
            (Some(Fault::Silent), _) => Refusal::SilentBody,
            (None, Failure::Timeout) => Refusal::BackendTimeout,
            (None, Failure::Malformed(what)) => Refusal::BadAnswer(what),
            (None, Failure::Connect | Failure::Reset) => Refusal::BackendReset,
        }
    }

    async fn try_arm(
        &self,
        arm: &Arm,
        wants: Wants,
        mut request: Request<RequestBody>,
        live: &mut Live,
    ) -> Result<Tried, Refusal> {
        let upstream = match arm.upstream {
            Upstream::Http2 if wants.upgrade => return Err(Refusal::Upgrade),
            Upstream::Auto if wants.grpc => Upstream::Http2,
            Upstream::Auto => Upstream::Http1,
            Upstream::Http1 | Upstream::Http2 => arm.upstream,
        };
        headers::shape(&mut request, upstream)?;
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut now = self.started;
        loop {
            let Some(endpoint) = arm.choose(now, &tried) else { return Ok(Tried::Unsent(request)) };
            live.sent_to(endpoint);
            match endpoint.send(request, self.upload.as_ref(), &self.table.timeouts, &self.table.limits).await
            {
                Ok((response, lease)) => {
                    if !tried.is_empty() {
                        live.reconnected();
                    }
                    return Ok(Tried::Answered(response, lease));
                }
                Err(Failed { failure: Failure::Connect, unsent: Some(unsent) }) => {
                    tried.push(endpoint.address());
                    now = clock::instant();
                    request = *unsent;
                }
                Err(Failed { failure, .. }) => return Ok(Tried::Broken(failure)),
            }
        }
    }
}

enum Tried {
    Answered(Response<Incoming>, Lease),
    /// Not a byte was sent to any process of the arm.
    Unsent(Request<RequestBody>),
    Broken(Failure),
}

fn answer(
    worker: &Rc<Worker>,
    table: &Table,
    (mut live, mut response, lease): (Live, Response<Incoming>, Lease),
    upgrade: Option<OnUpgrade>,
    assign: Option<Assignment>,
) -> Result<Answer, Refusal> {
    let silence = table.timeouts.stream_idle();
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && upgrade.is_none() {
        live.end(End::Reset);
        return Err(Refusal::BackendReset);
    }
    if let Err(refusal) = headers::prepare_response(response.headers_mut(), upgraded) {
        live.end(End::Reset);
        return Err(refusal);
    }
    live.head(response.status(), response.headers());
    *response.version_mut() = Version::HTTP_11;
    if let Some(cookie) = assign.and_then(|assign| table.cookie(&assign, clock_s())) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    let open = match upgrade {
        Some(client) if upgraded => {
            tunnel::join(worker, client, hyper::upgrade::on(&mut response), silence, live, lease);
            None
        }
        Some(_) | None => Some((live, lease)),
    };
    Ok(Answer { response, silence, open })
}
