//! Interim answers (1xx) on their way to a client that speaks HTTP/1.1: 103 Early Hints, 102 Processing.
//!
//! A proxy passes on every one that it did not ask for itself; 100 is this proxy's own business, because it takes
//! `Expect` off. Source: RFC 9110 §15.2. Over HTTP/2 they are left out: hyper's server has no way to send them.

use std::sync::Arc;

use http::{Request, StatusCode};

use super::{client_io::ConnState, headers, request_body::RequestBody};

/// Passes on what comes before the answer to this request.
pub(super) fn pass_on(request: &mut Request<RequestBody>, client: &Arc<ConnState>) {
    let client = Arc::clone(client);
    hyper::ext::on_informational(request, move |interim| {
        if interim.status() == StatusCode::CONTINUE {
            return;
        }
        let mut headers = interim.headers().clone();
        if headers::prepare_response(&mut headers, false).is_ok() {
            client.interim(&written(interim.status(), &headers));
        }
    });
}

fn written(status: StatusCode, headers: &http::HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or("Interim");
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
