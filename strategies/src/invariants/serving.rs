use std::collections::BTreeSet;

use super::{
    Exposure, Findings, Violation,
    exposure::{ALL, Of, arriving, exposure_of, has_ready, needed, total},
};
use crate::{Arm, Dest, Plan, RouteKind, Seen, Share, Steering, World};

/// What users meet of `arm` where every route's `asked` is what its data plane really does.
#[must_use]
pub fn serves(plan: &Plan, serving: &World, arm: &Arm) -> Exposure {
    exposure_of(plan, serving, arm, Of::Asked)
}

/// What users meet at one moment.
///
/// `serving` is the world with every route's `asked` being what its data plane really does. S2 holds of it where no
/// pod was lost (`lost`) and no route was changed by others: every arm that gets requests has a ready replica, and
/// every request has somewhere to go: no route leads into nothing. S3 holds always: what gets requests is not asked to be gone; and it is asked to
/// be as large as they need, unless the wanted number itself has just changed (`scaled`).
#[must_use]
pub fn check_serving(plan: &Plan, serving: &World, lost: bool, scaled: bool) -> Vec<Violation> {
    let mut found = Findings(vec![]);
    if plan.steering == Steering::Ratio {
        return found.0;
    }
    let routes = || serving.routes.values().filter_map(Seen::get);
    let named = routes().flat_map(|it| it.asked.dests()).filter_map(|it| match it {
        Dest::Arm(arm) => Some(arm),
        Dest::Route(_) => None,
    });
    let arms: BTreeSet<Arm> = named.chain(serving.arms.keys().cloned()).collect();
    for arm in &arms {
        let met = serves(plan, serving, arm);
        if met.share == 0 && met.matches.is_empty() && met.copies == 0 {
            continue;
        }
        let desired = u64::from(serving.arm(arm).get().map_or(0, |it| it.desired));
        let needed = needed(plan, total(serving).unwrap_or_default(), &met);
        let least = if scaled { 1 } else { needed };
        found.require(desired >= least, "S3", || {
            format!("{arm} gets {met:?} and {desired} of {needed} are asked for")
        });
        let ready = has_ready(serving, arm, 1);
        found.require(ready || lost, "S2", || {
            format!("{arm} gets {met:?} and nothing is ready: {:?}", serving.arm(arm))
        });
    }
    for (id, route) in plan.routes() {
        let entry = !matches!(route.kind, RouteKind::ToStable | RouteKind::ToCanary);
        if entry && serving.route(id).get().is_some() {
            let arrive = arriving(plan, serving, id, Of::Asked);
            found.require(arrive == ALL, "S2", || {
                format!("of a million requests that come in at {id}, {arrive} find anything")
            });
        }
    }
    for (id, seen) in &serving.routes {
        let Some(Share::ByReady(arms)) = seen.get().map(|it| &it.asked.share) else { continue };
        let ready = arms.iter().any(|it| has_ready(serving, it, 1));
        found.require(ready || lost, "S2", || format!("{id} serves every ready replica, and there is none"));
    }
    found.0
}
