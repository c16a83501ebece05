//! What an answer meant to its client: the class of its status, and for gRPC what its own status says.
//!
//! gRPC answers every call that reached a handler with HTTP 200 and tells the failure in `grpc-status`: in the
//! trailers, or in the head when nothing else comes. Its codes are taken for the HTTP statuses Envoy takes them for
//! (`Grpc::Utility::grpcToHttpStatus`), so that the codes of a broken server (Unknown, DeadlineExceeded, Unimplemented,
//! Internal, Unavailable, DataLoss) are failures and those of a wrong call are not.

use std::cell::Cell;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize};

use super::media;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Codes that gRPC defines, `0 ..= 16`.
const CODES: usize = 17;
const UNKNOWN: usize = 2;

/// Requests that ended, by what their answer meant. The sum is [`completed`] without [`cancelled`].
///
/// [`completed`]: super::SeriesSnapshot::completed
/// [`cancelled`]: super::SeriesSnapshot::cancelled
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outcomes {
    /// 1xx (an upgrade) and 2xx, gRPC's OK among them.
    pub success: u64,
    /// 3xx.
    pub redirect: u64,
    /// 404, gRPC's NotFound.
    pub not_found: u64,
    /// Every other 4xx, gRPC's codes of a wrong call.
    pub client_error: u64,
    /// 5xx, gRPC's codes of a broken server.
    pub server_error: u64,
    /// None: no connection, a broken one, or too late.
    pub unanswered: u64,
}

/// What one answer meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Redirect,
    NotFound,
    ClientError,
    ServerError,
}

impl Outcome {
    pub(super) fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            300..=399 => Self::Redirect,
            404 => Self::NotFound,
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
            0..=299 => Self::Success,
        }
    }
}

/// A gRPC status code, `0 ..= 16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GrpcCode(usize);

impl GrpcCode {
    /// What a call ends with that never said how it ended: every client makes Unknown of it.
    pub(super) const NONE: Self = Self(UNKNOWN);

    /// The code in a head or in trailers; what is not a known code counts as Unknown, as it does for clients.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(GRPC_STATUS).map(HeaderValue::as_bytes)?;
        let code = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
        Some(Self(code.filter(|&code| code < CODES).unwrap_or(UNKNOWN)))
    }

    pub(super) fn outcome(self) -> Outcome {
        match self.0 {
            0 => Outcome::Success,
            5 => Outcome::NotFound,
            2 | 4 | 12 | 13 | 14 | 15 => Outcome::ServerError,
            _ => Outcome::ClientError,
        }
    }
}

/// How a call's answer will tell what it meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// The head did.
    Head,
    /// It is a gRPC answer whose trailers will.
    Trailers,
    /// It is a gRPC answer and this is its code.
    Code(GrpcCode),
}

impl Tells {
    /// What a head says about where the meaning is.
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let Some(kind) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return Self::Head };
        match (status, media::Grpc::of(kind)) {
            (StatusCode::OK, Some(grpc)) => match (GrpcCode::of(headers), grpc) {
                (Some(code), _) => Self::Code(code),
                (None, media::Grpc::Native) => Self::Trailers,
                // Its trailers are part of the body, which nobody looks into.
                (None, media::Grpc::Web) => Self::Head,
            },
            (_, Some(_) | None) => Self::Head,
        }
    }
}

/// Live counts of [`Outcomes`] and of gRPC's codes.
#[derive(Default)]
pub(super) struct OutcomeCounts {
    by_outcome: [Cell<u64>; 5],
    unanswered: Cell<u64>,
    by_code: [Cell<u64>; CODES],
}

fn add(cell: &Cell<u64>) {
    cell.set(cell.get().wrapping_add(1));
}

impl OutcomeCounts {
    /// One request ended; `None`: without an answer.
    pub(super) fn end(&self, outcome: Option<Outcome>, code: Option<GrpcCode>) {
        add(match outcome {
            Some(Outcome::Success) => &self.by_outcome[0],
            Some(Outcome::Redirect) => &self.by_outcome[1],
            Some(Outcome::NotFound) => &self.by_outcome[2],
            Some(Outcome::ClientError) => &self.by_outcome[3],
            Some(Outcome::ServerError) => &self.by_outcome[4],
            None => &self.unanswered,
        });
        if let Some(GrpcCode(code)) = code {
            add(&self.by_code[code]);
        }
    }

    pub(super) fn snapshot(&self) -> Outcomes {
        let [success, redirect, not_found, client_error, server_error] =
            std::array::from_fn(|at| self.by_outcome[at].get());
        let unanswered = self.unanswered.get();
        Outcomes { success, redirect, not_found, client_error, server_error, unanswered }
    }

    /// Calls by gRPC code; empty when there were none.
    pub(super) fn codes(&self) -> Vec<u64> {
        let codes: Vec<u64> = self.by_code.iter().map(Cell::get).collect();
        if codes.iter().all(|&count| count == 0) { Vec::new() } else { codes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_grpc_code_means_what_envoy_makes_of_it() {
        #[track_caller]
        fn check(code: &'static str, outcome: Outcome) {
            let said = GrpcCode::of(&headers(&[("grpc-status", code)])).map(GrpcCode::outcome);
            assert_eq!(said, Some(outcome), "{code}");
        }
        check("0", Outcome::Success);
        for code in ["2", "4", "12", "13", "14", "15"] {
            check(code, Outcome::ServerError);
        }
        for code in ["1", "3", "6", "7", "8", "9", "10", "11", "16"] {
            check(code, Outcome::ClientError);
        }
        check("5", Outcome::NotFound);
        for nonsense in ["17", "999999999999999999999", "-1", "OK", ""] {
            check(nonsense, Outcome::ServerError);
        }
        assert_eq!(GrpcCode::of(&HeaderMap::new()), None);
    }

    #[test]
    fn a_head_says_where_the_meaning_is() {
        #[track_caller]
        fn check(status: u16, all: &[(&'static str, &'static str)], expected: Tells) {
            assert_eq!(Tells::of(StatusCode::from_u16(status).unwrap(), &headers(all)), expected, "{all:?}");
        }
        let grpc = ("content-type", "application/grpc+proto");
        check(200, &[grpc], Tells::Trailers);
        check(200, &[grpc, ("grpc-status", "13")], Tells::Code(GrpcCode(13)));
        check(503, &[grpc], Tells::Head);
        check(200, &[("content-type", "application/grpc-web+proto")], Tells::Head);
        check(
            200,
            &[("content-type", "application/grpc-web"), ("grpc-status", "5")],
            Tells::Code(GrpcCode(5)),
        );
        check(200, &[("content-type", "text/html"), ("grpc-status", "13")], Tells::Head);
        check(200, &[], Tells::Head);
    }

    #[test]
    fn every_status_has_one_class() {
        #[track_caller]
        fn check(status: u16, outcome: Outcome) {
            assert_eq!(Outcome::of(StatusCode::from_u16(status).unwrap()), outcome);
        }
        check(101, Outcome::Success);
        check(204, Outcome::Success);
        check(304, Outcome::Redirect);
        check(404, Outcome::NotFound);
        check(410, Outcome::ClientError);
        check(500, Outcome::ServerError);
        check(799, Outcome::ServerError);
    }
}
