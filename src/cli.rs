//! The command line: one file per command.
//!
//! A command reads its arguments, asks the running instance or the machine for what it needs, prints, and answers
//! with an [`Exit`]. Deliberately absent: any decision about a rollout.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod calibrate;
mod changes;
mod color;
mod connect;
mod edit;
mod ending;
mod exit;
mod failure;
mod finish;
mod instance;
mod live;
mod log;
mod order;
mod output;
mod picture;
mod progress;
mod send;
mod service_manager;
mod story;
mod summary;
mod supervised;
mod template;
#[cfg(test)]
mod testing;
mod tls_files;
mod watch;
mod words;

mod abort;
mod analyze;
mod apply;
mod approve;
mod completions;
mod controller;
mod crd;
mod delete;
mod demo;
mod eject;
mod explain;
mod get;
mod history;
mod internal;
pub mod judge;
pub mod lint;
mod logs;
mod pause;
mod plan;
mod promote;
mod replay;
mod restart;
mod resume;
mod retry;
mod run;
mod schema;
mod set_command;
mod set_image;
mod status;
mod undo;
mod upgrade;
mod version;
mod wait;

pub use exit::Exit;
pub use failure::Failure;

/// Takes a new version of a service to its users step by step, measures what it does to them, and promotes it or
/// rolls it back.
#[derive(Debug, Parser)]
#[command(name = "serinus", version, max_term_width = 100, after_help = EXAMPLES, subcommand_required = true)]
#[command(arg_required_else_help = true)]
pub struct Cli {
    /// When to use colour
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help = "When to use colour: auto, always or never")]
    color: color::When,

    /// What to log to standard error: error, warn, info, debug, trace, or a filter such as `serinus=debug`
    #[arg(long, global = true, value_name = "FILTER", env = "SERINUS_LOG", hide_env = true)]
    log: Option<String>,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Start here:
  serinus demo                        a real canary on this machine, live
  serinus demo --fault errors         the same with a bad version: watch it being rolled back
  serinus run shop.yaml               your own service
  serinus apply shop.yaml             its next release
  serinus status --watch              what it is doing

`serinus COMMAND --help` says more about each command.";

macro_rules! commands {
    ($($(#[$attr:meta])* $Command:ident($Args:ty),)*) => {
        #[derive(Debug, Subcommand)]
        #[expect(clippy::enum_variant_names, reason = "`set-command` is what that command is called")]
        enum Command { $($(#[$attr])* $Command($Args),)* }

        impl Command {
            /// How what it logs and prints is written.
            fn voice(&self) -> log::Voice {
                match self {
                    Self::Internal(args) => args.voice(),
                    Self::Run(_) | Self::Demo(_) | Self::Controller(_) => log::Voice::Holder,
                    _ => log::Voice::Command,
                }
            }

            fn run(self) -> Result<Exit, Failure> {
                match self { $(Self::$Command(args) => args.run(),)* }
            }
        }
    };
}

commands! {
    /// Show a real canary on this machine, with a sample service
    Demo(demo::Args),
    /// Bring up a service behind the proxy and keep it running
    Run(run::Args),
    /// Hand in a document: the next release of a service that runs
    Apply(apply::Args),
    /// Stop a service and forget it
    Delete(delete::Args),
    /// Show the steps a document stands for
    Plan(plan::Args),
    /// Check documents and show every mistake with its place
    Lint(lint::LintArgs),
    /// Judge polls from standard input, one JSON object per line
    Judge(judge::JudgeArgs),
    /// Judge the metrics of a template, live or over a time that has passed
    Analyze(analyze::Args),
    /// Judge stable beside itself: what the judges promise, measured on your own requests
    Calibrate(calibrate::Args),
    /// Print the JSON Schema of documents, for editors
    Schema(schema::Args),
    /// Print the kinds that a cluster needs
    Crd(crd::Args),
    /// List rollouts
    Get(get::Args),
    /// Show how a rollout stands
    Status(status::Args),
    /// Wait until a rollout is over
    Wait(wait::Args),
    /// List revisions and past attempts
    History(history::Args),
    /// Tell the story of a rollout, with the evidence
    Explain(explain::Args),
    /// Print what the processes of a rollout printed
    Logs(logs::Args),
    /// Decide a recorded rollout again and show where it would go otherwise
    Replay(replay::Args),
    /// End the present step, or all of them
    Promote(promote::Args),
    /// Say yes where a step asks for it
    Approve(approve::Args),
    /// Go no step further for now
    Pause(pause::Args),
    /// Go on after a pause
    Resume(resume::Args),
    /// Turn back: all requests to stable
    Abort(abort::Args),
    /// Give a workload of a cluster back, without an engine
    Eject(eject::Args),
    /// Try a revision again that was rolled back
    Retry(retry::Args),
    /// Release a former revision again
    Undo(undo::Args),
    /// Run the same once more, as a new release
    Restart(restart::Args),
    /// Release another command
    SetCommand(set_command::Args),
    #[command(hide = true)]
    SetImage(set_image::Args),
    /// Replace a running instance by another version, losing no request
    Upgrade(upgrade::Args),
    /// Run the engine of a cluster
    Controller(controller::Args),
    /// Print shell completions, or write manual pages
    Completions(completions::Args),
    /// Print the version
    Version(version::Args),
    #[command(hide = true)]
    Internal(internal::Args),
}

/// Runs the program.
pub fn main() -> ExitCode {
    if internal::is_shim() {
        std::process::exit(crate::local::process::shim::exec_shim());
    }
    let cli = Cli::parse();
    cli.color.choose();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        unreachable!("main runs once, and nothing ran before it");
    }
    let ended = log::install(cli.log.as_deref(), cli.command.voice()).and_then(|()| cli.command.run());
    let exit = ended.unwrap_or_else(|failure| {
        failure.tell();
        failure.exit()
    });
    log::end();
    exit.into()
}

/// Runs `work` to its end on this thread.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| Failure::System { act: "start", source })?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    done
}

/// The whole command line as data, for completions and manual pages.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_visible_command_says_what_it_is_for() {
        for it in command().get_subcommands().filter(|it| !it.is_hide_set()) {
            let about = it.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "{}", it.get_name());
            assert!(!about.ends_with('.'), "{}: {about}", it.get_name());
        }
    }
}
