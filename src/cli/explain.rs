//! `serinus explain`: the story of one attempt in plain words, from the journal.

use strategies::{Name, Next, Order, Status};

use super::{
    Exit, Failure, block_on, color,
    instance::{Chosen, Found},
    output::{Format, print, structured},
    story::{Chapter, story},
    summary::canary_of,
    words,
};
use crate::{
    api::{
        remote::Remote,
        view::{FailureView, JournalQuery, JournalRecord, RolloutView, TrafficView},
    },
    cli::changes::Tone,
};

/// Records asked for at once.
const PAGE: u32 = 1_000;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  serinus explain shop
  serinus explain shop --attempt 3 --output json")]
pub(super) struct Args {
    #[command(flatten)]
    chosen: Chosen,

    /// Which attempt [default: the present or the last one]
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    rollout: &'a str,
    attempt: u32,
    stands: String,
    story: &'a [Chapter],
    traffic: &'a [TrafficView],
    failure: Option<&'a FailureView>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        block_on(async {
            let found = self.chosen.find().await?;
            let attempt = self.attempt.unwrap_or(found.view.attempt);
            let journal = journal(&found).await?;
            let statuses: Vec<_> = journal.iter().filter_map(saved).collect();
            let told = story(&statuses, attempt, &journal.iter().filter_map(reason).collect());
            if told.is_empty() {
                return Err(Failure::NothingToDo {
                    what: format!("the journal knows nothing of attempt {attempt} of {}", found.name),
                    help: "`serinus history` lists the attempts that are remembered".to_owned(),
                });
            }
            let traffic = traffic(&found.view, attempt);
            let stands = words::stands(&found.view);
            let failure = found.view.failure.as_ref().filter(|it| it.attempt == attempt);
            let explained =
                Explained { rollout: found.name.as_str(), attempt, stands, story: &told, traffic, failure };
            if !structured(self.output, &explained)? {
                print(text(&explained, &found.view))?;
            }
            Ok(Exit::Done)
        })
    }
}

/// The whole journal, oldest first.
async fn journal(found: &Found) -> Result<Vec<JournalRecord>, Failure> {
    let mut all: Vec<JournalRecord> = vec![];
    loop {
        let query = JournalQuery { after: Some(all.last().map_or(0, |it| it.sequence)), limit: Some(PAGE) };
        let page = found.client.journal(&found.name, query).await.map_err(|error| found.failed(error))?;
        let whole = page.len() >= PAGE as usize;
        all.extend(page);
        if !whole {
            return Ok(all);
        }
    }
}

/// What a decision saved, if it saved something.
fn saved(record: &JournalRecord) -> Option<Status> {
    let next = record.body.get("next").filter(|_| record.kind == "decision")?;
    match serde_json::from_value(next.clone()).ok()? {
        Next::Save(status) => Some(*status),
        Next::Rest | Next::Write(_) => None,
    }
}

/// Why an order was given, by its id.
fn reason(record: &JournalRecord) -> Option<(Name, Name)> {
    let order: Order = serde_json::from_value(record.body.clone()).ok().filter(|_| record.kind == "order")?;
    Some((order.id, order.reason?))
}

/// The requests of an attempt, where they are still known.
fn traffic(view: &RolloutView, attempt: u32) -> &[TrafficView] {
    match &view.last {
        Some(last) if last.attempt == attempt => &view.last_traffic,
        Some(_) | None if view.attempt == attempt => &view.traffic,
        Some(_) | None => &[],
    }
}

fn text(explained: &Explained<'_>, view: &RolloutView) -> String {
    let head = format!("{}, attempt {}", explained.rollout, explained.attempt);
    let mut text = color::paint(color::STRONG, head);
    for it in explained.story {
        let style = match it.tone {
            Tone::Plain => anstyle::Style::new(),
            Tone::Good => color::GOOD,
            Tone::Bad => color::BAD,
            Tone::Warn => color::WARN,
        };
        let time = color::paint(color::DIM, words::day_and_time(it.at));
        text.push_str(&format!("\n{time}  {}", color::paint(style, &it.text)));
    }
    if let Some(it) = view.failure.as_ref().filter(|it| it.attempt == explained.attempt) {
        text.push_str(&format!("\n\nIts process: {}.", it.because));
        for line in &it.said {
            text.push_str(&color::paint(color::DIM, format!("\n  | {line}")));
        }
        if let Some(log) = &it.log {
            text.push_str(&format!("\nAll it printed: {}", log.display()));
        }
    }
    if let Some(canary) = canary_of(explained.traffic, None) {
        let all: u64 = explained.traffic.iter().map(|it| it.requests).sum();
        text.push_str(&format!(
            "\n\nIn its time there were {}; {} of them went to the canary, where {} failed ({}).",
            words::counted(all, "request"),
            words::count(canary.requests),
            words::count(canary.failed),
            words::percentage(canary.failed, canary.requests)
        ));
    }
    if view.attempt == explained.attempt {
        text.push_str(&format!("\nNow: {}.", explained.stands));
        for it in &view.waiting {
            text.push_str(&format!("\nIt waits for {}.", it.text));
        }
    }
    text
}
