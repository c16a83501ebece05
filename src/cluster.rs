//! Kubernetes: Rollouts as objects of an API server, and the workloads and routes that they drive.
//!
//! What is judged about objects is in the codecs ([`crate::workload`], [`crate::router`]) and needs no server. Here
//! objects are watched, put together to the machine's world, and written.

mod api;
mod attend;
mod cache;
mod controller;
mod document;
mod driven;
mod eject;
mod event;
mod interests;
mod kept;
mod lease;
mod order;
mod pods;
mod probes;
mod record;
mod remote;
mod selector;
mod served;
mod site;
mod template;
mod watches;

use self::selector::Selector;
pub use self::{
    api::{Api, Server},
    controller::{Controller, Doing, Settings},
    driven::{Driven, NotDriven},
    eject::{Keep, eject},
    lease::Terms,
    probes::serve_probes,
    remote::{Cluster, Events, Namespaces},
    site::Site,
};
use crate::{object::Kind, spec::API_VERSION};

fn rollouts() -> Kind {
    Kind::new(API_VERSION, "Rollout")
}

fn orders() -> Kind {
    Kind::new(API_VERSION, "RolloutOrder")
}

/// What Rollouts refer to.
fn library() -> Vec<Kind> {
    let kinds = ["AnalysisTemplate", "ClusterAnalysisTemplate", "MetricSource", "ClusterMetricSource"];
    kinds.map(|it| Kind::new(API_VERSION, it)).to_vec()
}
