//! `serinus version`.

use super::{
    Exit, Failure,
    output::{Format, print, structured},
};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to print: text, json or yaml
    #[arg(long, short, value_enum, value_name = "FORM", default_value_t, hide_possible_values = true)]
    output: Format,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    api_version: &'static str,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let version = Version { version: env!("CARGO_PKG_VERSION"), api_version: crate::spec::API_VERSION };
        if !structured(self.output, &version)? {
            print(format!("serinus {} (documents: {})", version.version, version.api_version))?;
        }
        Ok(Exit::Done)
    }
}
