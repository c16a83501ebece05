//! Recipes: the strategies that people write, each compiled to one list of [`Step`]s.
//!
//! Adding a strategy: write `recipe/<name>.rs` with a type that implements [`Recipe`], then add one line to
//! `recipes!` below. The snapshot of what it compiles to and the property tests pick it up from there.
//!
//! A recipe never fails: what is wrong with it goes to the [`Draft`] as [`Wrong`], with the place in the
//! document, so that a reader reports all mistakes at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Name, Step};

mod draft;
mod factor;
mod leaving;
mod stage;
mod wrong;

pub use self::{
    draft::{Draft, MOST_STEPS, Use},
    factor::{Factor, InvalidFactor},
    leaving::{AnalyzeSpec, Argument, Evidence, Leaving, TemplateKind, TemplateUse, UntilSpec},
    stage::{ScaleSpec, Stage},
    wrong::{Key, Mistake, Wrong},
};

/// What a recipe may know about the rollout it is part of.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The rollout's own analyses: what a step is judged by that names no templates.
    pub analyses: &'a [Name],
}

/// What a recipe compiles to.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// The steps; the last one asks for all traffic, unless there are mistakes.
    pub steps: Vec<Step>,
    /// The templates that steps use by themselves, by the name of the analysis they make.
    pub uses: Vec<Use>,
    /// Where in the strategy each step was written, step by step.
    pub origins: Vec<Vec<Key>>,
    /// What is wrong; empty: the steps may be run.
    pub mistakes: Vec<Mistake>,
}

/// How one strategy becomes steps.
pub trait Recipe {
    /// Adds its steps to `draft`, the last of which asks for all traffic.
    fn compile(&self, draft: &mut Draft<'_>);

    /// Typical and extreme uses, for documentation and tests. The first is the shortest one can write.
    fn examples() -> Vec<Self>
    where
        Self: Sized;
}

macro_rules! recipes {
    ($($(#[$doc:meta])* $module:ident :: $Kind:ident,)*) => {
        $(mod $module; pub use $module::*;)*

        /// How a new version is taken to its users.
        #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Strategy { $($(#[$doc])* $Kind($Kind),)* }

        impl Recipe for Strategy {
            fn compile(&self, draft: &mut Draft<'_>) {
                match self { $(Self::$Kind(it) => it.compile(draft),)* }
            }

            fn examples() -> Vec<Self> {
                [$($Kind::examples().into_iter().map(Self::$Kind).collect::<Vec<_>>(),)*].concat()
            }
        }
    };
}

recipes! {
    /// A growing share of the requests. `{}`: 5, 10, 25 and 50 % as the evidence allows, then all.
    canary::Canary,
    /// A share that grows by the same amount each time.
    linear::Linear,
    /// A share that is multiplied each time.
    exponential::Exponential,
    /// The whole new version beside the old one, then all requests at once.
    blue_green::BlueGreen,
    /// Some clients, told apart by what they send, on the new version for the length of a test.
    ab_test::AbTest,
    /// Copies of requests, whose answers are dropped.
    shadow::Shadow,
}

impl Strategy {
    /// The steps it stands for.
    #[must_use]
    pub fn steps(&self, context: Context<'_>) -> Steps {
        let mut draft = Draft::new(context);
        self.compile(&mut draft);
        draft.finish()
    }

    /// Its key in a document.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Canary(_) => "canary",
            Self::Linear(_) => "linear",
            Self::Exponential(_) => "exponential",
            Self::BlueGreen(_) => "blueGreen",
            Self::AbTest(_) => "abTest",
            Self::Shadow(_) => "shadow",
        }
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Canary(Canary::default())
    }
}
