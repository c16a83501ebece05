//! A whole machine with real processes: supervisor, proxy workers, control process, services. This binary is each of
//! them in turn.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod journal;
mod kills;
mod product;
mod rig;
mod roles;
mod service;
mod sockets;
mod supervisor;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(code) = roles::play(&arguments[1..]).or_else(|| service::play(&arguments[1..])) {
        return code;
    }
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), cases::all()).exit_code()
}
