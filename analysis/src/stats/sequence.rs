//! Confidence sequences and boundaries that hold at every moment, from the literature.
//!
//! Howard, Ramdas, McAuliffe, Sekhon, Ann. Stat. 2021, arXiv 1810.08240; Howard & Ramdas, Bernoulli 28(3) 2022,
//! arXiv 1906.09712; Waudby-Smith & Ramdas, JRSS-B 2024, arXiv 2010.09686. They serve bounded gauges and the
//! comparison of judges; the default judge needs none of them.

pub mod betting;
pub mod boundary;
pub mod mixture;
pub mod model;
pub mod quantile;
