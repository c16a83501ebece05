//! `serinus schema`: the JSON Schema of documents, for editors and checks elsewhere.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::builder::PossibleValuesParser;

use crate::spec::{Kind, schema};

/// Prints the JSON Schema of one kind of document, or of all together.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The kind; all together where none is named
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|it| it.name())))]
    pub kind: Option<String>,
}

/// Writes the schema to `out`.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<ExitCode> {
    let text = match args.kind.as_deref().and_then(Kind::named) {
        Some(kind) => serde_json::to_string_pretty(schema::of(kind))?,
        None => serde_json::to_string_pretty(&schema::of_all())?,
    };
    writeln!(out, "{text}")?;
    Ok(ExitCode::SUCCESS)
}
