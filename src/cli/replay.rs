//! `serinus replay`: decides every recorded decision again and shows where this program would decide otherwise.

mod compare;

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::Serialize;

use self::compare::first_difference;
use super::{
    Exit, Failure, block_on,
    instance::Chosen,
    output::{Format, print, structured},
    words,
};
use crate::{
    api::{
        remote::Remote as _,
        view::{JournalQuery, JournalRecord},
    },
    engine::{DecisionRecord, NotReplayable, Replayer},
};

/// Records asked for at once.
const PAGE: u32 = 1_000;

/// Longest record that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// Differences that are kept.
const SHOWN: usize = 20;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 every decision is the same today, 1 some are not or cannot be decided again, 2 wrong usage.

Examples:
  serinus replay                            the rollout that runs here
  serinus replay --save shop.jsonl          the same, and keep its journal
  serinus replay shop.jsonl                 a journal that was kept")]
pub(super) struct Args {
    /// A journal that was kept, JSON Lines; `-` is standard input [default: that of the running instance]
    #[arg(value_name = "JOURNAL")]
    journal: Option<PathBuf>,

    /// The rollout whose journal is asked for, where there is no file
    #[arg(long = "of", value_name = "ROLLOUT", conflicts_with = "journal")]
    rollout: Option<String>,

    #[command(flatten)]
    instance: super::instance::Instance,

    /// Keep the journal in this file too
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

/// What came of it. Stable.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Findings {
    /// Decisions that were decided again.
    decisions: u64,
    /// Of these, decided in the same way.
    same: u64,
    /// Records before the first whole one: the journal forgets its beginning, and they say only what changed.
    without_start: u64,
    /// The first differences, in order.
    differences: Vec<Difference>,
    /// Records that cannot be decided again, the first ones.
    unreadable: Vec<Unreadable>,
}

/// A decision that would be another one today.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Difference {
    sequence: u64,
    at: Timestamp,
    /// Where the two differ first, as a JSON pointer.
    path: String,
    then: serde_json::Value,
    today: serde_json::Value,
}

/// A record that cannot be decided again.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Unreadable {
    sequence: u64,
    why: String,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let records = match &self.journal {
            Some(path) => kept(path)?,
            None => block_on(self.asked_for())?,
        };
        if let Some(path) = &self.save {
            save(path, &records).map_err(|source| Failure::File {
                act: "write",
                path: path.clone(),
                source,
            })?;
        }
        let findings = replay(&records);
        if !structured(self.output, &findings)? {
            print(text(&findings))?;
        }
        Ok(if findings.clean() { Exit::Done } else { Exit::Failed })
    }

    /// The whole journal of a rollout of the running instance, oldest first.
    async fn asked_for(&self) -> Result<Vec<JournalRecord>, Failure> {
        let found = Chosen::of(self.rollout.clone(), self.instance.clone()).find().await?;
        let mut all: Vec<JournalRecord> = vec![];
        loop {
            let query =
                JournalQuery { after: Some(all.last().map_or(0, |it| it.sequence)), limit: Some(PAGE) };
            let page = found.client.journal(&found.name, query).await.map_err(|error| found.failed(error))?;
            let whole = page.len() >= PAGE as usize;
            all.extend(page);
            if !whole {
                return Ok(all);
            }
        }
    }
}

/// A journal from a file, or from standard input.
fn kept(path: &Path) -> Result<Vec<JournalRecord>, Failure> {
    let cannot = |source| Failure::File { act: "read", path: path.to_owned(), source };
    let input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path).map_err(|error| not_there(path, error))?),
    };
    let mut input = BufReader::new(input);
    let (mut records, mut line, mut number) = (vec![], vec![], 0u64);
    loop {
        line.clear();
        if (&mut input).take(LONGEST).read_until(b'\n', &mut line).map_err(cannot)? == 0 {
            break;
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let record = serde_json::from_slice(&line).map_err(|error| Failure::Usage {
            what: format!("{}:{number}: this is no record of a journal: {error}", path.display()),
            help: "`serinus replay --save FILE` keeps a journal".to_owned(),
        })?;
        records.push(record);
    }
    if records.is_empty() {
        return Err(Failure::Usage {
            what: format!("{} holds no record", path.display()),
            help: "`serinus replay --save FILE` keeps a journal".to_owned(),
        });
    }
    Ok(records)
}

fn not_there(path: &Path, error: io::Error) -> Failure {
    Failure::Usage {
        what: format!("cannot read {}: {error}", path.display()),
        help: "give a journal that was kept with `serinus replay --save FILE`, or nothing for the one that runs here"
            .to_owned(),
    }
}

fn save(path: &Path, records: &[JournalRecord]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for record in records {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

/// Decides every decision among these records again.
fn replay(records: &[JournalRecord]) -> Findings {
    let mut findings = Findings::default();
    let mut replayer = Replayer::default();
    for record in records.iter().filter(|it| it.kind == "decision") {
        let decoded = serde_json::from_value::<DecisionRecord>(record.body.clone());
        let replayed = match decoded.map_err(NotReplayable::NotUnderstood).and_then(|it| replayer.take(&it)) {
            Ok(replayed) => replayed,
            Err(NotReplayable::NoStart) if findings.decisions == 0 => {
                findings.without_start += 1;
                continue;
            }
            Err(why) => {
                findings.cannot(record.sequence, &why);
                continue;
            }
        };
        findings.decisions += 1;
        match first_difference(&replayed.decided, &replayed.today()) {
            None => findings.same += 1,
            Some((path, then, today)) if findings.differences.len() < SHOWN => {
                let (sequence, at) = (record.sequence, record.at);
                findings.differences.push(Difference { sequence, at, path, then, today });
            }
            Some(_) => {}
        }
    }
    findings
}

impl Findings {
    fn clean(&self) -> bool {
        self.decisions == self.same && self.unreadable.is_empty() && 0 < self.decisions
    }

    fn cannot(&mut self, sequence: u64, why: &NotReplayable) {
        if self.unreadable.len() < SHOWN {
            let source = std::error::Error::source(why).map(|it| format!(": {it}")).unwrap_or_default();
            self.unreadable.push(Unreadable { sequence, why: format!("{why}{source}") });
        }
    }
}

fn text(findings: &Findings) -> String {
    let mut lines = vec![];
    for it in &findings.unreadable {
        lines.push(format!("record {} cannot be decided again: {}", it.sequence, it.why));
    }
    if let Some(it) = findings.differences.first() {
        lines.push(format!(
            "decision {} of {} would be another one today\n  at    {}\n  then  {}\n  today {}",
            it.sequence,
            words::day_and_time(it.at),
            it.path,
            it.then,
            it.today
        ));
    }
    if 0 < findings.without_start {
        lines.push(format!(
            "{} at the beginning say only what changed since records that the journal has forgotten",
            words::counted(findings.without_start, "decision")
        ));
    }
    let other = findings.decisions - findings.same;
    lines.push(match (findings.decisions, other) {
        (0, _) => "no decision could be decided again".to_owned(),
        (all, 0) => format!("{} decided again: every one is the same today", words::counted(all, "decision")),
        (all, other) => format!(
            "{} decided again: {} would be another one today",
            words::counted(all, "decision"),
            words::count(other)
        ),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests;
