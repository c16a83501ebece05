//! Which copies of revisions, and logs of their processes, are kept on the disk.

use std::{collections::BTreeSet, path::Path};

use strategies::{Name, Revision, Status};

use super::Service;
use crate::{
    local::{
        adapter::object::Intent,
        revision,
        store::{self, StoreError},
    },
    workload::Workload,
};

impl Service {
    /// Removes the copies of every rollout that are not kept any more: what a process that was killed could not.
    pub(in crate::local::control) async fn collect_all(&self) {
        let _turn = self.changing.lock().await;
        for entry in self.roster.all() {
            self.collect(&entry.understood.name).await;
        }
    }

    /// Removes the copies of a rollout that are not kept any more, with the logs of their processes. Nothing is
    /// removed where it is not known what is in use. To be called while no document is being changed.
    pub(super) async fn collect(&self, name: &Name) {
        let Some(entry) = self.roster.entry(name) else { return };
        let Workload::Process(process) = &entry.understood.workload else { return };
        let machine = self.roster.machine();
        let Ok(seen) = machine.supervisor.observe().await else { return };
        let rollout = name.to_string();
        let read = move |store: &store::Store| -> Result<_, StoreError> {
            let status = store.status::<Status>(&rollout)?.map(|it| it.status);
            Ok((
                status,
                store.objects::<Intent>(&rollout)?,
                store.revisions::<serde::de::IgnoredAny>(&rollout)?,
            ))
        };
        let Ok((status, objects, mut releases)) = machine.store.read(read).await else { return };
        releases.sort_by_key(|it| std::cmp::Reverse(it.at));
        let running = seen.processes.iter().map(|it| &it.process).filter(|it| it.rollout == name.as_str());
        let asked = objects.iter().filter_map(|it| match &it.body {
            Intent::Arm(it) => Some(it.arm.revision.to_string()),
            Intent::Route(_) => None,
        });
        let of_status = status.iter().flat_map(|it| it.stable.iter().chain(&it.canary));
        let in_use = of_status.chain([&entry.kept.revision]).map(Revision::to_string);
        let in_use = in_use.chain(asked).chain(running.map(|it| it.revision.clone())).collect();
        let former = status.iter().flat_map(|it| it.recent.iter().rev()).map(|it| it.revision.to_string());
        let former = former.chain(releases.into_iter().map(|it| it.revision)).collect::<Vec<_>>();
        let keep = kept(in_use, &former, process.copies.keep);
        let (state, rollout) = (self.roster.state().to_owned(), name.to_string());
        let collected = tokio::task::spawn_blocking(move || {
            let removed = revision::collect(&state, &rollout, &keep)?;
            remove_logs(&state.join("logs").join(&rollout), &keep);
            Ok::<_, std::io::Error>(removed)
        });
        match collected.await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => tracing::info!(rollout = %name, ?removed, "old copies are removed"),
            Ok(Err(error)) => {
                tracing::warn!(rollout = %name, error = &error as &dyn std::error::Error, "old copies cannot be removed");
            }
            Err(error) => tracing::warn!(rollout = %name, %error, "old copies cannot be removed"),
        }
    }
}

/// Those in use, and of the others the first `keep`; `others`: the most wanted first.
fn kept(in_use: BTreeSet<String>, others: &[String], keep: u32) -> BTreeSet<String> {
    let mut all = in_use.clone();
    let most = in_use.len().saturating_add(usize::try_from(keep).unwrap_or(usize::MAX));
    for it in others {
        if most <= all.len() {
            break;
        }
        all.insert(it.clone());
    }
    all
}

/// Removes the logs of processes of other revisions; one that cannot be removed is left for the next time.
fn remove_logs(directory: &Path, keep: &BTreeSet<String>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let old = entries.map(|it| it.path()).filter(|it| revision_of(it).is_some_and(|it| !keep.contains(&it)));
    for path in old {
        let _ = std::fs::remove_file(path);
    }
}

/// The revision whose process wrote this log: `REVISION-ROLE-ORDINAL.log`, `.log.1` and so on.
fn revision_of(log: &Path) -> Option<String> {
    let name = log.file_name()?.to_str()?;
    let (revision, rest) = name.split_once('-')?;
    rest.contains(".log").then(|| revision.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(in_use: &[&str], others: &[&str], keep: u32, expected: &[&str]) {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let found = kept(owned(in_use).into_iter().collect(), &owned(others), keep);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_in_use_is_kept_and_of_the_rest_the_first_ones() {
        check(&["a", "b"], &["c", "d", "e"], 2, &["a", "b", "c", "d"]);
        check(&["a", "b"], &["b", "c", "a", "d", "e"], 2, &["a", "b", "c", "d"]);
        check(&["a"], &["b", "b", "c"], 2, &["a", "b", "c"]);
        check(&["a", "b"], &["c"], 0, &["a", "b"]);
        check(&[], &["c"], 5, &["c"]);
    }

    #[test]
    fn only_logs_of_processes_of_other_revisions_go() {
        let directory = tempfile::tempdir().unwrap();
        let names =
            ["aaa-main-0.log", "aaa-main-0.log.1", "bbb-baseline-1.log", "supervisor.log", "bbb-main-0.txt"];
        for it in names {
            std::fs::write(directory.path().join(it), "").unwrap();
        }
        remove_logs(directory.path(), &["bbb".to_owned()].into());
        let mut left: Vec<_> =
            std::fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["bbb-baseline-1.log", "bbb-main-0.txt", "supervisor.log"]);
    }
}
