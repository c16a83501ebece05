//! Questions of analyses to others: prepared, under way, answered. No tick and no other question waits for one.

use std::collections::BTreeMap;

use analysis::{
    Measured, Poll,
    judge::Baseline,
    provider::{Failure, Memory, PerArm, Polled, Span},
};
use jiff::{SignedDuration, Timestamp};
use strategies::{ActivityId, Arm, Revision};
use tokio::task::JoinSet;

use super::Rollout;
use crate::{
    analyses::Ask,
    clock,
    measure::{Facts, Sources},
    written::Fact,
};

/// Least time between two questions for the same.
const LEAST_EVERY: SignedDuration = SignedDuration::from_secs(1);

/// Questions of one rollout.
#[derive(Debug, Default)]
pub(super) struct Questions {
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

impl Questions {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, ..Self::default() }
    }

    /// The document was changed. What is under way is answered by those who were asked.
    pub(super) fn replace(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// The next answer; never ready where nobody is asked.
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

    /// Asks unless that is going on, or was over just now.
    fn begin(&mut self, ask: Ask, facts: &Facts, now: Timestamp) {
        let key = (ask.id.clone(), ask.number);
        match self.asked.get(&key) {
            Some(Turn::UnderWay) => return,
            Some(Turn::Over(at)) if now < *at + LEAST_EVERY => return,
            Some(Turn::Over(_)) | None => {}
        }
        self.asked.insert(key, Turn::UnderWay);
        let prepared = self.sources.get(&(ask.analysis.clone(), ask.metric.clone())).cloned();
        let (facts, timeline) = (facts.clone(), clock::timeline());
        self.under_way.spawn(async move {
            let mut ask = ask;
            // Who is asked goes by the wall, and means a while that ends now.
            let wall = |at| timeline.present_wall(at);
            let span = Span { began: wall(ask.since), from: wall(ask.since), to: wall(now) };
            let cannot = |why: String| {
                let failure = Failure::NotAsked(why);
                Polled::Poll(
                    Poll { at: now, weight: None, measured: Measured::Missing(failure.missing()) },
                    Some(failure),
                )
            };
            let polled = match prepared {
                None => cannot("the document does not say whom to ask any more".to_owned()),
                Some(Err(why)) => cannot(why),
                Some(Ok(it)) => match it.question(&facts) {
                    Err(why) => cannot(why.to_string()),
                    Ok(PerArm { canary, baseline }) => {
                        let question = PerArm { canary, baseline: baseline.filter(|_| ask.compared) };
                        let memory: &mut [Memory; 2] = &mut ask.memory;
                        match question.poll(it.source.as_deref(), span, None, memory).await {
                            Polled::Poll(poll, failure) => {
                                Polled::Poll(Poll { at: timeline.of_wall(poll.at), ..poll }, failure)
                            }
                            Polled::NothingNew => Polled::NothingNew,
                        }
                    }
                },
            };
            Answer { ask, polled }
        });
    }
}

impl Rollout {
    /// Asks for whatever is due.
    pub(super) fn ask(&mut self) {
        let now = clock::now();
        let due = self.ports.activities.asks(now);
        if due.is_empty() {
            return;
        }
        for ask in due {
            let facts = self.facts(ask.baseline);
            self.questions.begin(ask, &facts, now);
        }
    }

    /// Takes what a question brought.
    pub(super) fn answered(&mut self, answer: Answer) {
        let (now, Answer { ask, polled }) = (clock::now(), answer);
        let key = (ask.id.clone(), ask.number);
        self.questions.asked.insert(key, Turn::Over(now));
        let analyses = &mut self.ports.activities;
        self.questions.asked.retain(|(id, _), turn| matches!(turn, Turn::UnderWay) || analyses.knows(id));
        analyses.answered(ask, &polled, now);
        // There is something new to store.
        self.polled = Some(now);
    }

    /// What is known of both sides here: their replicas by address, as a scraper on this machine calls them.
    fn facts(&self, baseline: Baseline) -> Facts {
        let replicas = self.ports.outside.replicas();
        let of = |revision: Option<&Revision>, which: Baseline| {
            let Some(revision) = revision else { return BTreeMap::new() };
            let belongs = |arm: &Arm| match which {
                Baseline::Stable => arm.revision == *revision,
                Baseline::Fresh => *arm == Arm::baseline(revision.clone()),
            };
            let own = replicas.iter().filter(|(arm, _)| belongs(arm));
            let addresses = own.flat_map(|(_, all)| all).filter_map(|it| Some(it.address?.to_string()));
            let addresses: Vec<String> = addresses.collect();
            let mut facts = BTreeMap::new();
            // The hash is that of all of stable's replicas: it does not tell the fresh ones.
            if which == Baseline::Stable {
                facts.insert(Fact::Hash, revision.to_string());
            }
            if !addresses.is_empty() {
                facts.insert(Fact::Pods, addresses.join("|"));
            }
            facts
        };
        let weight = self.status.phase.step().map(|_| self.status.goal().weight);
        Facts {
            canary: of(self.status.canary.as_ref(), Baseline::Stable),
            stable: of(self.status.stable.as_ref(), baseline),
            weight: weight.map(|it| (100.0 * it.fraction()).to_string()),
        }
    }
}
