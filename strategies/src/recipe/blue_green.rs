use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draft, Key, Leaving, Recipe, ScaleSpec, draft::bare};
use crate::{HumanDuration, Leave, Name, Scale, Step, StepMatch, Weight, step};

/// The whole new version beside the old one, then all requests at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BlueGreen {
    /// How the new version can be looked at before it gets the users' requests.
    pub preview: Preview,
    /// What must hold before the switch, one after the other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub before: Vec<Leaving>,
    /// Who switches. Default: the engine, at once.
    pub promote: Promote,
    /// What must hold after the switch, one after the other; stable keeps its replicas so long.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub after: Vec<Leaving>,
    /// How much longer stable keeps its replicas. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<step::Bake>,
}

/// How the new version can be looked at before it gets the users' requests.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Preview {
    /// Kubernetes: a Service of this name selects the new version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// Requests that reach the new version before the switch.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub matched: Option<StepMatch>,
    /// How large it is before the switch. Default: as large as stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<ScaleSpec>,
}

/// Who switches.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Promote {
    /// The engine, as soon as everything before has passed.
    Auto(step::AtOnce),
    /// A person, by `serinus promote`.
    Manual(step::AtOnce),
    /// The engine, so much later; a person may be earlier.
    After(HumanDuration),
}

impl Default for Promote {
    fn default() -> Self {
        Self::Auto(step::AtOnce {})
    }
}

impl Recipe for BlueGreen {
    fn compile(&self, draft: &mut Draft<'_>) {
        let Self { preview, before, promote, after, bake } = self;
        let full = Scale::Share(Weight::FULL);
        let scale = preview.scale.map_or(full, Scale::from);
        let first = Step {
            scale: Some(scale),
            matches: preview.matched.iter().cloned().collect(),
            ..bare(draft.unused("preview"), Leave::AtOnce(step::AtOnce {}))
        };
        draft.within(Key::Field("preview"), |draft| draft.push(first));
        gates("before", before, draft);
        let hold = match promote {
            Promote::Auto(_) => None,
            Promote::Manual(_) => Some(step::Pause { length: None }),
            Promote::After(length) => Some(step::Pause { length: Some(*length) }),
        };
        // A smaller preview is brought to full size before the switch, and a person sees it at full size.
        if let Some(pause) = hold {
            let step = Step { scale: Some(full), ..bare(draft.unused("ready"), Leave::Pause(pause)) };
            draft.within(Key::Field("promote"), |draft| draft.push(step));
        }
        let at_once = Leave::AtOnce(step::AtOnce {});
        let switch = Step { weight: Some(Weight::FULL), scale: Some(full), ..bare(draft.unused("switch"), at_once) };
        draft.push(switch);
        gates("after", after, draft);
        draft.promote(*bake);
    }

    fn examples() -> Vec<Self> {
        let analyze = Leaving {
            analyze: Some(super::AnalyzeSpec { length: Some(HumanDuration::from_mins(5)), ..Default::default() }),
            ..Leaving::default()
        };
        let smoke = super::TemplateUse { kind: Default::default(), name: "smoke".into(), args: vec![] };
        let before = Leaving {
            analyze: Some(super::AnalyzeSpec { templates: vec![smoke], length: None }),
            ..Leaving::default()
        };
        vec![
            Self::default(),
            Self {
                preview: Preview { scale: Some(ScaleSpec::Replicas(2)), ..Preview::default() },
                before: vec![before],
                promote: Promote::Manual(step::AtOnce {}),
                after: vec![analyze],
                bake: Some(step::Bake { length: HumanDuration::from_mins(30) }),
            },
            Self { promote: Promote::After(HumanDuration::from_mins(10)), ..Self::default() },
        ]
    }
}

fn gates(key: &'static str, gates: &[Leaving], draft: &mut Draft<'_>) {
    for (index, gate) in gates.iter().enumerate() {
        draft.within(Key::Field(key), |draft| {
            draft.within(Key::Index(index), |draft| {
                let name = draft.unused(&format!("{key}-{}", index.saturating_add(1)));
                let leave = draft.leave(&name, gate);
                draft.push(bare(name, leave));
            });
        });
    }
}
