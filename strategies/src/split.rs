use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Arm, HumanDuration, Name, RouteId, Weight};

/// Where a share of requests goes.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Dest {
    /// To the replicas themselves.
    Arm(Arm),
    /// Through another route: an HTTPRoute's backend is a Service. Routes form a DAG.
    Route(RouteId),
}

/// What each destination of one route gets.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Split {
    /// Who answers the requests that no match claims.
    pub share: Share,
    /// Requests that go to one destination whatever the weights, first match wins.
    pub matches: Vec<Matched>,
    /// Copies whose answers are dropped, as a share of all requests.
    #[serde(with = "pairs")]
    pub mirrors: BTreeMap<Dest, Weight>,
    /// Whether a client stays where it was first sent.
    pub sticky: Option<Sticky>,
}

/// How the requests that no match claims are divided.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Share {
    /// By weight; the weights sum to [`Weight::FULL`].
    Fixed(#[serde(with = "pairs")] BTreeMap<Dest, Weight>),
    /// Every ready replica of these arms gets the same: an unpinned Service, a plain load balancer.
    ByReady(BTreeSet<Arm>),
}

/// Requests that are sent by what they carry.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Matched {
    /// What later steps and counters call it.
    pub id: Name,
    /// It applies if any of these holds.
    pub any_of: Vec<RequestMatch>,
    /// Where such requests go.
    pub to: Dest,
}

/// A condition on one request: everything that is given must hold.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RequestMatch {
    /// Headers; names are case-insensitive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Field>,
    /// Cookies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub cookies: Vec<Field>,
    /// Query parameters, percent-decoded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub query: Vec<Field>,
    /// The path, percent-encoded as it was sent, without the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Pattern>,
}

/// One named part of a request and what it must be.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// What its value must be.
    #[serde(flatten)]
    pub value: Pattern,
}

/// What a text must be.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Pattern {
    /// Exactly this.
    Exact(Name),
    /// Beginning with this.
    Prefix(Name),
    /// Matched whole by this regular expression, where the router can.
    Regex(Name),
}

/// Clients stay on the side they were first sent to, by a signed cookie that names the revision.
#[derive(Clone, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sticky {
    /// Name of the cookie. Default `serinus`.
    #[serde(default = "Sticky::default_cookie")]
    pub cookie: Name,
    /// How long a client stays. Default 1 h.
    #[serde(default = "Sticky::default_ttl")]
    pub ttl: HumanDuration,
}

impl Sticky {
    fn default_cookie() -> Name {
        "serinus".into()
    }

    fn default_ttl() -> HumanDuration {
        HumanDuration::from_mins(60)
    }
}

impl Default for Sticky {
    fn default() -> Self {
        Self { cookie: Self::default_cookie(), ttl: Self::default_ttl() }
    }
}

impl Split {
    /// Everything to one destination.
    #[must_use]
    pub fn all_to(dest: Dest) -> Self {
        Self::fixed(BTreeMap::from([(dest, Weight::FULL)]))
    }

    /// By weight; destinations without weight are left out, so that equal splits compare equal.
    #[must_use]
    pub fn fixed(mut weights: BTreeMap<Dest, Weight>) -> Self {
        weights.retain(|_, weight| *weight != Weight::ZERO);
        Self { share: Share::Fixed(weights), matches: vec![], mirrors: BTreeMap::new(), sticky: None }
    }

    /// To every ready replica of these arms alike.
    #[must_use]
    pub fn by_ready(arms: BTreeSet<Arm>) -> Self {
        Self { share: Share::ByReady(arms), matches: vec![], mirrors: BTreeMap::new(), sticky: None }
    }

    /// The weight of one destination; [`Weight::ZERO`] where it is none, or where shares are not fixed.
    #[must_use]
    pub fn weight_of(&self, dest: &Dest) -> Weight {
        match &self.share {
            Share::Fixed(weights) => weights.get(dest).copied().unwrap_or_default(),
            Share::ByReady(_) => Weight::ZERO,
        }
    }

    /// Every destination this split can send a request or a copy to.
    pub fn dests(&self) -> impl Iterator<Item = Dest> + '_ {
        let shares: Vec<Dest> = match &self.share {
            Share::Fixed(weights) => weights.keys().cloned().collect(),
            Share::ByReady(arms) => arms.iter().cloned().map(Dest::Arm).collect(),
        };
        let matches = self.matches.iter().map(|it| it.to.clone());
        shares.into_iter().chain(matches).chain(self.mirrors.keys().cloned())
    }

    /// Whether `dest` gets nothing here that it would not get under `authorised` too: no larger weight, no
    /// match and no mirror that is not authorised. A partial order.
    #[must_use]
    pub fn within(&self, authorised: &Self, dest: &Dest) -> bool {
        let by_ready = |split: &Self| match (&split.share, dest) {
            (Share::ByReady(arms), Dest::Arm(arm)) => arms.contains(arm),
            (Share::ByReady(_), Dest::Route(_)) | (Share::Fixed(_), _) => false,
        };
        let matched = |it: &&Matched| it.to == *dest;
        self.weight_of(dest) <= authorised.weight_of(dest)
            && (!by_ready(self) || by_ready(authorised))
            && self.matches.iter().filter(matched).all(|it| authorised.matches.contains(it))
            && self.mirrors.get(dest).copied().unwrap_or_default()
                <= authorised.mirrors.get(dest).copied().unwrap_or_default()
    }
}

/// A map whose keys are records, as a list of pairs: JSON objects have only text keys.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
