//! What is written: JSON Lines for programs, sentences for people.

use std::io::{self, Write};

use analysis::{AnyJudge, Verdict, run::Run};
use serde::{Serialize, ser::SerializeMap};

use super::stream::{Say, Sink};

/// How verdicts are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Output {
    /// One JSON object per poll and line.
    #[default]
    Json,
    /// One sentence per verdict.
    Text,
}

/// Writes what there is to say.
pub(super) struct Writer<W> {
    pub(super) to: W,
    pub(super) output: Output,
    pub(super) final_only: bool,
    pub(super) ratio: bool,
    pub(super) failed: Option<io::Error>,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W, output: Output, final_only: bool, ratio: bool) -> Self {
        Self { to, output, final_only, ratio, failed: None, line: vec![] }
    }

    fn write(&mut self, say: &Say<'_>) -> io::Result<()> {
        self.line.clear();
        match self.output {
            Output::Json => {
                let interval = self.ratio || say.end || (say.news && say.verdict != Verdict::Pending);
                serde_json::to_writer(&mut self.line, &Spoken::of(say, interval))?;
            }
            Output::Text if say.news || (say.end && self.final_only) => sentence(say, &mut self.line)?,
            Output::Text => return Ok(()),
        }
        self.line.push(b'\n');
        self.to.write_all(&self.line)
    }
}

impl<W: Write> Sink for Writer<W> {
    fn say(&mut self, say: &Say<'_>) {
        if self.failed.is_none() && (say.end || !self.final_only) {
            self.failed = self.write(say).err();
        }
    }
}

fn sentence(say: &Say<'_>, line: &mut Vec<u8>) -> io::Result<()> {
    write!(line, "{}", say.run)?;
    if let Some(t) = say.t {
        write!(line, " at {t} s")?;
    }
    write!(line, ": {}", say.verdict.name())?;
    let Some(run) = say.at_work else { return write!(line, ": there was no poll of the canary") };
    match run.ended() {
        Some(ended) => write!(line, ": {}", ended.because)?,
        None => {
            for (signal, metric) in run.spec().metrics.iter().enumerate() {
                write!(line, "; {}: {}", metric.name, run.judging(signal).finding().because)?;
            }
        }
    }
    for warning in warnings(run) {
        write!(line, "; {warning}")?;
    }
    Ok(())
}

/// Everything that limits what the verdict means. With several signals each says whose it is.
fn warnings(run: &Run) -> Vec<String> {
    let metrics = &run.spec().metrics;
    let of = |(signal, metric): (usize, &analysis::run::Metric)| {
        let warnings = run.judging(signal).finding().warnings;
        let one = metrics.len() == 1;
        let name = metric.name.clone();
        warnings
            .into_iter()
            .map(move |it| if one { it.describe() } else { format!("{name}: {}", it.describe()) })
    };
    metrics.iter().enumerate().flat_map(of).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spoken<'a> {
    run: &'a str,
    t: Time,
    signals: Signals<'a>,
    ln_e_bad: Option<f64>,
    ln_e_good: Option<f64>,
    verdict: &'static str,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    end: bool,
}

struct Signals<'a> {
    run: Option<&'a Run>,
    interval: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signal {
    #[serde(skip_serializing_if = "Option::is_none")]
    ln_e_bad: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ln_e_good: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<[Option<f64>; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phi: Option<f64>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

/// A time as it was written: without decimals where it had none.
struct Time(Option<f64>);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_none(),
            Some(t) if t.fract() == 0.0 && t.abs() < 1e15 => serializer.serialize_i64(t as i64),
            Some(t) => serializer.serialize_f64(t),
        }
    }
}

impl Serialize for Signals<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(run) = self.run else { return serializer.serialize_map(Some(0))?.end() };
        let metrics = &run.spec().metrics;
        let mut map = serializer.serialize_map(Some(metrics.len()))?;
        for (index, metric) in metrics.iter().enumerate() {
            map.serialize_entry(&metric.name, &Signal::of(run, index, self.interval))?;
        }
        map.end()
    }
}

impl Signal {
    fn of(run: &Run, index: usize, interval: bool) -> Self {
        let judging = run.judging(index);
        let (evidence, verdict) = (judging.evidence(), judging.verdict().name());
        let Some(evidence) = evidence else {
            let because = Some(judging.finding().because);
            return Self { ln_e_bad: None, ln_e_good: None, ratio: None, phi: None, verdict, because };
        };
        let (low, high) = if interval { run.interval(index).unzip() } else { (None, None) };
        Self {
            ln_e_bad: Some(evidence.ln_e_bad),
            ln_e_good: Some(evidence.ln_e_good),
            ratio: Some([low, evidence.ratio, high]),
            phi: Some(evidence.phi),
            verdict,
            because: None,
        }
    }
}

impl<'a> Spoken<'a> {
    fn of(say: &Say<'a>, interval: bool) -> Self {
        let combined = say.at_work.and_then(combined);
        Self {
            run: say.run,
            t: Time(say.t),
            signals: Signals { run: say.at_work, interval },
            ln_e_bad: combined.map(|it| it.0),
            ln_e_good: combined.map(|it| it.1),
            verdict: say.verdict.name(),
            warnings: say.at_work.map_or_else(Vec::new, warnings),
            end: say.end,
        }
    }
}

/// Evidence of all signals that weigh some.
fn combined(run: &Run) -> Option<(f64, f64)> {
    match run.spec().metrics.as_slice() {
        [one] if matches!(one.judge, AnyJudge::Sequential(_)) => {
            run.judging(0).evidence().map(|it| (it.ln_e_bad, it.ln_e_good))
        }
        _ => run.combined().map(|it| (it.ln_e_bad, it.ln_e_good)),
    }
}
