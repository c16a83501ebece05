//! A program of this machine that prints a measurement as JSON.
//!
//! It gets no shell, no standard input and none of our environment but `PATH`; what it is asked about stands in
//! `SERINUS_FROM` and `SERINUS_TO` (RFC 3339). It prints one object, as one arm of a line of `serinus judge`:
//! `{"total":50,"bad":1}` for the events of that time, `{"value":0.5}`, `{"values":[0.4,0.6]}`, or
//! `{"bounds":[0.1,0.5],"buckets":[3,4,5]}`.

use std::{process::Stdio, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use super::{Buckets, Failure, LARGEST_ANSWER, Memory, Question, Reading, Source, Span, arms::Pending, json};
use crate::poll::Counts;

/// How long a program may take.
const LONGEST: Duration = Duration::from_secs(10);

/// What is run about one arm: a program and its arguments.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// The program, by its path or looked for in `PATH`, and its arguments.
    pub command: Vec<String>,
    /// How long it may take. Default ten seconds.
    pub timeout: Option<Duration>,
}

/// What it prints.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Printed {
    total: Option<u64>,
    bad: Option<u64>,
    value: Option<serde_json::Value>,
    values: Option<Vec<serde_json::Value>>,
    bounds: Option<Vec<f64>>,
    buckets: Option<Vec<u64>>,
}

impl Question for Command {
    async fn ask(
        &self,
        _source: Option<&Source>,
        span: Span,
        memory: &mut Memory,
    ) -> Result<Reading, Failure> {
        let from = memory.read_until.and_then(|it| Timestamp::from_millisecond(it).ok()).unwrap_or(span.began);
        let limit = self.timeout.unwrap_or(LONGEST);
        let printed = tokio::time::timeout(limit, self.printed(from, span.to));
        let printed = printed.await.map_err(|_| Failure::TimedOut(limit))??;
        let reading = read(&printed)?;
        memory.read_until = Some(span.to.as_millisecond());
        Ok(gathered(reading, &mut memory.pending))
    }
}

impl Command {
    async fn printed(&self, from: Timestamp, to: Timestamp) -> Result<Vec<u8>, Failure> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(Failure::Question("it names no program"));
        };
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear().env("SERINUS_FROM", from.to_string()).env("SERINUS_TO", to.to_string());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|_| Failure::Program("cannot be started"))?;
        let mut printed = vec![];
        if let Some(output) = child.stdout.take() {
            let mut output = output.take(LARGEST_ANSWER + 1);
            output.read_to_end(&mut printed).await.map_err(|_| Failure::Program("cannot be read"))?;
        }
        if LARGEST_ANSWER < printed.len() as u64 {
            return Err(Failure::TooLarge { limit: LARGEST_ANSWER });
        }
        let ended = child.wait().await.map_err(|_| Failure::Program("cannot be waited for"))?;
        if ended.success() { Ok(printed) } else { Err(Failure::Program("ended with an error")) }
    }
}

fn read(printed: &[u8]) -> Result<Reading, Failure> {
    let wrong = Failure::NotThis("one object with `total` and `bad`, `value`, `values`, or `bounds` and `buckets`");
    let printed: Printed = serde_json::from_value(json::read(printed)?).map_err(|_| wrong.clone())?;
    let Printed { total, bad, value, values, bounds, buckets } = printed;
    match (total, bad, value, values, bounds, buckets) {
        (Some(total), Some(bad), None, None, None, None) if bad <= total => {
            Ok(Reading::Counts(Counts::new(total, bad)))
        }
        (Some(_), Some(_), None, None, None, None) => {
            Err(Failure::Contradictory("more bad events than events"))
        }
        (None, None, Some(it), None, None, None) => Ok(Reading::Values(vec![json::number(&it)?])),
        (None, None, None, Some(all), None, None) => match all.as_slice() {
            [] => Err(Failure::NoData),
            all => all.iter().map(json::number).collect::<Result<_, _>>().map(Reading::Values),
        },
        (None, None, None, None, Some(bounds), Some(counts)) if counts.len() == bounds.len() + 1 => {
            let all = counts.last().copied().unwrap_or(0) as f64;
            let up_to = bounds.into_iter().zip(counts).map(|(bound, count)| (bound, count as f64)).collect();
            Ok(Reading::Buckets(Buckets { up_to, all }))
        }
        _ => Err(wrong),
    }
}

/// Adds events to those that are not yet part of a poll.
fn gathered(reading: Reading, pending: &mut Pending) -> Reading {
    match reading {
        Reading::Counts(it) => {
            pending.any = true;
            pending.total += it.total as f64;
            pending.bad += it.bad as f64;
            Reading::Counts(Counts::new(pending.total as u64, pending.bad as u64))
        }
        Reading::Buckets(it) => {
            pending.any = true;
            let of = pending.buckets.entry(String::new()).or_default();
            for (bound, count) in it.up_to.iter().chain([&(f64::INFINITY, it.all)]) {
                *of.entry(bound.to_string()).or_default() += count;
            }
            let count = |bound: &f64| of.get(&bound.to_string()).copied().unwrap_or(0.0);
            let up_to = it.up_to.iter().map(|(bound, _)| (*bound, count(bound))).collect();
            Reading::Buckets(Buckets { up_to, all: count(&f64::INFINITY) })
        }
        other @ (Reading::Native(_) | Reading::Values(_) | Reading::NothingNew) => other,
    }
}
