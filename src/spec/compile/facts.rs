//! What only a cluster knows of a Rollout: how its workload updates by itself, and what its routes led to before.

use std::collections::BTreeMap;

use strategies::{
    Amount, Capacity, HumanDuration, Leave, Missing, Plan, RouteId, RouteKind, RouteRest, Scale,
    StableCapacity, Steering, Step,
};

use super::{Compiled, Runtime, capacity, sized};
use crate::{
    router::{AsWritten, service_route},
    spec::CapacitySpec,
    workload::{OwnUpdate, WorkloadFacts},
};

/// What was seen of what a Rollout drives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// What the workload says of its own updates; `None`: it was not seen.
    pub workload: Option<WorkloadFacts>,
    /// Where each route that was seen leads as its owner wrote it.
    pub routes: BTreeMap<RouteId, AsWritten>,
}

/// What a person wrote, from which a plan is made again once more is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub(super) steps: Vec<Step>,
    pub(super) capacity: CapacitySpec,
}

impl Compiled {
    /// The plan as it is where these facts hold. What the document says goes before what the workload says of itself.
    #[must_use]
    pub fn with_facts(&self, facts: &Facts) -> Plan {
        let mut plan = self.plan.clone();
        if let Some(workload) = &facts.workload {
            plan.capacity = self.completed(workload);
            plan.steps = sized(&self.written.steps, &plan.capacity, plan.sizing, &plan.steering);
            plan.missing.extend(self.unsaid(workload));
            // A replica counts as ready only so long after it is: that is no failure to start.
            let progress = plan.deadlines.progress.0.saturating_add(workload.min_ready.0);
            plan.deadlines.progress = HumanDuration(progress);
        }
        if let Steering::Routes(routes) = &mut plan.steering {
            for (id, written) in &facts.routes {
                if let Some(route) = routes.get_mut(id) {
                    route.rest = self.rest(&route.kind, *written);
                }
            }
        }
        plan
    }

    fn rest(&self, kind: &RouteKind, written: AsWritten) -> RouteRest {
        let services = match &self.runtime {
            Runtime::Cluster { services, .. } => services.as_slice(),
            Runtime::Standalone { .. } => &[],
        };
        rest(kind, written, services.first().map(|it| service_route(it.name.as_str())))
    }

    /// Without a word on capacity the workload's own is meant: without a spare replica the new version takes the place of
    /// the old one, and by ratio there are as many more and fewer as in any update of it.
    fn completed(&self, workload: &WorkloadFacts) -> Capacity {
        let (given, plain) = (&self.written.capacity, capacity(&self.written.capacity));
        let OwnUpdate::Rolling { surge, unavailable } = workload.update else { return plain };
        let beside = self.written.steps.iter().any(needs_stable);
        let stable = match given.stable {
            Some(stable) => stable,
            None if surge.is_none() && !beside => StableCapacity::InPlace,
            None => StableCapacity::Keep,
        };
        let plain = capacity(&CapacitySpec { stable: Some(stable), ..*given });
        let some = |own: Amount, plain: Amount| if own.is_none() { plain } else { own };
        let by_ratio = self.plan.steering == Steering::Ratio;
        let (surge, unavailable) = match stable {
            // Neither more nor fewer: nothing could ever move.
            _ if by_ratio && unavailable.is_none() => (some(surge, plain.surge), unavailable),
            _ if by_ratio => (surge, unavailable),
            StableCapacity::Keep => (plain.surge, plain.max_unavailable),
            StableCapacity::Follow => (some(surge, plain.surge), unavailable),
            StableCapacity::InPlace => (plain.surge, some(unavailable, plain.max_unavailable)),
        };
        Capacity {
            surge: given.surge.unwrap_or(surge),
            max_unavailable: given.max_unavailable.unwrap_or(unavailable),
            ..plain
        }
    }

    /// Whoever lets no two versions run side by side does not get a canary unasked.
    fn unsaid(&self, workload: &WorkloadFacts) -> Option<Missing> {
        let CapacitySpec { stable, surge, max_unavailable, after_abort: _ } = &self.written.capacity;
        let said = stable.is_some() || surge.is_some() || max_unavailable.is_some();
        let Runtime::Cluster { workload: of, .. } = &self.runtime else { return None };
        let what = format!(
            "`capacity` for {} {}, whose strategy Recreate lets no two versions run side by side",
            of.kind, of.name
        );
        let asks = workload.update == OwnUpdate::Recreate && !said;
        asks.then(|| Missing { what: what.into(), analyses: [].into() })
    }
}

/// Where a route leads when no rollout runs. `users`: the Service that clients use.
pub(super) fn rest(kind: &RouteKind, written: AsWritten, users: Option<RouteId>) -> RouteRest {
    let RouteKind::Weighted { stable, .. } = kind else { return RouteRest::OnStable };
    let through = match written {
        AsWritten::Users => users,
        AsWritten::Stable => stable.clone(),
        AsWritten::Ours => None,
    };
    through.map_or(RouteRest::OnStable, RouteRest::Through)
}

/// Whether a step asks for all of stable beside a canary.
fn needs_stable(step: &Step) -> bool {
    let sized = matches!(step.scale, Some(Scale::Share(_) | Scale::Replicas(_)));
    sized || matches!(step.leave, Leave::Bake(_))
}

#[cfg(test)]
mod tests {
    use strategies::Weight;

    use super::*;
    use crate::spec::{self, compile::compile};

    const HEAD: &str = "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: { name: shop }\nspec:\n  \
                        workloadRef: { apiVersion: apps/v1, kind: Deployment, name: shop }\n";
    const ROUTED: &str = "  services: [ { name: shop } ]\n  \
                          traffic: [ { gatewayApi: { routes: [ { name: shop } ] } } ]\n";
    const PLAIN: &str = "  strategy: { canary: { steps: [ { name: half, weight: 50%, approve: {} } ] } }\n";
    const BAKED: &str = "  strategy: { canary: { steps: [ { name: half, weight: 50%, approve: {} } ], bake: { for: 5m } } }\n";

    fn compiled(parts: &[&str]) -> Compiled {
        let text = [&[HEAD], parts].concat().concat();
        let read = spec::read("shop.yaml", text.as_bytes());
        let errors: Vec<_> =
            read.diagnostics.iter().filter(|it| it.severity == spec::Severity::Error).collect();
        assert!(errors.is_empty(), "{text}: {errors:?}");
        compile(&read.documents, None).unwrap()
    }

    fn rolling(surge: Amount, unavailable: Amount) -> Facts {
        let update = OwnUpdate::Rolling { surge, unavailable };
        Facts {
            workload: Some(WorkloadFacts { update, min_ready: HumanDuration::default() }),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(parts: &[&str], facts: &Facts, stable: StableCapacity, surge: Amount, unavailable: Amount) {
        let found = compiled(parts).with_facts(facts).capacity;
        assert_eq!(
            (found.stable, found.surge, found.max_unavailable),
            (stable, surge, unavailable),
            "{parts:?}"
        );
    }

    #[test]
    fn capacity_that_nobody_wrote_is_the_workloads_own() {
        use StableCapacity::{Follow, InPlace, Keep};
        let percent = |it| Amount::Share(Weight::from_percent(it));
        let (one, two, none) = (Amount::Replicas(1), Amount::Replicas(2), Amount::Replicas(0));
        // By ratio, absolute numbers stay what they are.
        check(&[PLAIN], &rolling(one, two), Keep, one, two);
        check(&[PLAIN], &rolling(none, one), InPlace, none, one);
        check(&[PLAIN, "  capacity: { maxUnavailable: 2 }\n"], &rolling(one, none), Keep, one, two);
        // With a router stable keeps its replicas, unless there is no spare one and nothing needs both sides whole.
        check(&[ROUTED, PLAIN], &rolling(percent(25), percent(25)), Keep, Amount::FULL, Amount::ZERO);
        check(&[ROUTED, PLAIN], &rolling(none, one), InPlace, Amount::ZERO, one);
        check(&[ROUTED, BAKED], &rolling(none, one), Keep, Amount::FULL, Amount::ZERO);
        check(
            &[ROUTED, PLAIN, "  capacity: { stable: keep }\n"],
            &rolling(none, one),
            Keep,
            Amount::FULL,
            Amount::ZERO,
        );
        check(&[ROUTED, PLAIN, "  capacity: { stable: follow }\n"], &rolling(two, one), Follow, two, one);
        check(
            &[ROUTED, PLAIN, "  capacity: { stable: inPlace }\n"],
            &rolling(two, none),
            InPlace,
            Amount::ZERO,
            percent(25),
        );
    }

    #[test]
    fn a_canary_in_place_is_no_larger_than_its_traffic_needs() {
        let compiled = compiled(&[ROUTED, PLAIN]);
        assert_eq!(compiled.plan.steps[0].scale, Some(Scale::Even));
        let plan = compiled.with_facts(&rolling(Amount::ZERO, Amount::Replicas(1)));
        assert_eq!(plan.steps[0].scale, None);
        assert_eq!(compiled.with_facts(&Facts::default()), compiled.plan, "nothing is known");
    }

    #[test]
    fn a_workload_that_lets_no_two_versions_run_side_by_side_is_held_until_capacity_is_said() {
        let update = OwnUpdate::Recreate;
        let workload = Some(WorkloadFacts { update, min_ready: HumanDuration::from_secs(30) });
        let facts = Facts { workload, ..Facts::default() };
        let plan = compiled(&[ROUTED, PLAIN]).with_facts(&facts);
        assert!(plan.missing[0].what.as_str().contains("Recreate"), "{:?}", plan.missing);
        assert_eq!(plan.deadlines.progress.0.as_secs(), 630);
        let said = compiled(&[ROUTED, PLAIN, "  capacity: { stable: keep }\n"]).with_facts(&facts);
        assert_eq!(said.missing, []);
    }

    #[test]
    fn a_route_rests_on_what_its_owner_wrote_and_by_the_word_of_the_document_until_it_was_seen() {
        let rest = |plan: &Plan| {
            plan.routes()
                .find(|(id, _)| id.as_str() == "HTTPRoute/shop")
                .map(|(_, it)| it.rest.clone())
                .unwrap()
        };
        let through = |name: &str| RouteRest::Through(service_route(name));
        let owned = |own: &str| {
            let traffic = format!(
                "  services: [ {{ name: shop }} ]\n  traffic: [ {{ gatewayApi: {{ routes: [ {{ name: shop }} ], own: {own} }} }} ]\n"
            );
            compiled(&[&traffic, PLAIN])
        };
        for (own, name) in [("auto", "shop"), ("backends", "shop"), ("weights", "shop-stable")] {
            assert_eq!(rest(&owned(own).plan), through(name), "{own}");
        }
        for (written, expected) in [
            (AsWritten::Users, through("shop")),
            (AsWritten::Stable, through("shop-stable")),
            (AsWritten::Ours, RouteRest::OnStable),
        ] {
            let routes = [("HTTPRoute/shop".into(), written)].into();
            let plan = owned("auto").with_facts(&Facts { routes, ..Facts::default() });
            assert_eq!(rest(&plan), expected, "{written:?}");
        }
    }

    #[test]
    fn a_service_whose_clients_are_nobodys_to_divide_is_a_route_of_the_plan() {
        let routed = ROUTED
            .replace("{ name: shop } ]\n  traffic", "{ name: shop, direct: proportional } ]\n  traffic");
        let plan = compiled(&[&routed, PLAIN]).plan;
        let users = plan.routes().find(|(id, _)| id.as_str() == "Service/shop").map(|(_, it)| &it.kind);
        assert_eq!(users, Some(&RouteKind::Proportional));
    }
}
