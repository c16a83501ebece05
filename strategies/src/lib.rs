//! The pure rollout machine of Serinus.
//!
//! [`decide`] maps `(plan, status, orders, world, now)` to one [`Decision`]: rest, save this status, or make this
//! one write. It performs no I/O, never reads a clock and never fails: a world it does not understand is a world
//! it waits for. Every safety rule lives in `approach`.
//!
//! Deliberately absent: Kubernetes, processes, proxies, judges. They are adapters' and runners' business.

mod activities;
mod activity;
mod amount;
mod approach;
mod arm;
mod authority;
mod change;
mod decide;
mod duration;
mod gone;
pub mod invariants;
#[cfg(feature = "mutants")]
pub mod mutant;
#[cfg(not(feature = "mutants"))]
#[allow(unreachable_pub, reason = "it is public where tests ask for it")]
mod mutant;
mod name;
mod order;
mod plan;
mod predict;
mod reach;
pub mod recipe;
mod split;
mod status;
pub mod step;
mod target;
mod waiting;
mod weight;
mod world;

pub use crate::{
    activity::{Activity, ActivityId, Outcome, Purpose, Samples, Verdict, Window},
    amount::{Amount, InvalidAmount},
    arm::{Arm, Role},
    change::{Change, Of, OwnerGoal, Write},
    decide::{Decision, Next, decide},
    duration::{HumanDuration, InvalidDuration},
    name::{Name, Revision, RouteId},
    order::{Action, Order, Orders},
    plan::{
        Capacity, Consequence, Deadlines, Guard, Missing, Mode, OnVerdict, Plan, RollbackWindow, RouteKind,
        RoutePlan, RouteRest, Sizing, StableCapacity, Steering, Watches,
    },
    predict::predict,
    reach::{Load, need, reach, reach_by_entry, settled, settles_at},
    split::{Dest, Field, Matched, Pattern, RequestMatch, Share, Split, Sticky},
    status::{
        Accepted, Cause, Doing, Down, Effect, End, Ended, Hold, Measuring, Passed, Phase, Recent, Refused,
        Repair, Said, Side, Status, Waited,
    },
    step::{Gate, Goal, Leave, LeaveBehavior, Progress, Scale, Step, StepMatch, StepSeen},
    target::{Aim, Target, target},
    waiting::{Waiting, WaitingFor},
    weight::{InvalidWeight, Weight},
    world::{
        Acknowledged, ArmSeen, Behind, Epoch, Fence, Owner, OwnerIs, Ready, RouteSeen, Scaler, Seen, Wanted,
        World,
    },
};
