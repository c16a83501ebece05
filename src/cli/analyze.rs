//! `serinus analyze`: the metrics of a template against their providers, live or over a time that has passed.

mod compare;
mod course;
mod say;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use analysis::{
    Verdict,
    run::{Spec, Window},
};
use clap::builder::ValueParser;
use jiff::Timestamp;
use strategies::{HumanDuration, Name};

use self::course::Course;
use super::{
    Exit, Failure, block_on,
    output::{Format, print, structured},
    template::{Template, pair},
};
use crate::{
    clock,
    measure::{Facts, Measuring, measuring, secret_of_this_machine},
    written::Fact,
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 passed, 3 failed, 4 undecided or not measurable, 2 wrong usage; with --against: 0 both say the same, 1 not.

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

    /// How long to measure, where it is measured live. A failure ends it at once, and so does a pass after which no
    /// metric measures any more, as with a `count`
    #[arg(long = "for", value_name = "TIME", default_value = "30m", conflicts_with_all = ["start", "end"])]
    length: HumanDuration,

    /// Judge a time that has passed: its beginning
    #[arg(long, value_name = "TIME", requires = "end")]
    start: Option<Timestamp>,

    /// Its end
    #[arg(long, value_name = "TIME", requires = "start")]
    end: Option<Timestamp>,

    /// Let another template judge the same, and show where the two disagree
    #[arg(long, value_name = "TEMPLATE", requires = "template")]
    against: Option<String>,

    /// Draw how the evidence went, as SVG
    #[arg(long, value_name = "FILE.svg", conflicts_with = "against")]
    picture: Option<PathBuf>,

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
        let time = self.window()?;
        let (name, course) = self.course(&self.template, &time)?;
        if let Some(against) = &self.against {
            return self.compare((name, course), against, &time);
        }
        let done = block_on(async { Ok(time.pass(course).await) })?;
        if let Some(path) = &self.picture {
            let drawn = say::picture(&done).ok_or_else(|| {
                usage("there is nothing to draw: no metric weighs evidence".to_owned(), "leave --picture out")
            })?;
            std::fs::write(path, drawn.svg()).map_err(|source| Failure::File {
                act: "write",
                path: path.clone(),
                source,
            })?;
        }
        let said = say::Said::of(done);
        if !structured(self.output, &said)? {
            print(said.text())?;
        }
        Ok(match said.verdict() {
            Verdict::Pass => Exit::Done,
            Verdict::Fail => Exit::RolledBack,
            Verdict::Pending | Verdict::Inconclusive | Verdict::Error => Exit::Undecided,
        })
    }

    fn compare(&self, first: (Name, Course), against: &str, time: &Time) -> Result<Exit, Failure> {
        let (second_name, second) = self.course(&self.template.other(against), time)?;
        let (first_name, first) = first;
        let (first, second) = block_on(async { Ok(tokio::join!(time.pass(first), time.pass(second))) })?;
        let named = |name: Name, done| (name.to_string(), say::Said::of(done));
        let compared = compare::Compared::new(named(first_name, first), named(second_name, second));
        if !structured(self.output, &compared)? {
            print(compared.text())?;
        }
        Ok(compared.exit())
    }

    /// The metrics of a template, ready to be judged over `time`.
    fn course(&self, template: &Template, time: &Time) -> Result<(Name, Course), Failure> {
        let (name, ready) = self.measurings(template)?;
        let spec = Spec {
            metrics: ready.iter().map(|it| it.metric.clone()).collect(),
            window: Window::Gate { min: time.length, max: time.length, may_fail: true },
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
        Ok((name, Course::begin(spec, ready, time.began)))
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
    fn measurings(&self, template: &Template) -> Result<(Name, Vec<Measuring>), Failure> {
        let (name, compiled) = template.compiled(&self.file)?;
        let map = |all: &[(Fact, String)]| all.iter().cloned().collect::<BTreeMap<_, _>>();
        let facts =
            Facts { canary: map(&self.canary), stable: map(&self.stable), weight: self.weight.clone() };
        let ready = measuring(&compiled, &facts, &secret_of_this_machine).map_err(|wrong| {
            let all: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            usage(all.join("\n"), "say what is known of the sides with --canary and --stable")
        })?;
        Ok((name, ready))
    }
}

/// Which time is judged.
struct Time {
    began: Timestamp,
    /// Where it has passed.
    end: Option<Timestamp>,
    length: Duration,
}

impl Time {
    async fn pass(&self, course: Course) -> course::Done {
        match self.end {
            Some(end) => course.over_the_past(end).await,
            None => course.live().await,
        }
    }
}

fn usage(what: String, help: &str) -> Failure {
    Failure::Usage { what, help: help.to_owned() }
}

#[cfg(test)]
mod tests;
