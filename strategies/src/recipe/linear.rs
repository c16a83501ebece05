use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draft, Key, Leaving, Recipe, Wrong};
use crate::{HumanDuration, Weight, step};

/// A share that grows by the same amount each time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Linear {
    /// The first share. Default: the same as `by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Weight>,
    /// How much it grows. Default 10%.
    pub by: Weight,
    /// The largest share before everything is on the canary. Default 50%.
    pub up_to: Weight,
    /// When to leave each share. Default: when the evidence suffices.
    pub leave: Leaving,
    /// How long stable keeps its replicas once everything is on the canary. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<step::Bake>,
}

impl Default for Linear {
    fn default() -> Self {
        Self {
            from: None,
            by: Weight::from_percent(10),
            up_to: Weight::from_percent(50),
            leave: Leaving::by_evidence(),
            bake: None,
        }
    }
}

impl Recipe for Linear {
    fn compile(&self, draft: &mut Draft<'_>) {
        let Self { from, by, up_to, leave, bake } = self;
        let from = from.unwrap_or(*by);
        if *by == Weight::ZERO {
            return draft.wrong(&[Key::Field("by")], Wrong::NeverGrows);
        }
        if *up_to < from {
            return draft.wrong(&[Key::Field("upTo")], Wrong::StartsAboveEnd { from, up_to: *up_to });
        }
        let shares = std::iter::successors(Some(from), |it| (*it < *up_to).then(|| it.saturating_add(*by).min(*up_to)));
        climb(shares, Key::Field("by"), leave, draft);
        draft.promote(*bake);
    }

    fn examples() -> Vec<Self> {
        vec![
            Self::default(),
            Self {
                from: Some(Weight::ONE_PERCENT),
                by: Weight::from_percent(33),
                up_to: Weight::from_percent(80),
                leave: Leaving {
                    pause: Some(step::Pause { length: Some(HumanDuration::from_mins(5)) }),
                    ..Leaving::default()
                },
                bake: Some(step::Bake { length: HumanDuration::from_mins(30) }),
            },
        ]
    }
}

/// One step per share, as far as there is room; what does not fit is a mistake at `key`.
pub(super) fn climb(shares: impl Iterator<Item = Weight>, key: Key, leave: &Leaving, draft: &mut Draft<'_>) {
    // Counted without making them: a share of 0.0001% would take a million steps.
    let mut beyond: usize = 0;
    for share in shares {
        if draft.has_room() && beyond == 0 {
            draft.weight(share, leave);
        } else {
            beyond = beyond.saturating_add(1);
        }
    }
    if 0 < beyond || !draft.has_room() {
        draft.wrong(&[key], Wrong::TooManySteps { steps: beyond.saturating_add(super::MOST_STEPS) });
    }
}
