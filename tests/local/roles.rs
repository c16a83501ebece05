//! What this binary does when it is started as a part of the product.

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::Parser;
use serinus::local::{
    control::{ControlBoot, run_control},
    process::shim,
    sample::{CRASH_STATUS, SampleArgs, SampleError, run_sample},
    supervisor::{self, Settings},
    worker::run_worker,
};

/// Plays the role named by the arguments, if one is.
pub(crate) fn play(arguments: &[String]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let code = match words.as_slice() {
        ["internal", "exec"] => std::process::exit(shim::exec_shim()),
        ["internal", "supervisor", ..] => end(supervisor::resume()),
        ["internal", "worker", "--state", state, "--worker", number] => {
            end(run_worker(&PathBuf::from(state), number.parse().unwrap()))
        }
        ["internal", "control", "--state", state] => {
            log();
            end(run_control(&ControlBoot { state: state.into() }))
        }
        ["supervise", state] => end(supervisor::run(Settings {
            drain_ms: 5_000,
            ready_ms: 5_000,
            ..Settings::new(PathBuf::from(state)).unwrap()
        })),
        ["sample", ..] => sample(arguments),
        _ => return None,
    };
    Some(code)
}

fn log() {
    let level = std::env::var("SERINUS_TEST_LOG").unwrap_or_else(|_| "error".to_owned());
    let filter = tracing_subscriber::EnvFilter::new(level);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn end<E: Error>(result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(it) = source {
        text.push_str(&format!(": {it}"));
        source = it.source();
    }
    eprintln!("{}: {text}", std::env::args().nth(2).unwrap_or_default());
    ExitCode::FAILURE
}

#[derive(Parser)]
struct Sample {
    #[command(flatten)]
    args: SampleArgs,
}

fn sample(arguments: &[String]) -> ExitCode {
    match run_sample(Sample::parse_from(arguments).args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(SampleError::Crashed) => ExitCode::from(u8::try_from(CRASH_STATUS).unwrap()),
        Err(error) => end(Err(error)),
    }
}
