//! `serinus judge`: polls in as JSON Lines, verdicts out. For CI gates, other engines, and for checking the judges
//! from outside: it judges with what rollouts are judged with.
//!
//! Lines are as in `analysis::line`. `"pods"` tells what single pods of the baseline did, always in the same order:
//! `{"total":9,"bad":1}`, or `{"buckets":[8,9]}` where the line has `"bounds"`. With `"phase":"before"` it is from before
//! the canary; on a poll of the canary it is of the same interval, and counts for later polls.

mod config;
mod line;
mod say;
mod stream;

use std::{
    fs,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::PathBuf,
};

use analysis::Verdict;

pub use self::say::Output;
use self::{config::Config, line::Line, say::Writer, stream::Stream};
use super::{Exit, Failure};

/// Arguments of `serinus judge`.
#[derive(Clone, Debug, clap::Args)]
pub struct JudgeArgs {
    /// What is judged and how, YAML: `signals: { errors: { sequential: {} } }`, `poll: 10s`, `deadline: 60m`
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// How verdicts are written
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// Write only the last verdict of each run
    #[arg(long)]
    pub final_only: bool,
    /// Write the interval of the ratio at every poll, not only with a verdict: it costs milliseconds
    #[arg(long)]
    pub ratio: bool,
}

/// Longest line that is read, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// Wrong lines that are shown.
const SHOWN: u64 = 20;

impl JudgeArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        Ok(run(&self, &mut io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr()))
    }
}

/// Judges what comes on `input`, line by line, until it ends.
///
/// Exit codes: with one run 0 if it passed, 3 if it failed, 4 if it is inconclusive; with more runs 0. 2 if the
/// configuration or a line was wrong, 4 if there was no poll at all, 1 if reading or writing failed.
pub fn run(args: &JudgeArgs, input: &mut dyn Read, output: &mut dyn Write, errors: &mut dyn Write) -> Exit {
    // Where standard error is closed nobody reads it.
    let mut complain = |text: String| drop(writeln!(errors, "{text}"));
    let path = args.config.display();
    let text = match fs::read_to_string(&args.config) {
        Ok(text) => text,
        Err(error) => {
            complain(format!("error: {path} could not be read: {error}"));
            return Exit::Usage;
        }
    };
    let config = match Config::read(&text) {
        Ok(config) => config,
        Err(wrong) => {
            wrong.iter().for_each(|it| complain(format!("error: {path}: {it}")));
            return Exit::Usage;
        }
    };
    let mut stream = Stream::new(config);
    let to = BufWriter::with_capacity(1 << 16, output);
    let mut writer = Writer::new(to, args.output, args.final_only, args.ratio);
    let wrong = match read_all(input, &mut stream, &mut writer, &mut complain) {
        Ok(wrong) => wrong,
        Err(error) => {
            complain(format!("error: the judging broke off: {error}"));
            return Exit::Failed;
        }
    };
    match (wrong, stream.runs(), stream.only_verdict()) {
        (0, 0, _) => {
            complain("error: there was no line: nothing was judged".to_owned());
            Exit::Undecided
        }
        (0, _, Some(Verdict::Fail)) => Exit::RolledBack,
        (0, _, Some(Verdict::Pending | Verdict::Inconclusive | Verdict::Error)) => Exit::Undecided,
        (0, _, Some(Verdict::Pass) | None) => Exit::Done,
        (_, _, _) => {
            if SHOWN < wrong {
                complain(format!("error: {} more lines are wrong", wrong - SHOWN));
            }
            Exit::Usage
        }
    }
}

/// Takes every line, and says how many were wrong.
fn read_all<W: Write>(
    input: &mut dyn Read,
    stream: &mut Stream,
    writer: &mut Writer<W>,
    complain: &mut dyn FnMut(String),
) -> io::Result<u64> {
    let mut input = BufReader::with_capacity(1 << 16, input);
    let (mut line, mut number, mut wrong) = (Vec::new(), 0u64, 0u64);
    loop {
        // Whoever waits for an answer before asking again gets it.
        if input.buffer().is_empty() {
            writer.to.flush()?;
        }
        line.clear();
        if (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let taken = if line.len() as u64 == LONGEST_LINE && !line.ends_with(b"\n") {
            skip_line(&mut input)?;
            Err(format!("is longer than {LONGEST_LINE} bytes"))
        } else {
            take(&line, number, stream, writer)
        };
        if let Err(why) = taken {
            wrong += 1;
            if wrong <= SHOWN {
                complain(format!("error: line {number}: {why}"));
            }
        }
        if let Some(error) = writer.failed.take() {
            return Err(error);
        }
    }
    stream.finish(writer);
    writer.failed.take().map_or(Ok(()), Err)?;
    writer.to.flush()?;
    Ok(wrong)
}

fn take<W: Write>(
    line: &[u8],
    number: u64,
    stream: &mut Stream,
    writer: &mut Writer<W>,
) -> Result<(), String> {
    let line = if number == 1 { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| {
        // The error says "line 1 column 5" of what is one line only.
        let text = error.to_string();
        let why = text.split(" at line ").next().unwrap_or(&text);
        format!("column {}: {why}", error.column())
    })?;
    stream.take(line, writer)
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let (used, over) = match buffer.iter().position(|it| *it == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        if over {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
