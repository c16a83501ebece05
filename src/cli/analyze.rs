//! `serinus analyze`: the metrics of a template against their providers, live or over a time that has passed.

mod course;
mod say;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use analysis::{
    Verdict,
    run::{Spec, Window},
};
use clap::builder::ValueParser;
use jiff::Timestamp;
use strategies::HumanDuration;

use self::course::Course;
use super::{
    Exit, Failure, block_on,
    output::{Format, print, structured},
    template::{Template, pair},
};
use crate::{
    clock,
    measure::{Facts, measuring, secret_of_this_machine},
    written::Fact,
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 passed, 3 failed, 4 undecided or not measurable, 2 wrong usage.

Examples:
  serinus analyze -f golden.yaml --arg service=shop --canary pods='shop-b-.*' --stable pods='shop-a-.*' --for 30m
  serinus analyze -f golden.yaml --arg service=shop --canary pods='shop-b-.*' --stable pods='shop-a-.*' \\
      --start 2026-03-01T10:00:00Z --end 2026-03-01T10:30:00Z --output json")]
pub(super) struct Args {
    /// The file with the template, and with the sources that it names
    #[arg(long, short, value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    template: Template,

    /// What is known of the canary: pods, hash or service; may be given several times
    #[arg(long, value_name = "FACT=VALUE", value_parser = ValueParser::new(fact))]
    canary: Vec<(Fact, String)>,

    /// The same of what it is compared with
    #[arg(long, value_name = "FACT=VALUE", value_parser = ValueParser::new(fact))]
    stable: Vec<(Fact, String)>,

    /// The canary's share of the requests, in percent, such as 10: what `$(weight)` stands for
    #[arg(long, value_name = "PERCENT")]
    weight: Option<String>,

    /// How long to measure, where it is measured live
    #[arg(long = "for", value_name = "TIME", default_value = "30m", conflicts_with_all = ["start", "end"])]
    length: HumanDuration,

    /// Judge a time that has passed: its beginning
    #[arg(long, value_name = "TIME", requires = "end")]
    start: Option<Timestamp>,

    /// Its end
    #[arg(long, value_name = "TIME", requires = "start")]
    end: Option<Timestamp>,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

fn fact(text: &str) -> Result<(Fact, String), String> {
    let (name, value) = pair(text)?;
    let fact = match name.as_str() {
        "pods" => Fact::Pods,
        "hash" => Fact::Hash,
        "service" => Fact::Service,
        other => return Err(format!("`{other}` is nothing that is known of a side: pods, hash or service")),
    };
    Ok((fact, value))
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let window = self.window()?;
        let ready = self.measurings()?;
        let spec = Spec {
            metrics: ready.iter().map(|it| it.metric.clone()).collect(),
            window: Window::Gate { min: Duration::ZERO, max: window.length, may_fail: true },
            delay: Duration::ZERO,
        };
        let has_baseline = ready.iter().any(|it| it.question.baseline.is_some());
        let wrong: Vec<String> = spec
            .check(has_baseline)
            .into_iter()
            .map(|(metric, it)| format!("{metric}: {}", it.message))
            .collect();
        if !wrong.is_empty() {
            return Err(usage(wrong.join("\n"), "`serinus lint` shows where"));
        }
        let course = Course::begin(spec, ready, window.began);
        let done = block_on(async {
            Ok(match window.end {
                Some(end) => course.over_the_past(end).await,
                None => course.live().await,
            })
        })?;
        let verdict = done.report.verdict;
        let said = say::Said::of(done);
        if !structured(self.output, &said)? {
            print(said.text())?;
        }
        Ok(match verdict {
            Verdict::Pass => Exit::Done,
            Verdict::Fail => Exit::RolledBack,
            Verdict::Pending | Verdict::Inconclusive | Verdict::Error => Exit::Undecided,
        })
    }

    fn window(&self) -> Result<Time, Failure> {
        match (self.start, self.end) {
            (Some(began), Some(end)) => {
                let length = Duration::try_from(end.duration_since(began)).ok().filter(|it| !it.is_zero());
                let length =
                    length.ok_or_else(|| usage("--end is not after --start".to_owned(), "swap the two"))?;
                if clock::now() < end {
                    return Err(usage(
                        "--end has not come yet".to_owned(),
                        "leave --start and --end out to measure live",
                    ));
                }
                Ok(Time { began, end: Some(end), length })
            }
            _ => Ok(Time { began: clock::now(), end: None, length: self.length.0 }),
        }
    }

    /// The metrics of the template, ready to be measured.
    fn measurings(&self) -> Result<Vec<crate::measure::Measuring>, Failure> {
        let (_, compiled) = self.template.compiled(&self.file)?;
        let map = |all: &[(Fact, String)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
        let facts =
            Facts { canary: map(&self.canary), stable: map(&self.stable), weight: self.weight.clone() };
        measuring(&compiled, &facts, &secret_of_this_machine).map_err(|wrong| {
            let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            usage(all.join("\n"), "say what is known of the sides with --canary and --stable")
        })
    }
}

/// Which time is judged.
struct Time {
    began: Timestamp,
    /// Where it has passed.
    end: Option<Timestamp>,
    length: Duration,
}

fn usage(what: String, help: &str) -> Failure {
    Failure::Usage { what, help: help.to_owned() }
}

#[cfg(test)]
mod tests;
