use super::{
    Findings, Violation,
    exposure::{Of, exposure_of, has_ready},
};
use crate::{Arm, Dest, Plan, Seen, Share, Steering, World};

/// What users meet at one moment.
///
/// `serving` is the world with every route's `asked` being what its data plane really does. S2 holds of it where no
/// pod was lost and no route was changed by others: every arm that gets requests has a ready replica, and every
/// request has somewhere to go. S3 holds always: what gets requests is not asked to be gone.
#[must_use]
pub fn check_serving(plan: &Plan, serving: &World, pods_lost: bool) -> Vec<Violation> {
    let mut found = Findings(vec![]);
    if plan.steering == Steering::Ratio {
        return found.0;
    }
    let mut arms: Vec<&Arm> = serving.arms.keys().collect();
    let dests: Vec<Arm> = serving
        .routes
        .values()
        .filter_map(Seen::get)
        .flat_map(|it| it.asked.dests())
        .filter_map(|it| match it {
            Dest::Arm(arm) => Some(arm),
            Dest::Route(_) => None,
        })
        .collect();
    arms.extend(&dests);
    arms.sort_unstable();
    arms.dedup();
    for arm in arms {
        let met = exposure_of(plan, serving, arm, Of::Asked);
        if met.share == 0 && met.matches.is_empty() && met.copies == 0 {
            continue;
        }
        let desired = serving.arm(arm).get().map_or(0, |it| it.desired);
        found.require(desired > 0, "S3", || format!("{arm} gets {met:?} and is not asked for"));
        let ready = has_ready(serving, arm, 1);
        found.require(ready || pods_lost, "S2", || {
            format!("{arm} gets {met:?} and nothing is ready: {:?}", serving.arm(arm))
        });
    }
    let balanced = serving.routes.iter().filter(|(_, it)| it.get().is_some());
    for (id, seen) in balanced {
        let Some(seen) = seen.get() else { continue };
        let Share::ByReady(arms) = &seen.asked.share else { continue };
        let ready = arms.iter().any(|it| has_ready(serving, it, 1));
        found.require(ready || pods_lost, "S2", || {
            format!("{id} serves every ready replica, and there is none")
        });
    }
    found.0
}
