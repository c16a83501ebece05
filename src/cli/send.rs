//! Hands a document to a running engine and says what became of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{
    Exit, Failure, color,
    ending::Awaited,
    lint,
    output::{Flow, complain, json_line, print},
    tls_files, words,
};
use crate::{
    api::{
        client::Client,
        view::{Applied, AppliedRollout, Apply, DocumentChange, Finding},
    },
    spec,
};

/// A document on its way to an engine.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    apply: Apply,
    path: PathBuf,
}

impl Letter {
    /// Reads a file; `-` is standard input.
    ///
    /// # Errors
    /// It cannot be read, or holds no text.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |source| Failure::File { act: "read", path: path.to_owned(), source };
        let bytes = lint::read_file(path).map_err(failed)?;
        let name = path.display().to_string();
        let text = String::from_utf8(bytes).map_err(|error| {
            // The reader knows where the first bad byte is.
            let read = spec::read(&name, error.as_bytes());
            let report = spec::Report { source: &read.source, diagnostics: &read.diagnostics };
            complain(report.render(true));
            Failure::Said(Exit::Usage)
        })?;
        let folder = match path.parent() {
            Some(folder) if path != Path::new("-") && !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let base = std::fs::canonicalize(folder).map_err(|source| Failure::File {
            act: "find",
            path: folder.to_owned(),
            source,
        })?;
        let apply = Apply { text, path: name, base, dry_run: false };
        Ok(Self { apply, path: path.to_owned() })
    }

    /// Where it was read from.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// When its file was changed last; `None`: it is none, or nobody knows.
    #[must_use]
    pub(super) fn changed(&self) -> Option<Timestamp> {
        let changed = std::fs::metadata(&self.path).and_then(|it| it.modified()).ok()?;
        Timestamp::try_from(changed).ok().filter(|_| self.path != Path::new("-"))
    }

    /// Checks it here, before anything is started for it.
    ///
    /// # Errors
    /// It has mistakes; they have been shown.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let mut read = spec::read(&self.apply.path, self.apply.text.as_bytes());
        tls_files::check(&mut read, &self.apply.base);
        let report = spec::Report { source: &read.source, diagnostics: &read.diagnostics };
        if !read.diagnostics.is_empty() {
            complain(format_args!("{}\n", report.render(true)));
        }
        let bad = read.diagnostics.iter().any(|it| it.severity == spec::Severity::Error);
        if bad { Err(refused(&self.path)) } else { Ok(()) }
    }

    /// The same, only to be checked.
    #[must_use]
    pub(super) fn dry_run(mut self) -> Self {
        self.apply.dry_run = true;
        self
    }

    /// What handing it in would mean, without a word about what was found in it.
    ///
    /// # Errors
    /// It would be refused, or nobody answers.
    pub(super) async fn look(&self, client: &Client, state: &Path) -> Result<Applied, Failure> {
        let looked = client.apply(&self.clone().dry_run().apply).await;
        looked.map_err(|error| Failure::of_call(error, state))
    }

    /// Hands it in and shows what was found in it.
    ///
    /// # Errors
    /// It was refused; why has been shown. Or nobody answers.
    pub(super) async fn send(&self, client: &Client, state: &Path) -> Result<Applied, Failure> {
        let applied = super::progress::during("handing in", client.apply(&self.apply)).await;
        let applied = applied.map_err(|error| Failure::of_call(error, state))?;
        show_findings(&applied.findings);
        if applied.findings.iter().any(|it| it.is_error) {
            return Err(refused(&self.path));
        }
        Ok(applied)
    }
}

fn refused(path: &Path) -> Failure {
    complain(format_args!(
        "{} {} was not accepted, and nothing has changed",
        color::paint(color::BAD, "error:"),
        path.display()
    ));
    Failure::Said(Exit::Usage)
}

/// Shows findings on standard error.
pub(super) fn show_findings(findings: &[Finding]) {
    for it in findings {
        complain(format_args!("{}\n", it.rendered.trim_end()));
    }
}

/// Says what an application means, rollout by rollout.
///
/// # Errors
/// Standard output is closed.
pub(super) fn tell(applied: &Applied, flow: Flow) -> Result<(), Failure> {
    for it in &applied.rollouts {
        match flow {
            Flow::Json => json_line(&serde_json::json!({
                "kind": "applied",
                "rollout": it.name,
                "change": it.change,
                "revision": it.revision,
                "refused": it.refused.as_ref().map(words::cause),
                "addresses": it.addresses,
            }))?,
            Flow::Text => print(sentence(it))?,
        }
    }
    Ok(())
}

/// Says what an application would mean, rollout by rollout.
///
/// # Errors
/// Standard output is closed.
pub(super) fn tell_what_would_be(applied: &Applied, flow: Flow) -> Result<(), Failure> {
    for it in &applied.rollouts {
        match flow {
            Flow::Json => json_line(&serde_json::json!({
                "kind": "wouldApply",
                "rollout": it.name,
                "change": it.change,
                "revision": it.revision,
                "refused": it.refused.as_ref().map(words::cause),
            }))?,
            Flow::Text => print(format!("{}: {}", color::paint(color::STRONG, &it.name), would(it)))?,
        }
    }
    Ok(())
}

fn would(it: &AppliedRollout) -> String {
    if let Some(cause) = &it.refused {
        return format!("revision {} would get no requests: {}", it.revision, turned_back(cause));
    }
    match it.change {
        DocumentChange::Created => {
            format!("new; revision {} would be brought up without a canary", it.revision)
        }
        DocumentChange::Unchanged => {
            format!("nothing would change, revision {} is wanted already", it.revision)
        }
        DocumentChange::NewPlan => {
            format!("revision {} would stay, its next steps would follow this document", it.revision)
        }
        DocumentChange::NewRevision => {
            let before =
                it.before.as_ref().map(|it| format!(" instead of {}", it.revision)).unwrap_or_default();
            format!("revision {} would be wanted{before}, and taken to the users step by step", it.revision)
        }
    }
}

fn turned_back(cause: &strategies::Cause) -> String {
    format!("it was rolled back before ({}); `serinus retry` tries it again", words::cause(cause))
}

/// The exit of an application that nobody waits for: one that has no effect is none that was done.
#[must_use]
pub(super) fn exit(applied: &Applied) -> Exit {
    match applied.rollouts.iter().any(|it| it.refused.is_some()) {
        true => Exit::RolledBack,
        false => Exit::Done,
    }
}

fn sentence(it: &AppliedRollout) -> String {
    if let Some(cause) = &it.refused {
        let why = turned_back(cause);
        return format!(
            "{}: revision {} gets no requests: {why}",
            color::paint(color::STRONG, &it.name),
            it.revision
        );
    }
    let what = match it.change {
        DocumentChange::Created => format!("new; revision {} is brought up", it.revision),
        DocumentChange::Unchanged => format!("nothing has changed, revision {} is wanted", it.revision),
        DocumentChange::NewPlan => {
            format!("revision {} stays, its next steps follow the new document", it.revision)
        }
        DocumentChange::NewRevision => format!("revision {} is wanted now", it.revision),
    };
    let at: Vec<_> = it.addresses.iter().map(|it| format!("{}://{}", it.scheme, it.address)).collect();
    let at = if at.is_empty() { String::new() } else { format!("  {}", at.join("  ")) };
    format!("{}: {what}{}", color::paint(color::STRONG, &it.name), color::paint(color::DIM, at))
}

/// What to wait for after an application.
#[must_use]
pub(super) fn awaited(it: &AppliedRollout) -> Awaited {
    Awaited { revision: Some(it.revision.clone()), attempt: it.next_attempt, generation: it.generation }
}

/// The one rollout of an application that can be waited for.
///
/// # Errors
/// There are none or several.
pub(super) fn only(applied: &Applied) -> Result<&AppliedRollout, Failure> {
    match applied.rollouts.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::Usage {
            what: "the document holds no rollout, so there is nothing to wait for".to_owned(),
            help: "leave out `--wait` or `--until-done`".to_owned(),
        }),
        all => Err(Failure::Usage {
            what: format!("the document holds {}", words::counted(all.len() as u64, "rollout")),
            help: "apply it without waiting, then `serinus wait NAME` for each".to_owned(),
        }),
    }
}
