//! What callers ask of this machine's engine.

mod apply;
mod caller;
mod copies;
mod metrics;

use std::{sync::Arc, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use strategies::{Name, Revision, Status};
use tokio::sync::{Mutex, oneshot};

use self::caller::by;
use super::{
    rollout::{Answered, Message, shown},
    roster::{Entry, Roster},
};
use crate::{
    api::{
        Refusal,
        server::Engine,
        unix::Caller,
        view::{
            Applied, Apply, CalibrationView, Edit, Health, History, JournalQuery, JournalRecord, LogQuery,
            LogView, NewOrder, OrderAnswer, RevisionView, RolloutEvent, RolloutList, RolloutView, WorkerView,
        },
    },
    clock,
    engine::DecisionRecord,
    journal::{NewRecord, Record},
    local::{
        adapter::release::{Runs, StoredRelease},
        store::{Store, StoreError, StoreThreadError},
        supervisor::protocol::WorkerState,
    },
    port::Unavailable,
    rollout::{Follow, attempts, complete, promoted, refused, state_of, why_not},
};

/// Longest wait for a rollout's own answer; then its last one is given.
const OWN_ANSWER: Duration = Duration::from_millis(500);
/// How long an order that cannot be saved is tried again, and how often.
const SAVE_WITHIN: Duration = Duration::from_secs(5);
const SAVE_AGAIN: Duration = Duration::from_millis(100);
/// Longest wait for an order to take effect.
const ORDER_ANSWER: Duration = Duration::from_secs(10);
/// Rollouts that are asked at a time: each may ask every worker, and a worker answers four at a time.
const AT_ONCE: usize = 4;
/// Records that are read in one go: whoever wants to save waits no longer than that takes.
const PAGE: u32 = 256;
/// Records of a journal read back at most.
const MOST_RECORDS: u32 = 10_000;

/// The engine of this machine, for callers. Clones share it.
#[derive(Clone)]
pub(super) struct Service {
    roster: Roster,
    /// Documents are changed one after the other.
    changing: Arc<Mutex<()>>,
}

impl From<StoreThreadError> for Refusal {
    fn from(error: StoreThreadError) -> Self {
        match error {
            StoreThreadError::Store(StoreError::OrderDiffers(_)) => Self::Conflict(error.to_string()),
            StoreThreadError::Store(_) | StoreThreadError::Closed => {
                Self::Unavailable(Unavailable::new("it cannot be saved now", &error).to_string())
            }
        }
    }
}

impl From<Unavailable> for Refusal {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Service {
    pub(super) fn new(roster: Roster) -> Self {
        Self { roster, changing: Arc::default() }
    }

    fn entry(&self, name: &Name) -> Result<Entry, Refusal> {
        self.roster.entry(name).ok_or_else(|| Refusal::NotFound(name.to_string()))
    }

    /// How a rollout stands: asked now, or what it said last if it has no time to answer.
    async fn view(&self, entry: &Entry) -> Result<RolloutView, Refusal> {
        let (answer, answered) = oneshot::channel();
        let asked = entry.inbox.try_send(Message::Look(answer)).is_ok();
        if asked && let Ok(Ok(view)) = tokio::time::timeout(OWN_ANSWER, answered).await {
            return Ok((*view).clone());
        }
        let last = entry.told.view.borrow().clone();
        let message = || format!("{} has not begun yet; ask again", entry.understood.name);
        last.map(|it| (*it).clone()).ok_or_else(|| Refusal::Unavailable(message()))
    }

    async fn status(&self, name: &Name) -> Result<Option<Status>, Refusal> {
        let rollout = name.to_string();
        let saved = self.roster.machine().store.read(move |store| store.status::<Status>(&rollout)).await?;
        Ok(saved.map(|it| it.status))
    }

    async fn releases(
        &self,
        name: &Name,
    ) -> Result<Vec<crate::local::store::Revision<StoredRelease>>, Refusal> {
        let rollout = name.to_string();
        Ok(self.roster.machine().store.read(move |store| store.revisions(&rollout)).await?)
    }

    /// Saves what a person ordered. A disk that is full for a moment must not cost an order, an abort least of all: it is
    /// tried again for a while. The same order twice is one order.
    async fn save(
        &self,
        change: impl Fn(&mut crate::local::store::Commit<'_>) -> Result<(), StoreError> + Clone + Send + 'static,
    ) -> Result<(), Refusal> {
        let until = clock::instant() + SAVE_WITHIN;
        let mut first = None;
        loop {
            let saved = self.roster.machine().store.commit(change.clone()).await;
            match saved {
                Err(error @ StoreThreadError::Store(StoreError::Write { .. } | StoreError::Poisoned(_))) => {
                    // The first one says best what is wrong with the disk.
                    let first = first.get_or_insert(error);
                    if clock::instant() >= until {
                        return Err(Unavailable::new("it cannot be saved now", first).into());
                    }
                    tokio::time::sleep(SAVE_AGAIN).await;
                }
                saved => return Ok(saved?),
            }
        }
    }

    /// The last records of a rollout, at most so many, oldest first; page by page, so that nobody who saves waits for all.
    async fn records(&self, name: &Name, most: u32) -> Result<Vec<Record>, Refusal> {
        let (mut pages, mut left, mut before) = (vec![], most, u64::MAX);
        while 0 < left {
            let (rollout, count) = (name.to_string(), left.min(PAGE));
            let read = move |store: &Store| store.journal_before(Some(&rollout), before, count);
            let page = self.roster.machine().store.read(read).await?;
            let Some(first) = page.first() else { break };
            (before, left) = (first.sequence, left - count);
            pages.push(page);
        }
        Ok(pages.into_iter().rev().flatten().collect())
    }

    /// The records of a rollout after this one, at most so many, oldest first.
    async fn records_after(&self, name: &Name, after: u64, most: u32) -> Result<Vec<Record>, Refusal> {
        let (mut records, mut left, mut after) = (vec![], most, after);
        while 0 < left {
            let (rollout, count) = (name.to_string(), left.min(PAGE));
            let read = move |store: &Store| store.journal(Some(&rollout), after.saturating_add(1), count);
            let page = self.roster.machine().store.read(read).await?;
            let Some(last) = page.last() else { break };
            (after, left) = (last.sequence, left - count);
            records.extend(page);
        }
        Ok(records)
    }

    /// Notes in the journal what a person did.
    async fn note(&self, name: &Name, kind: &'static str, body: serde_json::Value) -> Result<(), Refusal> {
        let (rollout, at, body) = (name.to_string(), clock::now(), body.to_string());
        let append = move |it: &mut crate::local::store::Commit<'_>| {
            it.append_journal(&NewRecord { rollout: &rollout, at, kind, body: &body }).map(drop)
        };
        Ok(self.roster.machine().store.commit(append).await?)
    }
}

impl Engine for Service {
    type Caller = Caller;

    async fn rollouts(&self) -> Result<RolloutList, Refusal> {
        let views = self.roster.all().into_iter().map(|entry| async move { self.view(&entry).await.ok() });
        let rollouts = stream::iter(views).buffered(AT_ONCE).filter_map(std::future::ready).collect().await;
        Ok(RolloutList { rollouts, health: self.health().await })
    }

    async fn rollout(&self, name: Name) -> Result<RolloutView, Refusal> {
        self.view(&self.entry(&name)?).await
    }

    async fn events(&self, name: Name) -> Result<impl Stream<Item = RolloutEvent> + Send + 'static, Refusal> {
        let entry = self.entry(&name)?;
        let follow = Follow::new(&entry.told);
        // It begins to count for those who watch.
        let _ = entry.inbox.try_send(Message::News);
        // The entry itself must not be held: when it is dropped the rollout is gone.
        drop(entry);
        Ok(stream::unfold(follow, Follow::next).boxed())
    }

    async fn apply(&self, caller: Caller, apply: Apply) -> Result<Applied, Refusal> {
        let _turn = self.changing.lock().await;
        self.apply_file(&caller, apply).await
    }

    async fn delete(&self, caller: Caller, name: Name) -> Result<RolloutView, Refusal> {
        let _turn = self.changing.lock().await;
        let entry = self.entry(&name)?;
        let mut kept = entry.kept.clone();
        kept.leaving = true;
        let generation = self.keep_document(&name, &entry.text, &kept).await?;
        self.note(&name, "delete", serde_json::json!({ "by": by(&caller) })).await?;
        self.roster.update(&name, |it| (it.kept, it.generation) = (kept.clone(), generation));
        // A full inbox or a rollout that begins anew reads the document itself.
        let told =
            Message::Document(Box::new(super::rollout::Applied::new(&entry.understood, &kept, generation)));
        let _ = entry.inbox.send(told).await;
        self.view(&entry).await
    }

    async fn order(&self, caller: Caller, name: Name, new: NewOrder) -> Result<OrderAnswer, Refusal> {
        let entry = self.entry(&name)?;
        let status = self.status(&name).await?;
        let order = complete(new, status.as_ref(), by(&caller))?;
        let (id, rollout, now, body) = (order.id.to_string(), name.to_string(), clock::now(), order.clone());
        let record = serde_json::to_string(&order).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let take = move |it: &mut crate::local::store::Commit<'_>| {
            let appended = it.append_order(&id, &rollout, now, &body)?;
            if appended == crate::local::store::Appended::New {
                it.append_journal(&NewRecord { rollout: &rollout, at: now, kind: "order", body: &record })?;
            }
            Ok(())
        };
        self.save(take).await?;
        let (answer, answered) = oneshot::channel();
        let told = entry.inbox.send(Message::Order(order.id.clone(), answer)).await.is_ok();
        let answered = match told {
            true => tokio::time::timeout(ORDER_ANSWER, answered).await.ok().and_then(Result::ok),
            false => None,
        };
        let (accepted, view) = match answered {
            Some(Answered { accepted, view }) => (accepted, (*view).clone()),
            None => (false, self.view(&entry).await?),
        };
        let because = (!accepted).then(|| why_not(&order, &view));
        Ok(OrderAnswer { order, accepted, because, view })
    }

    async fn edit(&self, caller: Caller, name: Name, edit: Edit) -> Result<Applied, Refusal> {
        let _turn = self.changing.lock().await;
        self.edit_document(&caller, &name, edit).await
    }

    async fn history(&self, name: Name) -> Result<History, Refusal> {
        self.entry(&name)?;
        let status = self.status(&name).await?;
        let releases = self.releases(&name).await?;
        let mut revisions: Vec<RevisionView> =
            releases.iter().map(|it| remembered(it, status.as_ref())).collect();
        revisions.reverse();
        let records = self.records(&name, MOST_RECORDS).await?;
        let decode = move || {
            let recorded = records.iter().filter_map(|it| it.decode::<DecisionRecord>().ok());
            attempts(recorded, status.as_ref())
        };
        let attempts = tokio::task::spawn_blocking(decode)
            .await
            .map_err(|error| Refusal::Unavailable(format!("the history cannot be read: {error}")))?;
        Ok(History { revisions, attempts })
    }

    async fn journal(&self, name: Name, query: JournalQuery) -> Result<Vec<JournalRecord>, Refusal> {
        let limit = query.limit.unwrap_or(1_000).clamp(1, MOST_RECORDS);
        let records = match query.after {
            Some(after) => self.records_after(&name, after, limit).await?,
            None => self.records(&name, limit).await?,
        };
        let shown = move || records.iter().map(shown).collect();
        tokio::task::spawn_blocking(shown)
            .await
            .map_err(|error| Refusal::Unavailable(format!("the journal cannot be read: {error}")))
    }

    async fn calibration(&self, name: Name) -> Result<CalibrationView, Refusal> {
        let (answer, answered) = oneshot::channel();
        let asked = self.entry(&name)?.inbox.try_send(Message::Calibration(answer)).is_ok();
        if asked && let Ok(Ok(view)) = tokio::time::timeout(OWN_ANSWER, answered).await {
            return Ok(view);
        }
        Err(Refusal::Unavailable(format!("{name} has no time to answer; ask again")))
    }

    async fn logs(&self, name: Name, query: LogQuery) -> Result<Vec<LogView>, Refusal> {
        self.entry(&name)?;
        let supervisor = &self.roster.machine().supervisor;
        let cannot = |error: crate::local::supervisor::ClientError| {
            Refusal::from(Unavailable::new("the supervisor cannot be asked", &error))
        };
        let count = query.lines.unwrap_or(20).clamp(1, 1_000);
        let mut logs = vec![];
        for it in supervisor.observe().await.map_err(cannot)?.processes {
            let revision = Revision::from(it.process.revision.as_str());
            let wanted = query.revision.as_ref().is_none_or(|wanted| *wanted == revision);
            if it.process.rollout == name.as_str() && wanted {
                let ordinal = it.process.ordinal;
                // One that has gone meanwhile has no lines any more.
                let lines = supervisor.lines(it.process, count).await.unwrap_or_default();
                logs.push(LogView { revision, ordinal, lines, file: it.log });
            }
        }
        Ok(logs)
    }

    async fn health(&self) -> Health {
        let machine = self.roster.machine();
        let seen = machine.supervisor.observe().await;
        let (wanted, workers) = machine.fleet.known();
        let state = |it: WorkerState| match it {
            WorkerState::Starting => "starting",
            WorkerState::Ready => "ready",
            WorkerState::Draining => "draining",
        };
        Health {
            store: machine.store.trouble(),
            workers: workers
                .iter()
                .map(|it| WorkerView {
                    worker: it.seen.worker,
                    pid: it.seen.pid,
                    state: state(it.seen.state).to_owned(),
                    serves: it.serves,
                    wanted,
                    trouble: it.trouble.clone(),
                })
                .collect(),
            control_pid: std::process::id(),
            control_restarts: seen.as_ref().map_or(0, |it| it.supervisor.control_restarts),
            supervisor: seen.err().map(|error| error.to_string()),
            control_rss: metrics::resident(),
            clock: crate::clock::timeline().last_step(),
        }
    }

    async fn metrics(&self) -> Result<String, Refusal> {
        self.render().await
    }

    async fn shutdown(&self, caller: Caller) -> Result<(), Refusal> {
        tracing::info!(uid = caller.uid, "everything is asked to end");
        let ended = self.roster.machine().supervisor.shutdown().await;
        ended.map_err(|error| Unavailable::new("the supervisor cannot be asked", &error).into())
    }
}

fn remembered(it: &crate::local::store::Revision<StoredRelease>, status: Option<&Status>) -> RevisionView {
    let revision = Revision::from(it.revision.as_str());
    let available = match &it.body.runs {
        Runs::Process { spec, .. } => spec.directory.exists(),
        Runs::Upstream { .. } => true,
    };
    RevisionView {
        at: it.at,
        state: state_of(&revision, status),
        runs: it.body.runs.words(),
        promoted: promoted(&revision, status),
        refused: refused(&revision, status),
        available,
        revision,
    }
}
