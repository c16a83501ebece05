use analysis::judge::Baseline;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strategies::{Phase, Plan, Revision, Status, Weight, World, settles_at};

use super::counted::Routed;

/// Which revision is what right now, and what each is asked to get.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmsNow {
    /// The revision that serves users.
    pub stable: Option<Revision>,
    /// The revision on trial; `None` while none is.
    pub canary: Option<Revision>,
    /// The canary's share of the requests.
    pub weight: Weight,
    /// Whether some requests go to the canary whatever the weight.
    pub matched: bool,
    /// Whether the canary gets copies of requests.
    pub mirrored: bool,
    /// Since when the data plane has followed this split; `None`: it does not yet.
    pub settled: Option<Timestamp>,
    /// Fresh replicas of stable that get requests too; `None`: there are none.
    #[serde(default)]
    pub fresh: Option<FreshNow>,
}

/// Fresh replicas of stable beside the canary.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreshNow {
    /// What counters call them.
    pub counted_as: Revision,
    /// Their share of the requests.
    pub weight: Weight,
}

/// Which requests of the canary are looked at. Populations that were selected differently are never mixed in one
/// comparison.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Population {
    /// Drawn at random by weight, compared with those of stable that were drawn in the same way.
    Weight,
    /// Drawn at random by weight, but stable gets none: nothing is left to compare with.
    WeightAlone,
    /// Sent by a match: another population than stable's, so they are compared with an objective or not at all.
    Match,
    /// Copies: compared with an objective or not at all.
    Mirror,
}

impl ArmsNow {
    /// What the machine's own records say.
    #[must_use]
    pub fn seen(plan: &Plan, status: &Status, world: &World) -> Self {
        let goal = status.goal();
        let on_trial = match status.phase {
            Phase::Stepping { .. } | Phase::Aborting { .. } => status.canary.clone(),
            Phase::Adopting
            | Phase::Idle
            | Phase::Promoting
            | Phase::RolledBack { .. }
            | Phase::Leaving
            | Phase::Left => None,
        };
        let settles = |(id, route)| world.route(id).get().and_then(|seen| settles_at(route, seen));
        let routes: Option<Vec<Timestamp>> = plan.routes().map(settles).collect();
        Self {
            stable: status.stable.clone(),
            canary: on_trial,
            weight: goal.weight,
            matched: !goal.matches.is_empty(),
            mirrored: goal.mirror != Weight::ZERO,
            settled: routes.map(|it| it.into_iter().max().unwrap_or(status.since)),
            fresh: None,
        }
    }

    /// Whether the canary can get any request at all.
    #[must_use]
    pub fn reaches_canary(&self) -> bool {
        self.canary.is_some() && (self.weight != Weight::ZERO || self.matched || self.mirrored)
    }

    /// Which requests are looked at; `None`: the canary gets none.
    #[must_use]
    pub fn population(&self) -> Option<Population> {
        match self.weight {
            Weight::FULL => Some(Population::WeightAlone),
            weight if weight != Weight::ZERO => Some(Population::Weight),
            _ if self.matched => Some(Population::Match),
            _ if self.mirrored => Some(Population::Mirror),
            _ => None,
        }
    }

    /// Whether requests are divided in the same way.
    pub(super) fn same_split(&self, other: &Self) -> bool {
        let Self { stable, canary, weight, matched, mirrored, settled: _, fresh } = self;
        (stable, canary, weight, matched, mirrored, fresh)
            == (&other.stable, &other.canary, &other.weight, &other.matched, &other.mirrored, &other.fresh)
    }

    /// The canary's share of the requests that are compared, its own and the baseline's; `None`: there is nothing to
    /// compare with.
    pub(super) fn share_of_compared(&self, baseline: Baseline) -> Option<f64> {
        let own = self.weight.fraction();
        match (self.population(), baseline, &self.fresh) {
            (Some(Population::Weight), Baseline::Stable, _) => Some(own),
            (Some(Population::Weight), Baseline::Fresh, Some(fresh)) => {
                Some(own / (own + fresh.weight.fraction()))
            }
            (Some(Population::Weight), Baseline::Fresh, None)
            | (Some(Population::WeightAlone | Population::Match | Population::Mirror) | None, _, _) => None,
        }
    }

    /// Whether that baseline gets requests, where the canary's are compared.
    pub(super) fn has(&self, baseline: Baseline) -> bool {
        self.population() != Some(Population::Weight) || self.share_of_compared(baseline).is_some()
    }
}

impl Population {
    pub(super) fn routed(self) -> Routed {
        match self {
            Self::Weight | Self::WeightAlone => Routed::Weight,
            Self::Match => Routed::Match,
            Self::Mirror => Routed::Mirror,
        }
    }

    /// What is left out, for people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Weight => {
                "requests drawn by weight, compared with stable's that were drawn in the same way"
            }
            Self::WeightAlone => "all requests go to the canary: there is nothing left to compare it with",
            Self::Match => {
                "only requests claimed by a match reach the canary: another population than stable's, so they are \
                 not compared with it"
            }
            Self::Mirror => {
                "only copies reach the canary: another population than stable's, so they are not compared with it"
            }
        }
    }
}
