use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draft, Key, Leaving, Recipe, ScaleSpec, Wrong, draft::bare};
use crate::{HumanDuration, Scale, Step, Weight, step};

/// Copies of requests to the new version, whose answers are dropped; no user sees it before the switch.
///
/// Only safe where a request may be carried out twice.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Shadow {
    /// Share of the requests that is copied. Default 10%.
    pub mirror: Weight,
    /// How large the new version is, where that is not what the copies need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleSpec>,
    /// When enough has been seen. Default: when a person approves.
    pub leave: Leaving,
    /// How long stable keeps its replicas once everything is on the canary. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<step::Bake>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { mirror: Weight::from_percent(10), scale: None, leave: Leaving::by_approval(), bake: None }
    }
}

impl Recipe for Shadow {
    fn compile(&self, draft: &mut Draft<'_>) {
        let Self { mirror, scale, leave, bake } = self;
        if *mirror == Weight::ZERO {
            return draft.wrong(&[Key::Field("mirror")], Wrong::NothingToJudge);
        }
        let name = draft.unused("shadow");
        let leave = draft.within(Key::Field("leave"), |draft| draft.leave(&name, leave));
        let step = Step { mirror: Some(*mirror), scale: scale.map(Scale::from), ..bare(name, leave) };
        draft.push(step);
        draft.promote(*bake);
    }

    fn examples() -> Vec<Self> {
        vec![
            Self::default(),
            Self {
                mirror: Weight::FULL,
                leave: Leaving {
                    pause: Some(step::Pause { length: Some(HumanDuration::from_mins(10)) }),
                    ..Leaving::default()
                },
                bake: Some(step::Bake { length: HumanDuration::from_mins(30) }),
                ..Self::default()
            },
        ]
    }
}
