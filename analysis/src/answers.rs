//! What answers meant, counted.

use serde::{Deserialize, Serialize};

/// What one answer meant to its client. gRPC's codes are taken for the statuses that they stand for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Class {
    /// 1xx (an upgrade) or 2xx.
    Success,
    /// 3xx.
    Redirect,
    /// 404.
    NotFound,
    /// Any other 4xx.
    ClientError,
    /// 5xx.
    ServerError,
    /// There was none: no connection, a broken one, or too late.
    Unanswered,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::Redirect,
        Self::NotFound,
        Self::ClientError,
        Self::ServerError,
        Self::Unanswered,
    ];

    /// What people call such an answer, in the plural.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Success => "successes (2xx)",
            Self::Redirect => "redirects (3xx)",
            Self::NotFound => "answers `not found` (404)",
            Self::ClientError => "refusals (4xx but 404)",
            Self::ServerError => "server errors (5xx)",
            Self::Unanswered => "requests without an answer",
        }
    }

    /// Whether such a request failed, whoever sent it.
    pub fn is_failure(self) -> bool {
        match self {
            Self::ServerError | Self::Unanswered => true,
            Self::Success | Self::Redirect | Self::NotFound | Self::ClientError => false,
        }
    }
}

/// Requests of one arm in one interval, by what their answers meant. Those that their clients gave up are not among
/// them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Answers {
    /// [`Class::Success`].
    pub success: u64,
    /// [`Class::Redirect`].
    pub redirect: u64,
    /// [`Class::NotFound`].
    pub not_found: u64,
    /// [`Class::ClientError`].
    pub client_error: u64,
    /// [`Class::ServerError`].
    pub server_error: u64,
    /// [`Class::Unanswered`].
    pub unanswered: u64,
}

impl Answers {
    /// All of them.
    pub fn total(&self) -> u64 {
        Class::ALL.iter().map(|class| self.of(*class)).sum()
    }

    /// Those of that class.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::Success => self.success,
            Class::Redirect => self.redirect,
            Class::NotFound => self.not_found,
            Class::ClientError => self.client_error,
            Class::ServerError => self.server_error,
            Class::Unanswered => self.unanswered,
        }
    }

    /// Each pair of counts put together.
    pub fn with(&self, other: &Self, mut both: impl FnMut(u64, u64) -> u64) -> Self {
        let mut each = |class: Class| both(self.of(class), other.of(class));
        Self {
            success: each(Class::Success),
            redirect: each(Class::Redirect),
            not_found: each(Class::NotFound),
            client_error: each(Class::ClientError),
            server_error: each(Class::ServerError),
            unanswered: each(Class::Unanswered),
        }
    }

    /// Adds another interval.
    pub fn add(&mut self, other: &Self) {
        *self = self.with(other, |a, b| a.saturating_add(b));
    }

    /// What came on top of `before`; `None` where a count fell.
    pub fn since(&self, before: &Self) -> Option<Self> {
        let fell = Class::ALL.iter().any(|class| self.of(*class) < before.of(*class));
        (!fell).then(|| self.with(before, |now, before| now - before))
    }
}
