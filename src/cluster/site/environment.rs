//! What a rollout at work asks of a cluster.

use std::{collections::BTreeMap, time::Duration};

use analysis::judge::Baseline;
use serde_json::Value;
use strategies::{Arm, Ready, Revision};

use super::Site;
use crate::{
    analyses::{Counted, FreshNow, PodHealth},
    api::view::{AddressView, Trouble},
    clock,
    cluster::{Server, pods},
    object::text,
    port::Unavailable,
    rollout::{ArmNow, Depth, Environment, News, Pace, Trial},
    workload::PodNames,
    written::Fact,
};

/// Between two looks of the guard on pods: a change of a pod is told when it happens.
const PODS_EVERY: Duration = Duration::from_secs(10);

impl<S: Server> Site<S> {
    fn pods_of(&self, arm: &Arm) -> Vec<&Value> {
        let (Some(objects), Some(look)) = (self.objects(), self.driven.look()) else { return vec![] };
        pods::by_arm(objects, &look.hashes).remove(arm).unwrap_or_default()
    }
}

impl<S: Server> Environment for Site<S> {
    async fn counted(&mut self) -> Vec<Counted> {
        vec![]
    }

    async fn pods(&mut self, _: Depth) -> Option<Vec<PodHealth>> {
        let (objects, look) = (self.objects()?, self.driven.look()?);
        if objects.is_unread(&crate::cluster::driven::pods()) {
            return None;
        }
        let all = pods::by_arm(objects, &look.hashes);
        let health = |(arm, pods): (&Arm, &Vec<&Value>)| {
            pods.iter().map(|it| pods::health(arm, it)).collect::<Vec<_>>()
        };
        Some(all.iter().flat_map(health).collect())
    }

    fn facts(&self, revision: &Revision, of: Baseline) -> BTreeMap<Fact, String> {
        let mut facts = BTreeMap::from([(Fact::Hash, revision.to_string())]);
        let Some(look) = self.driven.look().filter(|_| of == Baseline::Stable) else { return facts };
        let arm = Arm::main(revision.clone());
        if let Some(hash) = look.hashes.get(&arm) {
            facts.insert(Fact::Hash, hash.to_string());
            let pods = match look.named {
                PodNames::ByHash => Some(format!("{}-{hash}-.*", self.driven.workload().name)),
                PodNames::Listed => {
                    let pods = self.pods_of(&arm);
                    let names: Vec<&str> = pods.iter().filter_map(|it| text(it, "/metadata/name")).collect();
                    (!names.is_empty()).then(|| names.join("|"))
                }
            };
            facts.extend(pods.map(|it| (Fact::Pods, it)));
        }
        if let (Some(service), Some((_, status, _))) = (self.driven.services().first(), &self.seen) {
            let of = if status.stable.as_ref() == Some(revision) { &service.stable } else { &service.canary };
            facts.insert(Fact::Service, of.to_string());
        }
        facts
    }

    fn arms(&self) -> Vec<ArmNow> {
        let Some(look) = self.driven.look() else { return vec![] };
        let one = |(arm, seen): (&Arm, &strategies::ArmSeen)| ArmNow {
            arm: arm.clone(),
            desired: seen.desired,
            ready: match seen.ready {
                Some(Ready::Replicas(it)) => Some(it),
                Some(Ready::Elastic) | None => None,
            },
            replicas: (self.pods_of(arm).into_iter().enumerate())
                .map(|(ordinal, it)| pods::replica(ordinal, it))
                .collect(),
        };
        look.arms.iter().map(one).collect()
    }

    fn fresh(&self) -> Option<FreshNow> {
        None
    }

    fn trial(&self, arm: &Arm) -> Trial {
        let desired = self.driven.look().and_then(|it| it.arms.get(arm)).map_or(0, |it| it.desired);
        pods::trial(&self.pods_of(arm), desired, clock::now())
    }

    fn addresses(&self) -> Vec<AddressView> {
        vec![]
    }

    fn troubles(&self) -> Vec<Trouble> {
        let since = self.seen.as_ref().map_or_else(clock::now, |(_, status, _)| status.since);
        let one =
            |it: &crate::object::Trouble| Trouble { text: format!("{}: {}", it.object, it.what), since };
        let watched = self.server.troubles(&self.driven.needs(true));
        let watched = watched.into_iter().map(|text| Trouble { text, since });
        let mistakes = self.mistakes.iter().map(|it| Trouble {
            text: format!("the document has a mistake, and the one before it is followed: {it}"),
            since,
        });
        mistakes.chain(self.driven.troubles().iter().map(one)).chain(watched).collect()
    }

    fn pace(&self) -> Pace {
        Pace { counts: None, pods: PODS_EVERY }
    }

    fn look_again(&self) -> Option<Duration> {
        None
    }

    /// Whoever lets the rollout take its turns hears of changes.
    async fn changed(&mut self) -> News {
        std::future::pending().await
    }

    async fn dissolve(&mut self) -> Result<bool, Unavailable> {
        self.let_go().await
    }
}
