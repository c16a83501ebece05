//! Questions of analyses to others: prepared, under way, answered. No tick and no other question waits for one.

use std::{collections::BTreeMap, sync::Arc};

use analysis::{
    Measured, Poll,
    judge::Baseline,
    provider::{Failure, Memory, PerArm, Polled, Span},
};
use jiff::{SignedDuration, Timestamp};
use strategies::{ActivityId, Revision, Status};
use tokio::task::JoinSet;

use super::environment::Environment;
use crate::{
    analyses::{Analyses, Ask},
    clock,
    measure::{Facts, Prepared, Sources},
};

/// Least time between two questions for the same.
const LEAST_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// Whoever asks a provider. A runtime whose providers need more than this machine has brings its own.
pub trait Asker: Clone + Send + Sync + 'static {
    /// Asks, and moves what is remembered of both sides on. Times of `span` are the wall's. What cannot be asked is a poll
    /// that is missing, with its reason.
    fn ask(&self, question: Question, memory: &mut [Memory; 2]) -> impl Future<Output = Polled> + Send;
}

/// One question that is due.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked and who.
    pub prepared: Arc<Prepared>,
    /// What is known of both sides now.
    pub facts: Facts,
    /// Whether stable is asked about too.
    pub compared: bool,
    /// The time that is asked about.
    pub span: Span,
}

/// Asks the providers that need nothing but a network and this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Providers;

impl Asker for Providers {
    async fn ask(&self, question: Question, memory: &mut [Memory; 2]) -> Polled {
        let Question { prepared, facts, compared, span } = question;
        match prepared.question(&facts) {
            Err(why) => cannot(why.to_string(), span.to),
            Ok(PerArm { canary, baseline }) => {
                let question = PerArm { canary, baseline: baseline.filter(|_| compared) };
                question.poll(prepared.source.as_deref(), span, None, memory).await
            }
        }
    }
}

fn cannot(why: String, at: Timestamp) -> Polled {
    let failure = Failure::NotAsked(why);
    Polled::Poll(Poll { at, weight: None, measured: Measured::Missing(failure.missing()) }, Some(failure))
}

/// Questions of one rollout.
#[derive(Debug)]
pub(super) struct Questions<Q> {
    asker: Q,
    sources: Sources,
    under_way: JoinSet<Answer>,
    asked: BTreeMap<(ActivityId, usize), Turn>,
}

/// Whether a metric is being asked for, or when it was.
#[derive(Debug)]
enum Turn {
    UnderWay,
    Over(Timestamp),
}

/// What one question brought.
#[derive(Debug)]
pub(super) struct Answer {
    ask: Ask,
    polled: Polled,
}

impl<Q: Asker> Questions<Q> {
    pub(super) fn new(sources: Sources, asker: Q) -> Self {
        Self { asker, sources, under_way: JoinSet::new(), asked: BTreeMap::new() }
    }

    /// The document was changed. What is under way is answered by those who were asked.
    pub(super) fn replace(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// Whether nobody is being asked.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The next answer; never ready where nobody is asked. Cancel safe.
    pub(super) async fn next(&mut self) -> Answer {
        loop {
            match self.under_way.join_next().await {
                Some(Ok(answer)) => return answer,
                // Nobody knows which it was: what is due is asked again.
                Some(Err(error)) => {
                    tracing::error!(%error, "a question was given up");
                    self.asked.retain(|_, turn| matches!(turn, Turn::Over(_)));
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Asks for whatever is due.
    pub(super) fn begin_due(
        &mut self,
        analyses: &Analyses,
        status: &Status,
        environment: &impl Environment,
        now: Timestamp,
    ) {
        for ask in analyses.asks(now) {
            let facts = facts(status, environment, ask.baseline);
            self.begin(ask, facts, now);
        }
    }

    /// Asks unless that is going on, or was over just now.
    fn begin(&mut self, ask: Ask, facts: Facts, now: Timestamp) {
        let key = (ask.id.clone(), ask.number);
        match self.asked.get(&key) {
            Some(Turn::UnderWay) => return,
            Some(Turn::Over(at)) if now < *at + LEAST_EVERY => return,
            Some(Turn::Over(_)) | None => {}
        }
        self.asked.insert(key, Turn::UnderWay);
        let prepared = self.sources.get(&(ask.analysis.clone(), ask.metric.clone())).cloned();
        let (timeline, asker) = (clock::timeline(), self.asker.clone());
        self.under_way.spawn(async move {
            let mut ask = ask;
            // Who is asked goes by the wall, and means a while that ends now.
            let wall = |at| timeline.present_wall(at);
            let span = Span { began: wall(ask.since), from: wall(ask.since), to: wall(now) };
            let polled = match prepared {
                None => cannot("the document does not say whom to ask any more".to_owned(), span.to),
                Some(Err(why)) => cannot(why, span.to),
                Some(Ok(prepared)) => {
                    let question = Question { prepared, facts, compared: ask.compared, span };
                    let memory: &mut [Memory; 2] = &mut ask.memory;
                    asker.ask(question, memory).await
                }
            };
            let polled = match polled {
                Polled::Poll(poll, failure) => {
                    Polled::Poll(Poll { at: timeline.of_wall(poll.at), ..poll }, failure)
                }
                Polled::NothingNew => Polled::NothingNew,
            };
            Answer { ask, polled }
        });
    }

    /// Takes what a question brought.
    pub(super) fn answered(&mut self, answer: Answer, analyses: &mut Analyses, now: Timestamp) {
        let Answer { ask, polled } = answer;
        self.asked.insert((ask.id.clone(), ask.number), Turn::Over(now));
        self.asked.retain(|(id, _), turn| matches!(turn, Turn::UnderWay) || analyses.knows(id));
        analyses.answered(ask, &polled, now);
    }
}

/// What is known of both sides.
fn facts(status: &Status, environment: &impl Environment, baseline: Baseline) -> Facts {
    let of = |revision: Option<&Revision>, which: Baseline| {
        revision.map(|it| environment.facts(it, which)).unwrap_or_default()
    };
    let weight = status.phase.step().map(|_| status.goal().weight);
    Facts {
        canary: of(status.canary.as_ref(), Baseline::Stable),
        stable: of(status.stable.as_ref(), baseline),
        weight: weight.map(|it| (100.0 * it.fraction()).to_string()),
    }
}
