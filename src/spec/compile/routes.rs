//! Where requests come in, as routes of the plan.

use std::collections::BTreeMap;

use strategies::{RouteId, RouteKind, RoutePlan, RouteRest, Steering, Weight};

use super::{PROXY_ROUTE, facts};
use crate::{
    router::{Part, ServiceRoute},
    spec::{RolloutSpec, ServiceEntry, rollout::Direct},
};

/// What moves the traffic, as the machine knows it.
pub(super) fn steering(spec: &RolloutSpec) -> Steering {
    if spec.traffic.is_empty() {
        return Steering::Ratio;
    }
    let mut routes = BTreeMap::new();
    let sides = spec.services.first().map(ServiceEntry::service);
    let side = |part| sides.clone().map(|of| ServiceRoute { of, part }.id());
    for entry in &spec.traffic {
        for (_, router) in entry.routers() {
            let can = router.can();
            let plan = |kind| RoutePlan {
                kind,
                settle: entry.settle.unwrap_or(can.settle),
                finest: can.finest,
                rest: RouteRest::OnStable,
            };
            if entry.proxy.is_some() {
                let kind = RouteKind::Weighted { stable: None, canary: None };
                routes.insert(RouteId::from(PROXY_ROUTE), plan(kind));
            }
            for (id, codec) in router.codecs() {
                let kind = RouteKind::Weighted { stable: side(Part::Stable), canary: side(Part::Canary) };
                let rest = facts::rest(&kind, codec.expects(), side(Part::Users));
                routes.insert(id, RoutePlan { rest, ..plan(kind) });
            }
        }
    }
    routes.extend(services(spec));
    Steering::Routes(routes)
}

fn services(spec: &RolloutSpec) -> Vec<(RouteId, RoutePlan)> {
    let plan = |kind, rest| RoutePlan { kind, settle: ServiceRoute::SETTLE, finest: Weight::FULL, rest };
    let mut routes = Vec::new();
    for it in &spec.services {
        let id = |part| ServiceRoute { of: it.service(), part }.id();
        routes.push((id(Part::Stable), plan(RouteKind::ToStable, RouteRest::ByReady)));
        routes.push((id(Part::Canary), plan(RouteKind::ToCanary, RouteRest::OnStable)));
        let users = match it.direct.unwrap_or(Direct::Stable) {
            Direct::Stable => RouteKind::Direct,
            Direct::Proportional => RouteKind::Proportional,
        };
        routes.push((id(Part::Users), plan(users, RouteRest::ByReady)));
    }
    routes
}
