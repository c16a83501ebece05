use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draft, Key, Leaving, Recipe, Stage};
use crate::{HumanDuration, Pattern, RequestMatch, StepMatch, Weight, split::Field, step};

/// A growing share of the requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Canary {
    /// What happens before everything is on the canary. Default: 5, 10, 25 and 50 %, each until the evidence
    /// suffices, at least 1m and at most 30m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<Stage>>,
    /// How long stable keeps its replicas once everything is on the canary. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<step::Bake>,
}

impl Canary {
    /// Shares of the default, in percent. Above 25 % more weight buys little time and doubles the damage that a
    /// bad version does; 50 % is there for what only shows under load.
    const SHARES: [u32; 4] = [5, 10, 25, 50];
}

impl Recipe for Canary {
    fn compile(&self, draft: &mut Draft<'_>) {
        match &self.steps {
            Some(steps) => draft.within(Key::Field("steps"), |draft| draft.stages(steps)),
            None => {
                for share in Self::SHARES {
                    draft.weight(Weight::from_percent(share), &Leaving::by_evidence());
                }
            }
        }
        draft.promote(self.bake);
    }

    fn examples() -> Vec<Self> {
        let header = Field { name: "x-canary".into(), value: Pattern::Exact("1".into()) };
        let staff = StepMatch {
            id: "staff".into(),
            any_of: vec![RequestMatch { headers: vec![header], ..RequestMatch::default() }],
        };
        let bake = Some(step::Bake { length: HumanDuration::from_mins(30) });
        vec![
            Self::default(),
            Self {
                steps: Some(vec![
                    Stage {
                        matched: Some(staff),
                        scale: Some(super::ScaleSpec::Replicas(1)),
                        approve: Some(step::Approve::default()),
                        ..Stage::default()
                    },
                    Stage {
                        name: Some("five".into()),
                        weight: Some(Weight::from_percent(5)),
                        until: Some(super::UntilSpec::default()),
                        ..Stage::default()
                    },
                    Stage {
                        weight: Some(Weight::from_percent(50)),
                        mirror: Some(Weight::from_percent(10)),
                        analyze: Some(super::AnalyzeSpec::default()),
                        ..Stage::default()
                    },
                    Stage {
                        weight: Some(Weight::FULL),
                        pause: Some(step::Pause { length: Some(HumanDuration::from_mins(10)) }),
                        ..Stage::default()
                    },
                ]),
                bake,
            },
        ]
    }
}
