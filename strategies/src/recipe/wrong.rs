use std::fmt;

use crate::{HumanDuration, Name, Weight};

/// One step of the way to a place in a document.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// This field of a record.
    Field(&'static str),
    /// This entry of a list, from 0.
    Index(usize),
}

/// Something wrong with a recipe, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// The way from the strategy's own record to the place.
    pub at: Vec<Key>,
    /// What is wrong.
    pub what: Wrong,
}

/// What can be wrong with a recipe. [`fmt::Display`] says what; [`Wrong::cure`] what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    /// A step that never ends by itself nor by anybody.
    NoWayToLeave,
    /// A step with several ways to leave.
    SeveralWaysToLeave {
        /// Those given.
        given: Vec<&'static str>,
    },
    /// Two steps of one name.
    SameName {
        /// The name.
        name: Name,
    },
    /// An empty list of steps.
    NoSteps,
    /// More steps than [`MOST_STEPS`](super::MOST_STEPS).
    TooManySteps {
        /// So many.
        steps: usize,
    },
    /// A step in which nothing is other than in the step before, and that ends at once.
    DoesNothing,
    /// A step that waits for evidence while the canary gets no request and no copy of one.
    NothingToJudge,
    /// A step that is judged by the rollout's own analyses where there are none.
    NoAnalyses,
    /// The earliest end of a step is after its latest.
    MinAboveMax {
        /// The earliest.
        min: HumanDuration,
        /// The latest.
        max: HumanDuration,
    },
    /// Shares that never grow.
    NeverGrows,
    /// The first share is above the last.
    StartsAboveEnd {
        /// The first.
        from: Weight,
        /// The last.
        up_to: Weight,
    },
    /// A share lower than that of the step before: legal, and seldom meant.
    GoesBack {
        /// The share before.
        before: Weight,
        /// The share now.
        now: Weight,
    },
    /// A test without a way to tell its clients.
    NobodyChosen,
    /// A match that ends what never began.
    EndsNothing {
        /// Its id.
        id: Name,
    },
    /// Copies where stable answers nothing that could be copied.
    NothingToMirror,
    /// A time of zero where some time must pass.
    NoTime,
}

impl Wrong {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoWayToLeave => "step-without-end",
            Self::SeveralWaysToLeave { .. } => "step-with-several-ends",
            Self::SameName { .. } => "duplicate-name",
            Self::NoSteps => "no-steps",
            Self::TooManySteps { .. } => "too-many-steps",
            Self::DoesNothing => "step-does-nothing",
            Self::NothingToJudge => "nothing-to-judge",
            Self::NoAnalyses => "no-analyses",
            Self::MinAboveMax { .. } => "min-above-max",
            Self::NeverGrows | Self::StartsAboveEnd { .. } => "weights-go-nowhere",
            Self::GoesBack { .. } => "weight-goes-back",
            Self::NobodyChosen => "nobody-chosen",
            Self::EndsNothing { .. } => "match-ends-nothing",
            Self::NothingToMirror => "nothing-to-mirror",
            Self::NoTime => "no-time",
        }
    }

    /// Whether the steps may be run all the same.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::GoesBack { .. })
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(&self) -> String {
        match self {
            Self::NoWayToLeave => {
                "give it one of `until`, `analyze`, `approve`, `pause` or `atOnce`, for example `until: {}` to leave when the \
                 evidence suffices"
                    .into()
            }
            Self::SeveralWaysToLeave { given } => {
                format!("keep one; to have {} one after the other, write two steps", ticked(given, "and"))
            }
            Self::SameName { .. } => "orders and guards name steps: give each its own name".into(),
            Self::NoSteps => "leave `steps` out to get 5, 10, 25 and 50 %, each as the evidence allows".into(),
            Self::TooManySteps { .. } => {
                format!("a rollout has at most {} steps; `linear` and `exponential` make them for you", super::MOST_STEPS)
            }
            Self::DoesNothing => "remove it, or change `weight`, `match`, `mirror` or `scale`".into(),
            Self::NothingToJudge => {
                "give the step a `weight`, a `match` or a `mirror`, or leave it by `approve` or `pause`".into()
            }
            Self::NoAnalyses => "name templates in this step, or give the rollout `analyses`".into(),
            Self::MinAboveMax { min, .. } => format!("raise `max` above {min} or lower `min`"),
            Self::NeverGrows => "let it grow: `by` above 0%, `factor` above 1x".into(),
            Self::StartsAboveEnd { .. } => "lower `from` or raise `upTo`".into(),
            Self::GoesBack { .. } => "say so only where you mean it: requests move back to stable in this step".into(),
            Self::NobodyChosen => {
                "say which clients take part with `matches`, or what share of all with `weight`".into()
            }
            Self::EndsNothing { .. } => "fill `anyOf`, or use the `id` of an earlier step's match".into(),
            Self::NothingToMirror => "lower `weight`, or leave `mirror` out".into(),
            Self::NoTime => "write a time above zero, for example `10m`".into(),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoWayToLeave => write!(f, "this step has no end"),
            Self::SeveralWaysToLeave { given } => {
                write!(f, "this step has {} ends: {}", given.len(), ticked(given, "and"))
            }
            Self::SameName { name } => write!(f, "there already is a step `{name}`"),
            Self::NoSteps => write!(f, "an empty list of steps"),
            Self::TooManySteps { steps } => write!(f, "{steps} steps are too many"),
            Self::DoesNothing => write!(f, "this step changes nothing and waits for nothing"),
            Self::NothingToJudge => {
                write!(f, "the canary gets no request in this step, so there is nothing to judge")
            }
            Self::NoAnalyses => write!(f, "nothing is measured in this step"),
            Self::MinAboveMax { min, max } => write!(f, "`min` ({min}) is above `max` ({max})"),
            Self::NeverGrows => write!(f, "the canary's share would never grow"),
            Self::StartsAboveEnd { from, up_to } => {
                write!(f, "`from` ({from}) is above `upTo` ({up_to}), so the weights go nowhere")
            }
            Self::GoesBack { before, now } => write!(f, "the weight goes back from {before} to {now}"),
            Self::NobodyChosen => write!(f, "nobody takes part in this test"),
            Self::EndsNothing { id } => write!(f, "there is no match `{id}` to end"),
            Self::NothingToMirror => {
                write!(f, "stable answers no request in this step, so there is nothing to copy")
            }
            Self::NoTime => write!(f, "no time passes here"),
        }
    }
}

fn ticked(names: &[&str], last: &str) -> String {
    let ticked: Vec<String> = names.iter().map(|it| format!("`{it}`")).collect();
    match ticked.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => ticked.concat(),
    }
}
