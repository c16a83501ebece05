//! The command line: one file per command.
//!
//! A command reads its arguments, asks the running instance or the machine for what it needs, prints, and answers
//! with an [`Exit`]. Deliberately absent: any decision about a rollout.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod color;
mod exit;
mod failure;
mod instance;
mod log;
mod output;

mod abort;
mod apply;
mod approve;
mod completions;
mod delete;
mod demo;
mod explain;
mod get;
mod history;
mod internal;
mod judge;
mod lint;
mod pause;
mod plan;
mod promote;
mod restart;
mod resume;
mod retry;
mod run;
mod schema;
mod set_command;
mod set_image;
mod status;
mod undo;
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
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t, hide_possible_values = true)]
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
    ($($(#[$attr:meta])* $Command:ident = $module:ident,)*) => {
        #[derive(Debug, Subcommand)]
        enum Command { $($(#[$attr])* $Command($module::Args),)* }

        impl Command {
            fn run(self) -> Result<Exit, Failure> {
                match self { $(Self::$Command(args) => args.run(),)* }
            }
        }
    };
}

commands! {
    Demo = demo,
    Run = run,
    Apply = apply,
    Delete = delete,
    Plan = plan,
    Lint = lint,
    Schema = schema,
    Get = get,
    Status = status,
    Wait = wait,
    History = history,
    Explain = explain,
    Promote = promote,
    Approve = approve,
    Pause = pause,
    Resume = resume,
    Abort = abort,
    Retry = retry,
    Undo = undo,
    Restart = restart,
    SetCommand = set_command,
    #[command(hide = true)]
    SetImage = set_image,
    Judge = judge,
    Completions = completions,
    Version = version,
    #[command(hide = true)]
    Internal = internal,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    cli.color.choose();
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        unreachable!("main runs once, and nothing ran before it");
    }
    let ended = log::install(cli.log.as_deref()).and_then(|()| cli.command.run());
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            failure.tell();
            failure.exit().into()
        }
    }
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
