//! Kayenta's judge (`spinnaker/kayenta` at a69573be, `NetflixACAJudge`), exactly, defects included: for people who
//! migrate, and for comparison.
//!
//! Known defects that are kept: more bad data can turn a failure into a pass, because the tolerance is a fraction
//! of the median shift; the root tolerance is absolute, so the unit of the data matters; a metric in error is
//! ignored; scores are not renormalised; repeated judging is not corrected for. The noise that upstream draws
//! unseeded when both arms are constant is a fixed sequence here, so that a verdict can be replayed.

pub mod classify;
pub mod outlier;
pub mod score;
pub mod shift;
pub mod summary;
