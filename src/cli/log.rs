//! Logs: to standard error, quiet unless asked for; of the parts of an instance, into files too.
//!
//! Whoever serves or decides says what it says through [`telemetry`], so that no reader, terminal or disk can stall or
//! end it, and a panic is a line of the log.

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use tracing_subscriber::{EnvFilter, Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use super::Failure;
use crate::{
    local::supervisor::logs,
    telemetry::{self, Losses, Outlet, Unheard},
};

/// How long the end of a process waits for its last lines.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Whose log it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Voice {
    /// A command that a person waits for: standard error, warnings unless asked for more.
    Command,
    /// A command that has an instance of its own: the same, and nobody who does not read ends it.
    Holder,
    /// A worker or the control process. Its standard error is the supervisor's to keep.
    Part(String),
    /// The supervisor in this state directory: a file of its own, and warnings on standard error if there is a reader.
    Supervisor(PathBuf),
}

/// Starts logging by `filter`. Without one people get warnings, and files what they need afterwards.
///
/// # Errors
/// A filter that is none.
pub(super) fn install(filter: Option<&str>, voice: Voice) -> Result<(), Failure> {
    let parse = |usual: &str| {
        EnvFilter::builder().parse(filter.unwrap_or(usual)).map_err(|error| Failure::Usage {
            what: format!("`--log` cannot be read: {error}"),
            help: "write a level such as `info`, or a filter such as `serinus=debug,warn`".to_owned(),
        })
    };
    let ansi = std::io::stderr().is_terminal() && super::color::on_stderr();
    match voice {
        Voice::Command => begin(vec![layer(|| Unheard(std::io::stderr()), ansi, parse("warn")?)]),
        Voice::Holder => {
            let errors = outlet("stderr", std::io::stderr());
            telemetry::log_to(vec![errors.clone()]);
            begin(vec![layer(move || errors.clone(), ansi, parse("warn")?)]);
        }
        Voice::Part(name) => {
            let errors = outlet("log", std::io::stderr());
            telemetry::log_to(vec![errors.clone()]);
            begin(vec![layer(
                move || Named { name: name.clone(), to: errors.clone() },
                false,
                parse("info")?,
            )]);
            panics_are_logged();
        }
        Voice::Supervisor(state) => {
            let file = logs::own(&state);
            let (mut ways, to_file) = (vec![file.clone()], file.clone());
            let mut layers = vec![layer(move || to_file.clone(), false, parse("info")?)];
            if !logs::is_stderr(&state) {
                let errors = outlet("stderr", std::io::stderr());
                ways.push(errors.clone());
                layers.push(layer(move || errors.clone(), ansi, parse("warn")?));
            }
            telemetry::log_to(ways);
            begin(layers);
            panics_are_logged();
        }
    }
    Ok(())
}

/// Waits for the last lines: this process is about to end.
pub(super) fn end() {
    super::output::flush();
    telemetry::flush(LAST_LINES);
}

type Boxed = Box<dyn Layer<tracing_subscriber::Registry> + Send + Sync>;

fn layer<W: Write + 'static>(
    writer: impl Fn() -> W + Send + Sync + 'static,
    ansi: bool,
    filter: EnvFilter,
) -> Boxed {
    fmt::layer().with_writer(writer).with_ansi(ansi).log_internal_errors(false).with_filter(filter).boxed()
}

fn begin(layers: Vec<Boxed>) {
    tracing_subscriber::registry().with(layers).init();
}

fn outlet(name: &str, to: impl Write + Send + 'static) -> Outlet {
    Outlet::new(name, Losses::Told, to)
}

/// A panic becomes a line of the log, with its place.
fn panics_are_logged() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let said = panic.payload_as_str().unwrap_or("no message");
        let trace = std::backtrace::Backtrace::capture();
        tracing::error!(place, thread, %trace, "panicked: {said}");
    }));
}

/// Each line with the name of the part before it: several parts share a file.
struct Named {
    name: String,
    to: Outlet,
}

impl Write for Named {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut line = Vec::with_capacity(self.name.len() + 1 + bytes.len());
        line.extend_from_slice(self.name.as_bytes());
        line.push(b' ');
        line.extend_from_slice(bytes);
        self.to.say(line);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
