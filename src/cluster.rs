//! Kubernetes: the workload and the routes of a Rollout as objects of an API server.
//!
//! What is judged about objects is in the codecs ([`crate::workload`], [`crate::router`]) and needs no server. Here
//! objects are read, put together to the machine's world, and written.

mod api;
mod driven;
mod site;

pub use self::{
    api::Api,
    driven::{Driven, NotDriven},
    site::Site,
};
