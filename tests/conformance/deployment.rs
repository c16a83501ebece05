//! The codec of Deployments, model-checked together with `decide` over a world with the controller-manager's own rules.

mod check;
mod config;
mod controller;
mod mutants;
mod search;
mod world;
