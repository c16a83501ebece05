//! Numbers as people write them in a document: `1.1x`, `1%`, `90s`.
//!
//! Each type refuses what it cannot mean with a sentence that says what is allowed; a reader of documents puts
//! the line and the column before it.

mod fraction;
mod ratio;
mod span;

pub use fraction::Fraction;
pub use ratio::Ratio;
pub use span::Span;
