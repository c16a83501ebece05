//! Forms of output.

use std::{
    io::{self, Write},
    sync::OnceLock,
    time::Duration,
};

use clap::ValueEnum;
use serde::Serialize;

use super::{Failure, color};
use crate::telemetry::{self, Losses, Outlet};

/// What a command prints.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// What a command prints that goes on for a while.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Flow {
    /// For people: a live view on a terminal, lines elsewhere.
    #[default]
    Text,
    /// One JSON object per line, each with `kind`; the last one is the summary.
    Json,
}

/// Prints `value` for programs; `Ok(false)`: text is asked for, and nothing was printed.
///
/// # Errors
/// Standard output is closed, or the value cannot be written in this form.
pub(super) fn structured(format: Format, value: &impl Serialize) -> Result<bool, Failure> {
    let text = match format {
        Format::Text => return Ok(false),
        Format::Json => serde_json::to_string_pretty(value).map_err(not_written)?,
        Format::Yaml => serde_saphyr::to_string(value).map_err(not_written)?,
    };
    print(text.trim_end())?;
    Ok(true)
}

fn not_written(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::System { act: "write the answer in this form", source: std::io::Error::other(error) }
}

/// How long a slow reader is waited for at the end: the last line is the summary.
const LAST_LINES: Duration = Duration::from_secs(5);

/// What is printed from now on, where a service hangs on this process: nobody has to read it.
static DETACHED: OnceLock<Outlet> = OnceLock::new();

/// From now on a closed or stuck standard output loses lines instead of ending or stalling this process, which holds
/// a service. Standard error is such a one already.
pub(super) fn detach() {
    DETACHED.get_or_init(|| Outlet::new("stdout", Losses::Counted, io::stdout()));
}

/// Waits until what was printed has been written, or nobody is likely to read it any more.
pub(super) fn flush() {
    if let Some(outlet) = DETACHED.get() {
        outlet.flush(LAST_LINES);
    }
}

/// Prints one line to standard output, with colours where they belong.
///
/// # Errors
/// Standard output is closed; never after [`detach`].
pub(super) fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    match DETACHED.get() {
        Some(outlet) => {
            let text = match color::on_stdout() {
                true => format!("{line}\n"),
                false => format!("{}\n", anstream::adapter::strip_str(&line.to_string())),
            };
            outlet.say(text.into_bytes());
            Ok(())
        }
        None => writeln!(anstream::stdout().lock(), "{line}").map_err(closed),
    }
}

/// Writes one JSON line.
///
/// # Errors
/// Standard output is closed; never after [`detach`].
pub(super) fn json_line(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string(value).map_err(|error| closed(io::Error::other(error)))?;
    text.push('\n');
    match DETACHED.get() {
        Some(outlet) => {
            outlet.say(text.into_bytes());
            Ok(())
        }
        None => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(closed)
        }
    }
}

/// Says something on standard error, with colours where they belong. Whether anybody reads it is nobody's concern.
pub(super) fn complain(text: impl std::fmt::Display) {
    let text = match color::on_stderr() {
        true => format!("{text}\n"),
        false => format!("{}\n", anstream::adapter::strip_str(&text.to_string())),
    };
    if !telemetry::say(text.as_bytes()) {
        // There is no other way to say it.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

fn closed(source: io::Error) -> Failure {
    Failure::System { act: "write to standard output", source }
}

/// Rows with aligned columns. The first row is the head. Cells may carry colours.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|it| width(it)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width_of).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', wide.saturating_sub(width(cell)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Columns of the terminal on standard output; 100 where there is none.
pub(super) fn columns() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|it| usize::from(it.ws_col))
        .filter(|it| *it > 0)
        .map_or(100, |it| it.saturating_sub(1))
}

/// Columns that a text takes on a terminal, its colours not counted.
pub(super) fn width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn columns_align_whatever_their_colour() {
        let rows =
            [vec!["A".to_owned(), "B".to_owned()], vec![color::paint(color::GOOD, "long"), "x".to_owned()]];
        let plain = anstream::adapter::strip_str(&table(&rows)).to_string();
        assert_eq!(plain, "A     B\nlong  x\n");
    }
}
