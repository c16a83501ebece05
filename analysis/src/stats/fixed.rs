//! Tests for one declared look. Looked at repeatedly, their error rates mean nothing.

pub mod kolmogorov;
pub mod proportion;
pub mod rank;
pub mod welch;

/// Which difference a test looks for; `x` is the canary.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Alternative {
    /// Either direction.
    TwoSided,
    /// `x` tends to be larger.
    Greater,
    /// `x` tends to be smaller.
    Less,
}
