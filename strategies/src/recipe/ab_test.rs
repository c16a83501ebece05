use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draft, Key, Leaving, Recipe, ScaleSpec, Wrong, draft::bare};
use crate::{HumanDuration, Pattern, RequestMatch, Scale, Step, StepMatch, Sticky, Weight, split::Field, step};

/// Some clients on the new version for the length of a test, the others on the old one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AbTest {
    /// Clients told apart by what they send.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub matches: Vec<StepMatch>,
    /// A random share of the others too. Default 0%.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Clients stay on the side they were first sent to. Default `{}` where there is a `weight`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// How large the new version is, where that is not what its requests need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleSpec>,
    /// When the test is over. Default: when a person approves.
    pub leave: Leaving,
    /// How long stable keeps its replicas once everything is on the canary. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<step::Bake>,
}

impl Default for AbTest {
    fn default() -> Self {
        Self {
            matches: vec![],
            weight: None,
            sticky: None,
            scale: None,
            leave: Leaving::by_approval(),
            bake: None,
        }
    }
}

impl Recipe for AbTest {
    fn compile(&self, draft: &mut Draft<'_>) {
        let Self { matches, weight, sticky, scale, leave, bake } = self;
        let weight = weight.filter(|it| *it != Weight::ZERO);
        if matches.is_empty() && weight.is_none() {
            return draft.wrong(&[], Wrong::NobodyChosen);
        }
        let name = draft.unused("test");
        let leave = draft.within(Key::Field("leave"), |draft| draft.leave(&name, leave));
        // A client that changes sides in the middle of a test belongs to neither.
        let sticky = sticky.clone().or_else(|| weight.map(|_| Sticky::default()));
        let step = Step {
            weight,
            matches: matches.clone(),
            sticky,
            scale: scale.map(Scale::from),
            ..bare(name, leave)
        };
        draft.push(step);
        draft.promote(*bake);
    }

    fn examples() -> Vec<Self> {
        let cookie = Field { name: "beta".into(), value: Pattern::Exact("yes".into()) };
        let beta = StepMatch {
            id: "beta".into(),
            any_of: vec![RequestMatch { cookies: vec![cookie], ..RequestMatch::default() }],
        };
        vec![
            Self { matches: vec![beta.clone()], ..Self::default() },
            Self {
                matches: vec![beta],
                weight: Some(Weight::from_percent(20)),
                leave: Leaving {
                    analyze: Some(super::AnalyzeSpec {
                        length: Some(HumanDuration::from_mins(60)),
                        ..Default::default()
                    }),
                    ..Leaving::default()
                },
                bake: Some(step::Bake { length: HumanDuration::from_mins(30) }),
                ..Self::default()
            },
        ]
    }
}
