//! Documents that are applied, and edits of those that are there.

use std::path::Path;

use strategies::{Name, Revision, Status};

use super::{Service, by};
use crate::{
    api::{
        Refusal,
        unix::Caller,
        view::{Applied, AppliedRollout, Apply, DocumentChange, Edit, Finding},
    },
    clock,
    local::{
        adapter::release::{Runs, StoredRelease},
        control::{
            document::{Sidecar, Understood, findings, understand},
            release::{self, Made},
            rollout::{self, Message},
            roster::Entry,
        },
        proxy,
        revision::Purpose,
        store::{Commit, Document},
    },
    rollout::{former, next_attempt, random, refused},
    spec,
    workload::Workload,
};

impl Service {
    pub(super) async fn apply_file(&self, caller: &Caller, apply: Apply) -> Result<Applied, Refusal> {
        let read = spec::read(&apply.path, apply.text.as_bytes());
        let mut applied = Applied { findings: findings(&read), rollouts: vec![] };
        if applied.findings.iter().any(|it| it.is_error) {
            return Ok(applied);
        }
        let names: Vec<Name> = read
            .documents
            .iter()
            .filter_map(|it| it.document.as_rollout())
            .map(|it| it.metadata.name.clone())
            .collect();
        if names.is_empty() {
            return Err(Refusal::Invalid(format!("{} holds no Rollout", apply.path)));
        }
        let understood: Result<Vec<Understood>, Refusal> =
            names.iter().map(|name| understand(&read.documents, name.as_str(), &apply.base, true)).collect();
        for understood in understood? {
            applied.findings.extend(self.check_tls(&understood)?);
            let wanted =
                Wanted { text: apply.text.clone(), path: apply.path.clone(), base: apply.base.clone() };
            if apply.dry_run {
                let (rollout, warning) = self.look_at(&understood, &wanted).await?;
                applied.rollouts.push(rollout);
                applied.findings.extend(warning);
                continue;
            }
            let (rollout, warning) = self.apply_one(caller, understood, wanted, Ask::AsWritten).await?;
            applied.rollouts.push(rollout);
            applied.findings.extend(warning);
        }
        Ok(applied)
    }

    /// What an application would mean.
    async fn look_at(
        &self,
        understood: &Understood,
        wanted: &Wanted,
    ) -> Result<(AppliedRollout, Option<Finding>), Refusal> {
        let name = understood.name.clone();
        let known = self.roster.entry(&name);
        let status = self.status(&name).await?;
        check_upstream(&understood.workload, status.as_ref())?;
        let restarts = known.as_ref().map_or(0, |it| it.kept.restarts);
        let made = self.make(&name, &understood.workload, wanted, restarts, Purpose::Look).await?;
        let same = known.as_ref().is_some_and(|it| {
            it.text == wanted.text && it.kept.path == wanted.path && it.kept.base == wanted.base
        });
        let change = match &known {
            None => DocumentChange::Created,
            Some(known) if known.kept.revision != made.revision => DocumentChange::NewRevision,
            Some(_) if same => DocumentChange::Unchanged,
            Some(_) => DocumentChange::NewPlan,
        };
        let rollout = AppliedRollout {
            name,
            change,
            refused: refused(&made.revision, status.as_ref()),
            before: known.as_ref().map(Entry::document),
            next_attempt: next_attempt(status.as_ref(), change, &made.revision),
            revision: made.revision.clone(),
            generation: known.as_ref().map_or(0, |it| it.generation),
            addresses: known.map(|it| self.roster.addresses(&it)).unwrap_or_default(),
        };
        Ok((rollout, uncopied(&made)))
    }

    /// A pair of files that is new must be one to serve with. One that was there before may be in the middle of its
    /// renewal: what was read before is served, and nothing else waits for it.
    fn check_tls(&self, understood: &Understood) -> Result<Vec<Finding>, Refusal> {
        let known =
            self.roster.entry(&understood.name).map(|it| it.understood.proxy.listen).unwrap_or_default();
        let mut warnings = vec![];
        for tls in understood.proxy.listen.iter().filter_map(|it| it.tls.as_ref()) {
            let Err(error) = proxy::check_tls(Path::new(&tls.certificate), Path::new(&tls.key)) else {
                continue;
            };
            if !known.iter().any(|it| it.tls.as_ref() == Some(tls)) {
                return Err(Refusal::Invalid(error.to_string()));
            }
            let message = format!("{error}; what was read before is served until it is mended");
            let rendered = format!("warning: {message}");
            let code = spec::Code::Mismatch.to_string();
            warnings.push(Finding { is_error: false, code, message, line: 1, column: 1, rendered });
        }
        Ok(warnings)
    }

    async fn apply_one(
        &self,
        caller: &Caller,
        understood: Understood,
        wanted: Wanted,
        ask: Ask,
    ) -> Result<(AppliedRollout, Option<Finding>), Refusal> {
        let name = understood.name.clone();
        let known = self.roster.entry(&name);
        if known.as_ref().is_some_and(|it| it.kept.leaving) {
            return Err(Refusal::Conflict(format!("{name} is being deleted; apply again when it is gone")));
        }
        let before = known.as_ref().map(|it| it.kept.clone());
        let restarts = before.as_ref().map_or(0, |it| it.restarts) + u64::from(matches!(ask, Ask::Restart));
        let status = self.status(&name).await?;
        check_upstream(&understood.workload, status.as_ref())?;
        let made = self.make(&name, &understood.workload, &wanted, restarts, Purpose::Keep).await?;
        let revision = made.revision.clone();
        self.roster.listen_with(&understood).await.map_err(|error| Refusal::Conflict(error.to_string()))?;
        let kept = Sidecar {
            path: wanted.path,
            base: wanted.base,
            revision: revision.clone(),
            restarts,
            leaving: false,
            sticky_key: match &before {
                Some(before) => before.sticky_key.clone(),
                None => random()?,
            },
        };
        let warning = uncopied(&made);
        let kept_now = self.keep_all(caller, &name, &wanted.text, &kept, made).await;
        if kept_now.is_err()
            && let Err(error) = self.roster.listen().await
        {
            tracing::warn!(%error, "sockets of a document that could not be kept stay open");
        }
        let generation = kept_now?;
        let (refused, document) = (refused(&revision, status.as_ref()), known.as_ref().map(Entry::document));
        let change = match (&known, &before) {
            (None, _) | (_, None) => DocumentChange::Created,
            (Some(_), Some(before)) if before.revision != revision => DocumentChange::NewRevision,
            (Some(known), Some(_)) if known.generation == generation => DocumentChange::Unchanged,
            (Some(_), Some(_)) => DocumentChange::NewPlan,
        };
        let entry = self.take_over(&name, known, understood, kept, wanted.text, generation).await;
        let next_attempt = next_attempt(status.as_ref(), change, &revision);
        let addresses = self.roster.addresses(&entry);
        self.collect(&name).await;
        let rollout = AppliedRollout {
            name,
            change,
            revision,
            refused,
            before: document,
            next_attempt,
            generation,
            addresses,
        };
        Ok((rollout, warning))
    }

    /// The rollout's task learns of it, or begins.
    async fn take_over(
        &self,
        name: &Name,
        known: Option<Entry>,
        understood: Understood,
        kept: Sidecar,
        text: String,
        generation: u64,
    ) -> Entry {
        match known {
            Some(entry) => {
                let applied = rollout::Applied::new(&understood, &kept, generation);
                self.roster.update(name, |it| {
                    if it.generation != generation {
                        it.at = clock::now();
                    }
                    (it.text, it.kept, it.generation) = (text.clone(), kept.clone(), generation);
                    it.understood = understood.clone();
                });
                let entry = self.roster.entry(name).unwrap_or(entry);
                // A task that begins anew reads the document itself.
                let _ = entry.inbox.send(Message::Addresses(self.roster.addresses(&entry))).await;
                let _ = entry.inbox.send(Message::Document(Box::new(applied))).await;
                entry
            }
            None => {
                let rollout = name.to_string();
                let document = Document { rollout, generation, at: clock::now(), text, parsed: kept };
                let (entry, inbox) = Entry::new(document, understood);
                if let Err(error) = self.roster.add(name, entry.clone(), inbox).await {
                    tracing::warn!(rollout = %name, %error, "a new rollout cannot begin yet");
                }
                entry
            }
        }
    }

    async fn make(
        &self,
        name: &Name,
        workload: &Workload,
        wanted: &Wanted,
        restarts: u64,
        purpose: Purpose,
    ) -> Result<Made, Refusal> {
        let (state, rollout) = (self.roster.state().to_owned(), name.to_string());
        let (workload, base, text) = (workload.clone(), wanted.base.clone(), wanted.text.clone());
        let make =
            move || release::make(&state, &rollout, &workload, Path::new(&base), &text, restarts, purpose);
        tokio::task::spawn_blocking(make)
            .await
            .map_err(|error| Refusal::Unavailable(format!("the copy failed: {error}")))?
    }

    /// Document and revision, durable together; answers the document's version.
    async fn keep_all(
        &self,
        caller: &Caller,
        name: &Name,
        text: &str,
        kept: &Sidecar,
        made: Made,
    ) -> Result<u64, Refusal> {
        let (rollout, text, kept, now) = (name.to_string(), text.to_owned(), kept.clone(), clock::now());
        let known = self.releases(name).await?.into_iter().find(|it| it.revision == made.revision.as_str());
        let release = merged(known.map(|it| it.body), made.release);
        let body =
            serde_json::json!({ "by": by(caller), "revision": kept.revision, "path": kept.path }).to_string();
        let save = move |it: &mut Commit<'_>| {
            let before = it.apply_document(&rollout, now, &text, &kept)?;
            it.save_revision(&rollout, kept.revision.as_str(), now, &release)?;
            it.append_journal(&crate::journal::NewRecord {
                rollout: &rollout,
                at: now,
                kind: "document",
                body: &body,
            })?;
            Ok(before)
        };
        Ok(self.roster.machine().store.commit(save).await?)
    }

    /// Only what stands beside the text changes.
    pub(super) async fn keep_document(
        &self,
        name: &Name,
        text: &str,
        kept: &Sidecar,
    ) -> Result<u64, Refusal> {
        let (rollout, text, kept, now) = (name.to_string(), text.to_owned(), kept.clone(), clock::now());
        let save = move |it: &mut Commit<'_>| it.apply_document(&rollout, now, &text, &kept);
        Ok(self.roster.machine().store.commit(save).await?)
    }

    pub(super) async fn edit_document(
        &self,
        caller: &Caller,
        name: &Name,
        edit: Edit,
    ) -> Result<Applied, Refusal> {
        let entry = self.entry(name)?;
        if entry.kept.leaving {
            return Err(Refusal::Conflict(format!("{name} is being deleted")));
        }
        let Entry { text, kept, understood, .. } = entry.clone();
        let wanted = |text: String| Wanted { text, path: kept.path.clone(), base: kept.base.clone() };
        let (rollout, warning) = match edit {
            Edit::Undo { to } => return self.undo(caller, name, entry, to).await,
            Edit::Restart => {
                let Workload::Process(_) = understood.workload else {
                    let message = "its processes are not run by this machine: restart them where they run";
                    return Err(Refusal::Invalid(message.to_owned()));
                };
                self.apply_one(caller, understood, wanted(text), Ask::Restart).await?
            }
            Edit::SetCommand { command } => {
                let text = with_command(&kept.path, &text, name, &command)?;
                let read = spec::read(&kept.path, text.as_bytes());
                if let Some(wrong) = findings(&read).into_iter().find(|it| it.is_error) {
                    return Err(Refusal::Invalid(wrong.rendered));
                }
                let understood = understand(&read.documents, name.as_str(), &kept.base, true)?;
                self.apply_one(caller, understood, wanted(text), Ask::AsWritten).await?
            }
        };
        Ok(Applied { findings: warning.into_iter().collect(), rollouts: vec![rollout] })
    }

    /// A former revision is wanted again, as it was: nothing is copied anew. The document's next application wants
    /// again what it says.
    async fn undo(
        &self,
        caller: &Caller,
        name: &Name,
        entry: Entry,
        to: Option<Revision>,
    ) -> Result<Applied, Refusal> {
        let status = self.status(name).await?;
        let to = match to.or_else(|| status.as_ref().and_then(|it| former(it, &entry.kept.revision))) {
            Some(to) => to,
            None => return Err(Refusal::Conflict(format!("{name} has no former revision to go back to"))),
        };
        let releases = self.releases(name).await?;
        let Some(release) = releases.iter().find(|it| it.revision == to.as_str()) else {
            return Err(Refusal::Invalid(format!(
                "{name} has had no revision {to}; `serinus history` lists them"
            )));
        };
        if let Runs::Process { spec, .. } = &release.body.runs
            && !spec.directory.exists()
        {
            return Err(Refusal::Invalid(format!(
                "the copy of {to} is gone from this machine; apply its file again"
            )));
        }
        let change = match to == entry.kept.revision {
            true => DocumentChange::Unchanged,
            false => DocumentChange::NewRevision,
        };
        let kept = Sidecar { revision: to.clone(), ..entry.kept.clone() };
        let generation = self.keep_document(name, &entry.text, &kept).await?;
        self.note(name, "undo", serde_json::json!({ "by": by(caller), "revision": to })).await?;
        let (understood, text, document) = (entry.understood.clone(), entry.text.clone(), entry.document());
        let entry = self.take_over(name, Some(entry), understood, kept, text, generation).await;
        let rollout = AppliedRollout {
            name: name.clone(),
            change,
            refused: refused(&to, status.as_ref()),
            before: Some(document),
            next_attempt: next_attempt(status.as_ref(), change, &to),
            revision: to,
            generation,
            addresses: self.roster.addresses(&entry),
        };
        Ok(Applied { findings: vec![], rollouts: vec![rollout] })
    }
}

/// A file as it is applied.
struct Wanted {
    text: String,
    path: String,
    base: std::path::PathBuf,
}

/// What is wanted of it.
enum Ask {
    AsWritten,
    Restart,
}

/// A revision that is known keeps what it runs, as it was; when it counts as ready may change.
fn merged(known: Option<StoredRelease>, made: StoredRelease) -> StoredRelease {
    let Some(known) = known else { return made };
    let runs = match (known.runs, made.runs) {
        (Runs::Process { spec, .. }, Runs::Process { readiness, command, .. }) => {
            Runs::Process { spec, readiness, command }
        }
        (_, made) => made,
    };
    StoredRelease { runs, text: made.text }
}

/// Whoever serves must stay listed.
fn check_upstream(workload: &Workload, status: Option<&Status>) -> Result<(), Refusal> {
    let (Workload::Upstream(upstream), Some(status)) = (workload, status) else { return Ok(()) };
    let on_trial = status.phase.step().and(status.canary.as_ref());
    for revision in status.stable.iter().chain(on_trial) {
        if !upstream.releases.iter().any(|it| it.revision.as_str() == revision.as_str()) {
            let message = format!(
                "release {revision} gets requests now and is missing in `releases`: list it until it is replaced"
            );
            return Err(Refusal::Conflict(message));
        }
    }
    Ok(())
}

fn uncopied(made: &Made) -> Option<Finding> {
    if made.uncopied.is_empty() {
        return None;
    }
    let files: Vec<String> = made.uncopied.iter().map(|it| it.display().to_string()).collect();
    let message = format!(
        "{} is named by the command and not part of the copy: a change of it changes what runs; list it in `files`",
        files.join(", ")
    );
    let rendered = format!("warning: {message}");
    Some(Finding { is_error: false, code: "file-not-copied".into(), message, line: 1, column: 1, rendered })
}

/// The text with another command in the Rollout called `name`.
fn with_command(path: &str, text: &str, name: &Name, command: &[String]) -> Result<String, Refusal> {
    if command.is_empty() {
        return Err(Refusal::Invalid("a command needs at least a program".to_owned()));
    }
    let read = spec::read(path, text.as_bytes());
    let rollout =
        read.documents.iter().find(|it| it.document.as_rollout().is_some_and(|it| it.metadata.name == *name));
    let way = ["spec", "workload", "process"];
    let root = &rollout.ok_or_else(|| Refusal::NotFound(name.to_string()))?.node;
    let process = way.iter().try_fold(root, |node, key| node.field(key).map(|it| &it.value));
    let Some(entry) = process.and_then(|it| it.field("command")) else {
        return Err(Refusal::Invalid(format!(
            "{name} runs no process of this machine, so it has no command"
        )));
    };
    let list = serde_json::to_string(command).map_err(|error| Refusal::Invalid(error.to_string()))?;
    let source = read.source.text();
    let lost = || Refusal::Invalid("the command cannot be found in the text".to_owned());
    let before = source.get(..entry.key_span.end).ok_or_else(lost)?;
    let replaced = source.get(entry.key_span.end..entry.value.span.end).ok_or_else(lost)?;
    let after = source.get(entry.value.span.end..).ok_or_else(lost)?;
    // A list in lines may end with the feed of its last line.
    let end = if replaced.ends_with('\n') { "\n" } else { "" };
    Ok(format!("{before}: {list}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &str, rest: &str) {
        let text = format!(
            "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: {{ name: shop }}\nspec:\n  workload:\n    \
             process:{command}{rest}  traffic:\n    - proxy: {{ listen: [ {{ address: \"127.0.0.1:80\" }} ] }}\n"
        );
        let words = ["./b".to_owned(), "--x=\"1\"".to_owned()];
        let edited = with_command("shop.yaml", &text, &"shop".into(), &words).unwrap();
        let read = spec::read("shop.yaml", edited.as_bytes());
        assert!(read.diagnostics.iter().all(|it| it.severity != spec::Severity::Error), "{edited}");
        let rollout = read.documents[0].document.as_rollout().unwrap();
        let Some(Workload::Process(process)) = &rollout.spec.workload else { panic!("{edited}") };
        let command: Vec<&str> = process.command.iter().map(|it| it.as_str()).collect();
        assert_eq!(command, ["./b", "--x=\"1\""], "{edited}");
        assert!(edited.contains("127.0.0.1:80"));
    }

    #[test]
    fn a_command_is_replaced_however_it_was_written() {
        check("\n      command: [./a, --one]\n", "");
        check("\n      command:\n        - ./a\n        - --one\n", "");
        check("\n      command:\n      - ./a\n", "      files: [ data ]\n");
        check(" { command: [ ./a ], files: [ data ] }\n", "");
        check("\n      command: [ ./a,\n        --one ]   # why\n", "      files: [ data ]\n");
    }
}
