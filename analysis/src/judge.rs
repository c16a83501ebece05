//! Judges: pure, incremental, resumable. A judge reads polls one by one and can say at any time what they support.
//!
//! Adding one: write `judge/<name>.rs` with what users write (a type that implements [`Judge`]), then add one
//! line to `judges!` below.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use self::sequential::Baseline;
use crate::{
    finding::{Evidence, Finding, Verdict},
    poll::{Measured, Poll, Sides},
};

/// What a judge is told when it starts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// When the window began: evidence before it does not count.
    pub began: Timestamp,
    /// When the canary got its first request; warm-up is reckoned from here. The same as `began` for the first
    /// window of a canary.
    pub warm_from: Timestamp,
    /// How long the window is planned to last. Bets on late regressions are spread over it; a longer run keeps its
    /// promise but sees late regressions later.
    pub planned: Duration,
    /// This metric's share of the run's allowance for false roll backs, `0.0 < share <= 1.0`.
    pub share: f64,
    /// Whether this window may fail. A gate beside a guard that watches the same metrics leaves failing to it, so
    /// that the promise about false roll backs is spent once.
    pub may_fail: bool,
}

impl Setting {
    /// A single metric judged by itself from `began` on.
    pub fn alone(began: Timestamp, planned: Duration) -> Self {
        Self { began, warm_from: began, planned, share: 1.0, may_fail: true }
    }
}

/// Something a document says that cannot be meant, found after reading.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where below the judge, in the document's words: `["rollBack", "worseThan"]`.
    pub path: Vec<&'static str>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: &[&'static str], message: impl Into<String>) -> Self {
        Self { path: path.to_vec(), message: message.into() }
    }
}

/// What a judge needs to be of use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Needs {
    /// Measurements of the baseline: it is blind at 100 % weight.
    Baseline,
    /// The canary's own measurements suffice.
    CanaryOnly,
}

/// A judge as users write it. Deterministic and total: no clock, no randomness, no error.
pub trait Judge: Clone + PartialEq {
    /// What is derived from the configuration once.
    type Tables: Clone + std::fmt::Debug;
    /// All that is remembered between polls: bounded in size, and enough to go on as if never interrupted.
    type State: Clone + std::fmt::Debug + PartialEq + Serialize + DeserializeOwned;

    /// What the configuration says that cannot be meant.
    fn check(&self) -> Vec<Problem>;

    /// What this configuration needs.
    fn needs(&self) -> Needs;

    /// Whether it can use readings of this kind. What it cannot use is no measurement.
    fn reads(&self, measured: &Measured) -> bool;

    /// Derives the tables.
    fn tables(&self, setting: &Setting) -> Self::Tables;

    /// Remembers nothing yet.
    fn begin(&self, setting: &Setting) -> Self::State;

    /// Reads one poll. Polls come in order of time.
    fn observe(&self, setting: &Setting, tables: &Self::Tables, state: &mut Self::State, poll: &Poll);

    /// What everything read so far supports. Cheap.
    fn verdict(&self, setting: &Setting, state: &Self::State) -> Verdict;

    /// What its pass rests on, while it passes.
    fn standing(&self, state: &Self::State) -> Standing;

    /// The numbers behind the verdict, for judges that weigh evidence.
    fn evidence(&self, setting: &Setting, tables: &Self::Tables, state: &Self::State) -> Option<Evidence>;

    /// The verdict with its reason and its evidence.
    fn finding(&self, setting: &Setting, tables: &Self::Tables, state: &Self::State) -> Finding;

    /// The interval that holds the true ratio at every moment with 95 % confidence, for judges that estimate one.
    /// Costs milliseconds.
    fn interval(&self, _state: &Self::State) -> Option<(f64, f64)> {
        None
    }
}

/// What a pass rests on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// On the last measurement: it is a pass if the window ends now.
    Latest,
    /// On evidence that suffices; later evidence may still fail the canary.
    Enough,
    /// On everything that the judge wants to read: nothing that comes changes it.
    Final,
}

/// One judge at work.
#[derive(Clone, Debug)]
pub struct At<J: Judge> {
    judge: J,
    setting: Setting,
    tables: J::Tables,
    state: J::State,
    seen: Sides,
}

impl<J: Judge> At<J> {
    fn observe(&mut self, poll: &Poll) {
        if self.judge.reads(&poll.measured) {
            self.seen = self.seen.or(poll.measured.sides());
        }
        self.judge.observe(&self.setting, &self.tables, &mut self.state, poll);
    }

    /// The side that a pass needs samples of and has none of.
    fn unmeasured(&self) -> Option<&'static str> {
        match (self.judge.needs(), self.seen) {
            (_, Sides { canary: false, .. }) => Some("the canary"),
            (Needs::Baseline, Sides { baseline: false, .. }) => Some("what the canary is compared with"),
            (Needs::Baseline | Needs::CanaryOnly, _) => None,
        }
    }

    /// What was not measured never passes, whatever the judge makes of it.
    fn verdict(&self) -> Verdict {
        let verdict = self.judge.verdict(&self.setting, &self.state);
        if verdict == Verdict::Pass && self.unmeasured().is_some() { Verdict::Pending } else { verdict }
    }

    fn finding(&self) -> Finding {
        let mut finding = self.judge.finding(&self.setting, &self.tables, &self.state);
        if let Some(side) = self.unmeasured().filter(|_| finding.verdict == Verdict::Pass) {
            finding.verdict = Verdict::Pending;
            finding.because = format!("nothing was measured of {side}; {}", finding.because);
        }
        finding
    }
}

impl AnyJudge {
    /// Which replicas of stable the canary is compared with, where it is compared.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        match self {
            Self::Sequential(it) => it.baseline,
            Self::Threshold(_)
            | Self::Pods(_)
            | Self::Answers(_)
            | Self::Leak(_)
            | Self::Kayenta(_)
            | Self::FixedHorizon(_) => Baseline::Stable,
        }
    }
}

macro_rules! judges {
    ($($(#[$doc:meta])* $module:ident :: $Kind:ident = $name:literal,)*) => {
        $(pub mod $module; pub use $module::$Kind;)*

        /// One judge, as written in a document: `judge: { threshold: { pass: "result >= 0.99" } }`.
        #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
        pub enum AnyJudge { $($(#[$doc])* #[serde(rename = $name)] $Kind($Kind),)* }

        /// What a judge remembers: the checkpoint of one metric.
        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        pub struct JudgeState {
            #[serde(flatten)]
            of: StateOf,
            /// The sides that were measured. Absent in checkpoints from before this was kept: then the next
            /// measurement tells.
            #[serde(default)]
            seen: Sides,
        }

        #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        enum StateOf { $($(#[$doc])* $Kind(Box<<$Kind as Judge>::State>),)* }

        /// A judge at work on one metric.
        #[derive(Clone, Debug)]
        pub enum Judging { $($(#[$doc])* $Kind(Box<At<$Kind>>),)* }

        impl AnyJudge {
            /// The names of all judges, as written in a document.
            pub const NAMES: &[&str] = &[$($name,)*];

            /// Its name, as written in a document.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$Kind(_) => $name,)* }
            }

            /// What the configuration says that cannot be meant.
            pub fn check(&self) -> Vec<Problem> {
                match self { $(Self::$Kind(it) => it.check(),)* }
            }

            /// What this configuration needs.
            pub fn needs(&self) -> Needs {
                match self { $(Self::$Kind(it) => it.needs(),)* }
            }

            /// Starts judging.
            pub fn begin(&self, setting: Setting) -> Judging {
                match self { $(Self::$Kind(it) => Judging::$Kind(Box::new(At {
                    judge: it.clone(),
                    tables: it.tables(&setting),
                    state: it.begin(&setting),
                    setting,
                    seen: Sides::default(),
                })),)* }
            }

            /// Goes on from a checkpoint. `None`: it is another judge's.
            pub fn resume(&self, setting: Setting, state: JudgeState) -> Option<Judging> {
                let JudgeState { of, seen } = state;
                match (self, of) {
                    $((Self::$Kind(it), StateOf::$Kind(state)) => Some(Judging::$Kind(Box::new(At {
                        judge: it.clone(),
                        tables: it.tables(&setting),
                        state: *state,
                        setting,
                        seen,
                    }))),)*
                    #[allow(unreachable_patterns, reason = "reachable with more than one judge")]
                    (_, _) => None,
                }
            }
        }

        impl Judging {
            /// Reads one poll. Polls come in order of time.
            pub fn observe(&mut self, poll: &Poll) {
                match self { $(Self::$Kind(it) => it.observe(poll),)* }
            }

            /// What everything read so far supports. Never a pass before there are samples of every side that is
            /// compared. Cheap.
            pub fn verdict(&self) -> Verdict {
                match self { $(Self::$Kind(it) => it.verdict(),)* }
            }

            /// What the pass rests on, while it passes.
            pub fn standing(&self) -> Standing {
                match self { $(Self::$Kind(it) => it.judge.standing(&it.state),)* }
            }

            /// The numbers behind the verdict, without the interval and without a sentence.
            pub fn evidence(&self) -> Option<Evidence> {
                match self { $(Self::$Kind(it) => it.judge.evidence(&it.setting, &it.tables, &it.state),)* }
            }

            /// The verdict with its reason.
            pub fn finding(&self) -> Finding {
                match self { $(Self::$Kind(it) => it.finding(),)* }
            }

            /// The interval that holds the true ratio at every moment with 95 % confidence. Costs milliseconds.
            pub fn interval(&self) -> Option<(f64, f64)> {
                match self { $(Self::$Kind(it) => it.judge.interval(&it.state),)* }
            }

            /// What to keep so that [`AnyJudge::resume`] goes on as if never interrupted.
            pub fn checkpoint(&self) -> JudgeState {
                match self { $(Self::$Kind(it) => JudgeState {
                    of: StateOf::$Kind(Box::new(it.state.clone())),
                    seen: it.seen,
                },)* }
            }
        }
    };
}

judges! {
    /// Compares canary and stable by a sequential test: may be looked at as often as one likes.
    sequential::Sequential = "sequential",
    /// Compares each measurement with fixed conditions.
    threshold::Threshold = "threshold",
    /// Watches restarts, crash loops and readiness of the pods themselves.
    pods::Pods = "pods",
    /// Compares how canary and stable answer: the distribution over classes of status.
    answers::Answers = "answers",
    /// Sees memory of the canary's processes that grows without slowing down.
    leak::Leak = "leak",
    /// Netflix's judge as it is, for people who migrate.
    kayenta::Kayenta = "kayenta",
    /// A classical test at one declared look.
    fixed_horizon::FixedHorizon = "fixedHorizon",
}
