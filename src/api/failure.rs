use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::view::Failure;

/// Why a call is not followed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing of that name.
    #[error("there is no rollout `{0}`")]
    NotFound(String),
    /// What was asked makes no sense, or not now.
    #[error("{0}")]
    Invalid(String),
    /// It is about something that has changed.
    #[error("{0}")]
    Conflict(String),
    /// It cannot be done at the moment; asking again may help.
    #[error("{0}")]
    Unavailable(String),
}

impl Refusal {
    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "notFound"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.parts();
        failure(status, code, self.to_string())
    }
}

/// An answer that is no success.
pub(super) fn failure(status: StatusCode, code: &str, message: String) -> Response {
    (status, Json(Failure { code: code.to_owned(), message })).into_response()
}
