//! Which AnalysisTemplate a command is about, and with which arguments.

use std::path::Path;

use strategies::{Name, recipe::Argument};

use super::{Exit, Failure, color, lint, output::complain};
use crate::spec::{
    self, Report, Severity,
    compile::{CompiledAnalysis, compile_template},
};

/// A template of a file, as a command line names it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Template {
    /// Which AnalysisTemplate, where the file holds several
    #[arg(long, value_name = "NAME")]
    template: Option<String>,

    /// A value for an argument of the template; may be given several times
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = pair)]
    args: Vec<(String, String)>,

    /// What `$(rollout)` stands for
    #[arg(long = "rollout", value_name = "NAME", default_value = "default")]
    of_rollout: String,

    /// What `$(namespace)` stands for
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
}

/// Two texts with `=` between them.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Template {
    /// Another template of the same file with the same arguments.
    pub(super) fn other(&self, name: &str) -> Self {
        Self { template: Some(name.to_owned()), ..self.clone() }
    }

    /// The template in `file` and its name, with its arguments filled in. Mistakes of the file are shown.
    ///
    /// # Errors
    /// The file cannot be read or has mistakes, there is no such template, or its arguments are not those it takes.
    pub(super) fn compiled(&self, file: &Path) -> Result<(Name, CompiledAnalysis), Failure> {
        let bytes = lint::read_file(file).map_err(|source| Failure::File {
            act: "read",
            path: file.to_owned(),
            source,
        })?;
        let read = spec::read(&file.display().to_string(), &bytes);
        if read.diagnostics.iter().any(|it| it.severity == Severity::Error) {
            let report = Report { source: &read.source, diagnostics: &read.diagnostics };
            complain(report.render(color::on_stderr()));
            return Err(Failure::Said(Exit::Usage));
        }
        let argument = |(name, value): &(String, String)| Argument {
            name: name.as_str().into(),
            value: value.as_str().into(),
        };
        let args: Vec<Argument> = self.args.iter().map(argument).collect();
        let (rollout, namespace): (Name, Name) =
            (self.of_rollout.as_str().into(), self.namespace.as_str().into());
        compile_template(&read.documents, self.template.as_deref(), &args, &rollout, Some(&namespace))
            .map_err(|error| Failure::Usage {
                what: error.to_string(),
                help: "`--template` chooses one of several, `--arg` gives a value".to_owned(),
            })
    }
}
