//! `serinus calibrate`: stable beside itself, on what a running instance remembers or on what a provider does.

mod history;
mod say;

use std::{path::PathBuf, time::Duration};

use analysis::{
    calibrate::{MetricHistory, Trial, aa},
    written::Fraction,
};
use jiff::Timestamp;
use strategies::HumanDuration;

use self::say::Said;
use super::{
    Exit, Failure, block_on,
    instance::{Chosen, Instance},
    output::{Format, print, structured},
    progress::during,
    template::Template,
};
use crate::{api::remote::Remote as _, clock};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Some of stable's own pods play the canary, in turn: whoever is rolled back then is rolled back wrongly.

Exit codes: 0 no promise is seen to be broken, 3 more are rolled back than promised, 4 nothing could be tried,
2 wrong usage.

Examples:
  serinus calibrate                         the rollout that runs here, on the last hour
  serinus calibrate -f golden.yaml --arg service=shop --pods shop-a-1,shop-a-2,shop-a-3 \\
      --start 2026-03-01T00:00:00Z --end 2026-03-03T00:00:00Z")]
pub(super) struct Args {
    /// Which rollout of the running instance [default: the only one]
    #[arg(value_name = "ROLLOUT", conflicts_with = "file")]
    rollout: Option<String>,

    #[command(flatten)]
    instance: Instance,

    /// Ask providers about the past instead: the file with the template, and with the sources that it names
    #[arg(long, short, value_name = "FILE", requires_all = ["pods", "start", "end"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    template: Template,

    /// Stable's pods: what `$(arm.pods)` stands for, one after the other
    #[arg(long, value_name = "POD,...", value_delimiter = ',', requires = "file")]
    pods: Vec<String>,

    /// Beginning of the time that is tried
    #[arg(long, value_name = "TIME", requires = "file")]
    start: Option<Timestamp>,

    /// Its end
    #[arg(long, value_name = "TIME", requires = "file")]
    end: Option<Timestamp>,

    /// How often the judges look; each look asks for every pod
    #[arg(long, value_name = "TIME", default_value = "1m", requires = "file")]
    every: HumanDuration,

    /// The share of requests that a canary usually has
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = str::parse::<Fraction>)]
    weight: Fraction,

    /// How long a rollout usually takes
    #[arg(long, value_name = "TIME", default_value = "10m")]
    run: HumanDuration,

    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        if self.run.0 < Duration::from_secs(1) {
            return Err(usage("a run of less than a second shows nothing", "give `--run` some minutes"));
        }
        let metrics = block_on(self.metrics())?;
        let tried = metrics.iter().map(|it| {
            let trial =
                Trial { judge: &it.judge, part: it.part, weight: self.weight.get(), length: self.run.0 };
            (it, aa(&it.windows, &trial))
        });
        let said = Said::of(tried.collect(), self.run.0);
        if !structured(self.output, &said)? {
            print(said.text())?;
        }
        Ok(said.exit())
    }

    async fn metrics(&self) -> Result<Vec<MetricHistory>, Failure> {
        let (Some(file), Some(start), Some(end)) = (&self.file, self.start, self.end) else {
            let found = Chosen::of(self.rollout.clone(), self.instance.clone()).find().await?;
            let remembered = found.client.calibration(&found.name).await;
            return Ok(remembered.map_err(|error| found.failed(error))?.metrics);
        };
        if end <= start || clock::now() < end {
            return Err(usage(
                "--end must lie after --start, and not in the future",
                "give a time that has passed",
            ));
        }
        let (name, compiled) = self.template.compiled(file)?;
        let asked = history::ask(&name, &compiled, &self.pods, start..end, self.every.0);
        during("asking the providers", asked).await
    }
}

fn usage(what: &str, help: &str) -> Failure {
    Failure::Usage { what: what.to_owned(), help: help.to_owned() }
}

#[cfg(test)]
mod tests;
