//! Formulas: pure functions and small accumulators over counts, without any notion of a rollout.
//!
//! Everything is in natural logarithms. An *e-process* is a number that starts at one, is never negative and,
//! if the hypothesis it tests is true, has an expectation of at most one at every stopping time. By Ville's
//! inequality it then exceeds `1 / alpha` at *any* time with probability at most `alpha`, so that it may be
//! looked at as often as one likes. Papers are named where their formula is used.

pub mod absolute;
pub mod clumps;
pub mod dispersion;
pub mod divergence;
pub mod fixed;
pub mod gauge;
pub mod hypergeometric;
pub mod increment;
pub mod kayenta;
pub mod log;
pub mod mixture;
pub mod planner;
pub mod prior;
pub mod ratio;
pub mod sample_ratio;
pub mod sequence;
