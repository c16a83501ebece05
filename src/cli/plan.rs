//! `serinus plan`: the steps a document stands for, how long they take, and what they can see.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

use analysis::written::{Fraction, Ratio};
use clap::ValueEnum;
use strategies::Weight;

use super::{
    Exit, Failure, block_on, color,
    instance::{Chosen, Instance},
    lint,
};
use crate::{
    api::remote::Remote as _,
    chart::{Chart, Line},
    spec::{
        self, Report, Severity,
        compile::{Compiled, compile},
        forecast::{Expected, Forecast, StepForecast, forecast, number, power, rounded},
    },
};

/// Longest time in a picture, seconds: what takes longer is not waited for.
const LONGEST: f64 = 7_200.0;

/// Shows the steps a document stands for, how long they take, and what they can and cannot see.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// The document; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Which Rollout, where the file holds several
    #[arg(long, value_name = "NAME")]
    pub rollout: Option<String>,

    /// Requests that users send, such as 500/s or 30/m
    #[arg(long, value_name = "RATE", requires = "error_rate")]
    pub traffic: Option<Rate>,

    /// Share of them that fails on stable, such as 0.1%
    #[arg(long, value_name = "SHARE", requires = "traffic", value_parser = str::parse::<Fraction>)]
    pub error_rate: Option<Fraction>,

    /// Take both from the last hour of stable in the running instance
    #[arg(long, value_name = "SOURCE", value_enum, conflicts_with = "traffic")]
    #[arg(help = "Take both from the last hour of stable: `running`, the instance that runs here")]
    pub from: Option<From>,

    #[command(flatten)]
    pub instance: Instance,

    /// Draw what each weight can see, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub picture: Option<PathBuf>,

    /// How many times as many errors would matter to you
    #[arg(long, value_name = "FACTOR", default_value = "2x", value_parser = matters)]
    pub matters: Ratio,

    /// How to show it
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    #[arg(help = "How to show it: text, json or yaml")]
    pub output: Form,
}

/// Where traffic and errors are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum From {
    /// The instance that runs here.
    Running,
}

/// How to show a plan.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Requests per time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    /// Requests per second, above 0 and finite.
    pub per_second: f64,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("`{text}` is no rate: write a number and /s, /m or /h, such as 500/s");
        let (number, unit) = text.split_once('/').ok_or_else(invalid)?;
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(invalid()),
        };
        let number: f64 = number.trim().parse().map_err(|_| invalid())?;
        let per_second = number / seconds;
        if 0.0 < per_second && per_second <= 1e9 { Ok(Self { per_second }) } else { Err(invalid()) }
    }
}

fn matters(text: &str) -> Result<Ratio, String> {
    let factor: Ratio = text.parse()?;
    if 1.0 < factor.times() { Ok(factor) } else { Err(format!("`{text}` is not worse: write more than 1x")) }
}

impl Args {
    pub(super) fn run(mut self) -> Result<Exit, Failure> {
        if let Some(From::Running) = self.from {
            (self.traffic, self.error_rate) = block_on(measured(&self))?;
        }
        if self.picture.is_some() && self.traffic.is_none() {
            return Err(Failure::Usage {
                what: "a picture needs to know the traffic".to_owned(),
                help: "add `--traffic 500/s --error-rate 0.1%`, or `--from running`".to_owned(),
            });
        }
        run(&self, &mut io::stdout().lock(), color::on_stdout())
            .map_err(|source| Failure::System { act: "write to standard output", source })
    }

    fn expected(&self) -> Option<Expected> {
        self.traffic.zip(self.error_rate).map(|(traffic, errors)| Expected {
            requests_per_s: traffic.per_second,
            error_rate: errors.get(),
            matters: self.matters.times(),
        })
    }
}

/// Traffic and errors of stable, as the running instance remembers them.
async fn measured(args: &Args) -> Result<(Option<Rate>, Option<Fraction>), Failure> {
    let found = Chosen::of(args.rollout.clone(), args.instance.clone()).find().await?;
    let remembered = found.client.calibration(&found.name).await.map_err(|error| found.failed(error))?;
    let (mut seconds, mut total, mut bad) = (0.0, 0u64, 0u64);
    let windows = remembered.metrics.iter().map(|it| &it.windows);
    let counted = windows.max_by_key(|all| all.iter().filter(|it| it.pods.errors().is_some()).count());
    for it in counted.into_iter().flatten() {
        let Some(pods) = it.pods.errors() else { continue };
        seconds += it.seconds;
        total += pods.iter().map(|it| it.total).sum::<u64>();
        bad += pods.iter().map(|it| it.bad).sum::<u64>();
    }
    let unknown = |what: &str| Failure::NothingToDo {
        what: format!("{} {what}", found.name),
        help: "give `--traffic 500/s --error-rate 0.1%` instead".to_owned(),
    };
    if total == 0 {
        return Err(unknown("has counted no requests of at least two replicas of stable yet"));
    }
    if bad == 0 {
        return Err(unknown("has seen no failed request yet"));
    }
    let share = rounded_share(bad as f64 / total as f64);
    let rate = Fraction::new(share).map_err(|_| unknown("has seen nothing but failed requests"))?;
    Ok((Some(Rate { per_second: total as f64 / seconds }), Some(rate)))
}

/// What a count of requests can tell at most: three digits. `0 < share`.
fn rounded_share(share: f64) -> f64 {
    let scale = 10f64.powi(2 - share.log10().floor() as i32);
    (share * scale).round() / scale
}

/// How long it takes to notice some factors of errors, by weight.
fn picture(compiled: &Compiled, expected: Expected) -> Chart {
    let mut factors = vec![1.5, 2.0, 5.0];
    if !factors.contains(&expected.matters) {
        factors.push(expected.matters);
        factors.sort_by(f64::total_cmp);
    }
    let line = |factor: f64| Line {
        name: format!("{}x the errors", number(factor)),
        points: power(compiled, expected, factor)
            .into_iter()
            .map(|(percent, seconds)| (f64::from(percent), seconds.min(LONGEST) / 60.0))
            .collect(),
    };
    let errors = Fraction::new(expected.error_rate).map_or_else(|_| String::new(), |it| it.to_string());
    Chart {
        title: format!(
            "{}: minutes until it is rolled back, at {} requests/s with {errors} errors",
            compiled.name,
            number(expected.requests_per_s)
        ),
        x: "weight in %",
        y: "minutes",
        mark: None,
        lines: factors.into_iter().map(line).collect(),
    }
}

/// Reads the document and writes its plan to `out`; `styled`: with colours.
///
/// Exit code: 0 shown, 2 the document cannot be read or has mistakes, which are shown instead.
///
/// # Errors
///
/// `out` cannot be written to.
pub(super) fn run(args: &Args, out: &mut dyn Write, styled: bool) -> io::Result<Exit> {
    let bytes = match lint::read_file(&args.file) {
        Ok(bytes) => bytes,
        Err(error) => {
            writeln!(out, "cannot read {}: {error}", args.file.display())?;
            return Ok(Exit::Usage);
        }
    };
    let read = spec::read(&args.file.display().to_string(), &bytes);
    if read.diagnostics.iter().any(|it| it.severity == Severity::Error) {
        let report = Report { source: &read.source, diagnostics: &read.diagnostics };
        writeln!(out, "{}", report.render(styled))?;
        return Ok(Exit::Usage);
    }
    let compiled = match compile(&read.documents, args.rollout.as_deref()) {
        Ok(compiled) => compiled,
        Err(error) => {
            writeln!(out, "{error}")?;
            return Ok(Exit::Usage);
        }
    };
    let expected = args.expected();
    if let Some((path, expected)) = args.picture.as_ref().zip(expected)
        && let Err(error) = std::fs::write(path, picture(&compiled, expected).svg())
    {
        writeln!(out, "cannot write {}: {error}", path.display())?;
        return Ok(Exit::Failed);
    }
    let forecast = forecast(&compiled, expected);
    match args.output {
        Form::Text => write!(out, "{}", text(&forecast, expected))?,
        Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(&forecast)?)?,
        Form::Yaml => {
            writeln!(out, "{}", serde_saphyr::to_string(&forecast).map_err(io::Error::other)?.trim_end())?;
        }
    }
    Ok(Exit::Done)
}

/// The plan for people.
#[must_use]
pub(super) fn text(forecast: &Forecast, expected: Option<Expected>) -> String {
    let mut text = format!("{}: {} steps", forecast.rollout, forecast.steps.len());
    if let Some(replicas) = forecast.replicas {
        let _ = write!(text, ", {}", counted(replicas, "replica"));
    }
    text += "\n\n";
    text += &table(&rows(forecast, expected.is_some()));
    text.push('\n');
    for it in times(forecast) {
        let _ = writeln!(text, "{it}");
    }
    for guard in &forecast.guards {
        let metrics: Vec<&str> = guard.metrics.iter().map(strategies::Name::as_str).collect();
        let what = match metrics.as_slice() {
            [] => "only the cluster knows its metrics".to_owned(),
            ["pods"] => "crashes and lost readiness".to_owned(),
            ["answers"] => "answers unlike stable's".to_owned(),
            ["memory"] => "leaks".to_owned(),
            metrics => metrics.join(", "),
        };
        let _ = writeln!(text, "Guard `{}` ({what}) from `{}` on.", guard.name, guard.from);
    }
    if let Some(expected) = expected.filter(|_| forecast.steps.iter().any(|it| it.sight.is_some())) {
        let _ = writeln!(
            text,
            "At {} requests/s with {} errors on stable. SEES: the smallest factor of errors that is found within the \
             step. FINDS, HURTS: the time until a version with {}x the errors is rolled back, and the requests that fail \
             until then.",
            number(expected.requests_per_s),
            Fraction::new(expected.error_rate).map_or_else(|_| String::new(), |it| it.to_string()),
            number(expected.matters)
        );
    }
    for it in &forecast.warnings {
        let _ = writeln!(text, "warning: {it}");
    }
    for it in &forecast.unknown {
        let _ = writeln!(text, "Not known here: {it}.");
    }
    text
}

fn times(forecast: &Forecast) -> Vec<String> {
    let mut lines = Vec::new();
    let least = rounded(forecast.least);
    lines.push(match forecast.most {
        Some(most) if most == forecast.least => format!("Takes {least}, and what replicas take to start."),
        Some(most) => {
            format!("Takes at least {least} and at most {}, and what replicas take to start.", rounded(most))
        }
        None => format!("Takes at least {least}; how long a person or an analysis takes is open."),
    });
    if let Some(expected) = forecast.expected {
        lines.push(format!("Expected for a version as good as stable: {}.", rounded(expected)));
    }
    lines.push(match forecast.timeout {
        Some(timeout) => {
            format!("A pipeline that waits for the end must allow {} (`--timeout`).", rounded(timeout))
        }
        None => "A pipeline cannot wait for the end: a step has no limit.".to_owned(),
    });
    if let Some(peak) = forecast.peak_replicas {
        lines.push(format!("At most {} at the same time.", counted(peak, "replica")));
    }
    lines
}

fn rows(forecast: &Forecast, sees: bool) -> Vec<Vec<String>> {
    let mut head = vec!["STEP", "WEIGHT", "STABLE+CANARY", "WAITS FOR", "LEAST", "MOST"];
    if sees {
        head.extend(["PASSES", "SEES", "FINDS", "HURTS"]);
    }
    let head = head.into_iter().map(str::to_owned).collect();
    std::iter::once(head).chain(forecast.steps.iter().map(|it| row(it, sees))).collect()
}

fn row(step: &StepForecast, sees: bool) -> Vec<String> {
    let mut weight = step.weight.to_string();
    for id in &step.matches {
        let _ = write!(weight, " +{id}");
    }
    if step.mirror != Weight::ZERO {
        let _ = write!(weight, " copy {}", step.mirror);
    }
    let replicas = step.stable_replicas.zip(step.canary_replicas);
    let open = || "open".to_owned();
    let none = || "-".to_owned();
    let mut row = vec![
        step.name.to_string(),
        weight,
        replicas.map_or_else(|| "?".to_owned(), |(stable, canary)| format!("{stable}+{canary}")),
        step.waits_for.clone(),
        rounded(step.least),
        step.most.map_or_else(open, rounded),
    ];
    if sees {
        let sight = step.sight;
        row.push(sight.and_then(|it| it.pass).map_or_else(none, rounded));
        row.push(sight.and_then(|it| it.smallest).map_or_else(none, |it| format!("{it:.2}x")));
        row.push(sight.and_then(|it| it.detect).map_or_else(none, rounded));
        row.push(sight.map_or_else(none, |it| number(it.damage)));
    }
    row
}

fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|it| it.get(column)).map(|it| it.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|it| width(it).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

fn counted(count: u32, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_share_has_three_digits() {
        for (share, rounded) in [(0.010264429911856696, 0.0103), (0.5, 0.5), (0.000123456, 0.000123)] {
            assert_eq!(rounded_share(share), rounded);
        }
    }
}
