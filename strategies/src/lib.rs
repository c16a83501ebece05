//! The pure rollout machine of Serinus.
//!
//! [`decide`] maps `(plan, status, orders, world, now)` to one [`Decision`]: rest, save this status, or make this
//! one write. It performs no I/O, never reads a clock and never fails: a world it does not understand is a world
//! it waits for. Every safety rule lives in `approach`.
//!
//! Deliberately absent: Kubernetes, processes, proxies, judges. They are adapters' and runners' business.

mod activity;
mod arm;
mod change;
mod decide;
mod duration;
mod name;
mod order;
mod plan;
pub mod recipe;
mod split;
mod status;
pub mod step;
mod waiting;
mod weight;
mod world;

pub use crate::{
    activity::{Activity, ActivityId, Outcome, Purpose, Samples, Verdict, Window},
    arm::{Arm, Role},
    change::{Change, OwnerGoal, Write},
    decide::{Decision, Next, decide},
    duration::{HumanDuration, InvalidDuration},
    name::{Name, Revision, RouteId},
    order::{Action, Order, Orders},
    plan::{
        Capacity, Consequence, Deadlines, Guard, Mode, OnVerdict, Plan, RollbackWindow, RouteKind, RoutePlan,
        RouteRest, Sizing, StableCapacity, Steering,
    },
    split::{Dest, Field, Matched, Pattern, RequestMatch, Share, Split, Sticky},
    status::{Accepted, Cause, End, Ended, Hold, Phase, Recent, Refused, Repair, Said, Status, Waited},
    step::{Goal, Leave, LeaveBehavior, Progress, Scale, Step, StepMatch, StepSeen},
    waiting::{Waiting, WaitingFor},
    weight::{InvalidWeight, Weight},
    world::{
        Acknowledged, ArmSeen, Behind, Epoch, Fence, Owner, OwnerIs, Ready, RouteSeen, Scaler, Seen, Wanted,
        World,
    },
};
