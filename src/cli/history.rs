//! `serinus history`: revisions and past attempts.

use strategies::End;

use super::{
    Exit, Failure, block_on, color,
    instance::Chosen,
    output::{Format, print, structured, table},
    words,
};
use crate::{
    api::{
        remote::Remote as _,
        view::{History, RevisionState, RevisionView},
    },
    clock,
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  serinus history shop\n  serinus undo shop --to REVISION      release one of them again"
)]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        block_on(async {
            let found = self.chosen.find().await?;
            let history = found.client.history(&found.name).await.map_err(|error| found.failed(error))?;
            if !structured(self.output, &history)? {
                print(text(&history))?;
            }
            Ok(Exit::Done)
        })
    }
}

fn text(history: &History) -> String {
    let now = clock::wall();
    let head = |names: &[&str]| names.iter().map(|it| color::paint(color::DIM, it)).collect::<Vec<_>>();
    let mut revisions = vec![head(&["REVISION", "STATE", "APPLIED", "PROMOTED", "UNDO", "RUNS"])];
    revisions.extend(history.revisions.iter().map(|it| {
        let promoted = it.promoted.map(|at| words::relative(at, now)).unwrap_or_else(|| "-".to_owned());
        let undo = if it.available { "yes" } else { "-" };
        let applied = words::relative(it.at, now);
        vec![it.revision.to_string(), state(it), applied, promoted, undo.to_owned(), runs(it)]
    }));
    let mut attempts = vec![head(&["ATTEMPT", "REVISION", "ENDED", "HOW"])];
    attempts.extend(history.attempts.iter().map(|it| {
        let style = match it.end {
            End::Promoted => color::GOOD,
            End::RolledBack(_) => color::BAD,
            End::Superseded { .. } => color::WARN,
        };
        let how = color::paint(style, words::end(it));
        vec![it.attempt.to_string(), it.revision.to_string(), words::day_and_time(it.at), how]
    }));
    let mut text = table(&revisions);
    if attempts.len() > 1 {
        text.push('\n');
        text.push_str(&table(&attempts));
    }
    text.truncate(text.trim_end().len());
    text
}

fn state(it: &RevisionView) -> String {
    match it.state {
        RevisionState::Stable => color::paint(color::GOOD, "stable"),
        RevisionState::Canary => color::paint(color::CANARY, "canary"),
        RevisionState::Refused => color::paint(color::BAD, "refused"),
        RevisionState::Former => "former".to_owned(),
        RevisionState::Unused => color::paint(color::DIM, "unused"),
    }
}

/// What it runs, cut so that the table stays readable.
fn runs(it: &RevisionView) -> String {
    let text = it.runs.join(" ");
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
