use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Draft, Factor, Key, Leaving, Recipe, Wrong, linear::climb};
use crate::{Weight, step};

/// A share that is multiplied each time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Exponential {
    /// The first share. Default 1%.
    pub from: Weight,
    /// By what it is multiplied. Default 2x.
    pub factor: Factor,
    /// The largest share before everything is on the canary. Default 50%.
    pub up_to: Weight,
    /// When to leave each share. Default: when the evidence suffices.
    pub leave: Leaving,
    /// How long stable keeps its replicas once everything is on the canary. Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bake: Option<step::Bake>,
}

impl Default for Exponential {
    fn default() -> Self {
        Self {
            from: Weight::ONE_PERCENT,
            factor: Factor::DOUBLE,
            up_to: Weight::from_percent(50),
            leave: Leaving::by_evidence(),
            bake: None,
        }
    }
}

impl Recipe for Exponential {
    fn compile(&self, draft: &mut Draft<'_>) {
        let Self { from, factor, up_to, leave, bake } = self;
        if *factor == Factor::ONE {
            return draft.wrong(&[Key::Field("factor")], Wrong::NeverGrows);
        }
        if *from == Weight::ZERO {
            return draft.wrong(&[Key::Field("from")], Wrong::NeverGrows);
        }
        if up_to < from {
            return draft.wrong(&[Key::Field("upTo")], Wrong::StartsAboveEnd { from: *from, up_to: *up_to });
        }
        let next = |it: &Weight| (*it < *up_to).then(|| factor.times(*it).min(*up_to));
        climb(std::iter::successors(Some(*from), next), Key::Field("factor"), leave, draft);
        draft.promote(*bake);
    }

    fn examples() -> Vec<Self> {
        vec![
            Self::default(),
            Self {
                from: Weight::from_ppm(1),
                factor: "10x".parse().unwrap_or(Factor::DOUBLE),
                up_to: Weight::FULL,
                ..Self::default()
            },
        ]
    }
}
