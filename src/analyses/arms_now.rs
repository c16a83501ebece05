use analysis::{judge::Baseline, poll::Drawn};
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

/// Fresh replicas of stable beside the canary: its [`Role::Baseline`](strategies::Role::Baseline).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FreshNow {
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
    /// Copies of users' requests: compared with all of stable's, of which they are a random part.
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

    /// With which requests of that baseline the canary's are compared; `None`: with none.
    pub(super) fn compared(&self, baseline: Baseline) -> Option<Compared> {
        let own = self.weight.fraction();
        match (self.population()?, baseline, &self.fresh) {
            (Population::Weight, Baseline::Stable, _) => Some(Compared::Drawn(own)),
            (Population::Weight, Baseline::Fresh, Some(fresh)) => {
                Some(Compared::Drawn(own / (own + fresh.weight.fraction())))
            }
            (Population::Mirror, Baseline::Stable, _) => Some(Compared::Copied),
            (Population::Match, Baseline::Stable, _) => Some(Compared::Others),
            (Population::Weight | Population::Match | Population::Mirror, Baseline::Fresh, _)
            | (Population::WeightAlone, _, _) => None,
        }
    }

    /// Whether that baseline gets requests, where the canary's are compared.
    pub(super) fn has(&self, baseline: Baseline) -> bool {
        self.population() != Some(Population::Weight) || self.compared(baseline).is_some()
    }
}

/// How the requests that the canary's are compared with were chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Compared {
    /// At random by weight as the canary's were, which are this share of both.
    Drawn(f64),
    /// They are the originals, and others like them.
    Copied,
    /// In another way: only what is wrong whoever asks can be compared.
    Others,
}

impl Compared {
    /// The canary's share of the requests of both, where it says whether a weight was kept.
    pub(super) fn share(self) -> Option<f64> {
        match self {
            Self::Drawn(share) => Some(share),
            Self::Copied | Self::Others => None,
        }
    }

    /// Whether both sides' requests are alike.
    pub(super) fn drawn(self) -> Drawn {
        match self {
            Self::Drawn(_) | Self::Copied => Drawn::Alike,
            Self::Others => Drawn::Apart,
        }
    }
}

impl Population {
    /// How the requests were routed that these are compared with.
    pub(super) fn compared_with(self) -> &'static [Routed] {
        match self {
            Self::Weight | Self::WeightAlone => &[Routed::Weight],
            Self::Match | Self::Mirror => &[Routed::Weight, Routed::Match, Routed::Sticky],
        }
    }

    /// Whether they are compared with requests like them.
    pub(super) fn is_compared(self) -> bool {
        match self {
            Self::Weight | Self::Mirror => true,
            Self::WeightAlone | Self::Match => false,
        }
    }

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
                "only requests claimed by a match reach the canary: another population than stable's, so nothing but \
                 far more failures than stable's counts against it (`answers`)"
            }
            Self::Mirror => {
                "only copies of users' requests reach the canary: its answers to them are compared with stable's"
            }
        }
    }
}
