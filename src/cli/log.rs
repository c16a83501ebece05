//! Logs: to standard error, quiet unless asked for.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::Failure;

/// Starts logging by `filter`; without one, warnings only.
///
/// # Errors
/// A filter that is none.
pub(super) fn install(filter: Option<&str>) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(filter.unwrap_or("warn")).map_err(|error| Failure::Usage {
        what: format!("`--log` cannot be read: {error}"),
        help: "write a level such as `info`, or a filter such as `serinus=debug,warn`".to_owned(),
    })?;
    let ansi = std::io::stderr().is_terminal() && super::color::on_stderr();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    Ok(())
}
