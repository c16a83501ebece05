use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AnalyzeSpec, Draft, Key, Leaving, UntilSpec};
use crate::{Name, Scale, Step, StepMatch, Sticky, Weight, step};

/// One step as it is written: what holds, then when to leave, exactly one of `until`, `analyze`, `approve`,
/// `pause` and `atOnce`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Step")]
pub struct Stage {
    /// What orders, guards and the status call it. Default: made from what it does, for example `weight-5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<Name>,
    /// The canary's share of the requests. Default: as in the step before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Requests that go to the canary whatever the weight, until a later step ends the match.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<StepMatch>,
    /// Share of the requests copied to the canary, whose answers are dropped. Default: as in the step before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Weight>,
    /// Clients stay on the side they were first sent to. Default: as in the step before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// How large the canary is, where that is not what its requests need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleSpec>,
    /// Leave when the evidence suffices that the canary is no worse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<UntilSpec>,
    /// Leave when analyses of fixed length have passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analyze: Option<AnalyzeSpec>,
    /// Leave when a person says yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approve: Option<step::Approve>,
    /// Leave after a time; `{}`: when a person promotes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause: Option<step::Pause>,
    /// Leave as soon as the step has settled: replicas ready, data plane switched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_once: Option<step::AtOnce>,
}

/// How large the canary is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Scale")]
pub enum ScaleSpec {
    /// As large as its share of the requests needs.
    Traffic(step::AtOnce),
    /// This share of the wanted replicas, or more where its requests need more.
    Share(Weight),
    /// So many replicas, or more where its requests need more.
    Replicas(u32),
}

impl From<ScaleSpec> for Scale {
    fn from(it: ScaleSpec) -> Self {
        match it {
            ScaleSpec::Traffic(_) => Self::Traffic,
            ScaleSpec::Share(share) => Self::Share(share),
            ScaleSpec::Replicas(replicas) => Self::Replicas(replicas),
        }
    }
}

impl Stage {
    /// Adds this step to `draft`.
    pub(super) fn compile(&self, index: usize, draft: &mut Draft<'_>) {
        let Self { name, weight, matched, mirror, sticky, scale, until, analyze, approve, pause, at_once } =
            self;
        let leaving = Leaving {
            until: until.clone(),
            analyze: analyze.clone(),
            approve: *approve,
            pause: *pause,
            at_once: *at_once,
        };
        let name = name.clone().unwrap_or_else(|| draft.unused(&self.described(index)));
        let leave = draft.leave(&name, &leaving);
        let step = Step {
            name,
            weight: *weight,
            matches: matched.iter().cloned().collect(),
            mirror: *mirror,
            sticky: sticky.clone(),
            scale: scale.map(Scale::from),
            leave,
        };
        draft.push(step);
    }

    fn described(&self, index: usize) -> String {
        match (&self.weight, &self.matched, &self.mirror) {
            (Some(weight), _, _) => named_after(*weight),
            (None, Some(matched), _) if !matched.any_of.is_empty() => matched.id.to_string(),
            (None, _, Some(_)) => "mirror".into(),
            (None, _, None) => format!("step-{}", index.saturating_add(1)),
        }
    }
}

/// `weight-5`, `weight-0-5`.
pub(super) fn named_after(weight: Weight) -> String {
    format!("weight-{}", weight.to_string().trim_end_matches('%').replace('.', "-"))
}

/// Adds every step of a list.
pub(super) fn compile_all(stages: &[Stage], draft: &mut Draft<'_>) {
    for (index, stage) in stages.iter().enumerate() {
        draft.within(Key::Index(index), |draft| stage.compile(index, draft));
    }
}
