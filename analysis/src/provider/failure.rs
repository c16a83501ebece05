use std::{error::Error, time::Duration};

use super::egress::Refused;
use crate::poll::Missing;

/// Why a provider's answer is not a measurement. It never holds a word of the answer: only its class and sizes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The address must not be reached.
    #[error(transparent)]
    Egress(#[from] Refused),
    /// Nobody answered at the address.
    #[error("no connection")]
    Unreachable,
    /// The other side cannot be trusted.
    #[error("the TLS certificate is not valid for this source")]
    Untrusted,
    /// The connection broke in mid-answer.
    #[error("the connection broke off")]
    BrokenOff,
    /// It took too long.
    #[error("no complete answer within {0:?}")]
    TimedOut(Duration),
    /// Too many questions are waiting for the same source.
    #[error("no turn within {0:?}: too many questions to this source at once")]
    Busy(Duration),
    /// It wants us elsewhere, where we do not go.
    #[error("status {0}, a redirect, which is never followed: give the final address")]
    Redirected(u16),
    /// It refuses, or cannot.
    #[error("status {status}{}", reason(*status))]
    Status {
        /// The HTTP status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is larger than what is read.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The answer is not of the kind that was asked for.
    #[error("the answer is not {0}")]
    NotThis(&'static str),
    /// The answer says that the question failed.
    #[error("the source reports an error ({0})")]
    Reported(&'static str),
    /// Parts of the answer are missing, by its own word.
    #[error("the source says that its answer is incomplete")]
    Incomplete,
    /// There is no such data.
    #[error("no data")]
    NoData,
    /// A value is NaN or infinite.
    #[error("a value that is not a finite number")]
    NotFinite,
    /// It is not one number.
    #[error("{0}, where one number is needed")]
    NotOneNumber(&'static str),
    /// The newest value is too old, or from the future.
    #[error("the newest value is {0:?} away from the time asked for")]
    Stale(Duration),
    /// More series than can be looked after.
    #[error("more than {0} series: narrow the selector")]
    TooManySeries(usize),
    /// The numbers contradict each other.
    #[error("the numbers contradict each other: {0}")]
    Contradictory(&'static str),
    /// What is asked cannot be asked.
    #[error("the question cannot be asked: {0}")]
    Question(&'static str),
    /// Nobody was asked.
    #[error("{0}")]
    NotAsked(String),
    /// The program could not be run.
    #[error("the program {0}")]
    Program(&'static str),
}

fn reason(status: u16) -> &'static str {
    match status {
        401 | 403 => ": check the credentials of this source",
        404 => ": check the address of this source",
        429 => ": too many requests",
        400 | 422 => ": the query is not valid",
        _ => "",
    }
}

impl Failure {
    /// What a judge is told.
    #[must_use]
    pub fn missing(&self) -> Missing {
        match self {
            Self::NoData => Missing::NoData,
            Self::NotFinite => Missing::NotFinite,
            Self::NotOneNumber(_) => Missing::NotOneNumber,
            Self::Stale(_) => Missing::Stale,
            Self::Incomplete => Missing::Partial,
            Self::Egress(_)
            | Self::Unreachable
            | Self::Untrusted
            | Self::BrokenOff
            | Self::TimedOut(_)
            | Self::Busy(_)
            | Self::Redirected(_)
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::NotThis(_)
            | Self::Reported(_)
            | Self::TooManySeries(_)
            | Self::Contradictory(_)
            | Self::Question(_)
            | Self::NotAsked(_)
            | Self::Program(_) => Missing::Error,
        }
    }

    /// Whether the same question may get a better answer in a moment.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unreachable | Self::BrokenOff => true,
            Self::Status { status, .. } => matches!(status, 429 | 500 | 502 | 503 | 504),
            Self::Egress(_)
            | Self::Untrusted
            | Self::TimedOut(_)
            | Self::Busy(_)
            | Self::Redirected(_)
            | Self::TooLarge { .. }
            | Self::NotThis(_)
            | Self::Reported(_)
            | Self::Incomplete
            | Self::NoData
            | Self::NotFinite
            | Self::NotOneNumber(_)
            | Self::Stale(_)
            | Self::TooManySeries(_)
            | Self::Contradictory(_)
            | Self::Question(_)
            | Self::NotAsked(_)
            | Self::Program(_) => false,
        }
    }

    /// Sorts what the HTTP client says, without its text, which names the URL.
    pub(super) fn of_transport(error: &(dyn Error + 'static)) -> Self {
        let mut connecting = false;
        let mut next = Some(error);
        while let Some(it) = next {
            if let Some(refused) = it.downcast_ref::<Refused>() {
                return Self::Egress(refused.clone());
            }
            if let Some(it) = it.downcast_ref::<reqwest::Error>() {
                connecting |= it.is_connect();
            }
            if it.downcast_ref::<rustls::Error>().is_some() {
                return Self::Untrusted;
            }
            // An I/O error's `source` leaves out what it was made from.
            let inner = it.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = inner.map(|it| it as &(dyn Error + 'static)).or_else(|| it.source());
        }
        if connecting { Self::Unreachable } else { Self::BrokenOff }
    }
}
