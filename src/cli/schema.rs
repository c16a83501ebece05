//! `serinus schema`: JSON Schema of documents.

use super::{Exit, Failure, output::print};
use crate::spec::{Kind, schema};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Editors that know YAML complete documents with it; put this on the first line of a document:
  # yaml-language-server: $schema=serinus.json

Examples:
  serinus schema > serinus.json
  serinus schema Rollout")]
pub(super) struct Args {
    /// Of this kind only [default: all kinds in one schema]
    #[arg(value_name = "KIND")]
    kind: Option<String>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let schema = match &self.kind {
            None => schema::of_all(),
            Some(name) => schema::of(named(name)?).clone(),
        };
        let text = serde_json::to_string_pretty(&schema).map_err(|error| Failure::System {
            act: "write the schema",
            source: std::io::Error::other(error),
        })?;
        print(text).map(|()| Exit::Done)
    }
}

fn named(name: &str) -> Result<Kind, Failure> {
    let found = Kind::ALL.iter().copied().find(|it| it.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| Failure::Usage {
        what: format!("there is no kind `{name}`"),
        help: format!("write one of {}", Kind::ALL.iter().map(|it| it.name()).collect::<Vec<_>>().join(", ")),
    })
}
