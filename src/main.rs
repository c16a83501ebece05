//! The `serinus` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    serinus::cli::main()
}
