//! `serinus lint`: what is wrong with manifests, without running anything.

use std::{
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Exit, Failure, color, tls_files};
use crate::spec::{self, Code, Diagnostic, MOST_BYTES, Record, Report, Severity};

/// Checks manifests and shows every mistake with its place.
#[derive(Args, Clone, Debug)]
pub struct LintArgs {
    /// Manifests; folders are searched for *.yaml and *.yml, `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// How to show what was found.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: LintOutput,

    /// Let warnings count as errors.
    #[arg(long)]
    pub strict: bool,
}

/// How to show what was found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum LintOutput {
    /// For people.
    #[default]
    Text,
    /// One JSON object for programs; stable.
    Json,
}

/// What `--output json` writes. Stable.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Findings {
    /// Files that were read.
    files: usize,
    errors: usize,
    warnings: usize,
    /// In the order of the files, then of the text.
    diagnostics: Vec<Record>,
}

impl LintArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        run(&self, &mut io::stdout().lock(), color::on_stdout())
            .map_err(|source| Failure::System { act: "write to standard output", source })
    }
}

/// Checks the files and writes what was found to `out`; `styled`: with colours.
///
/// Exit code: 0 clean, 1 findings, 2 nothing could be read.
///
/// # Errors
///
/// `out` cannot be written to.
pub fn run(args: &LintArgs, out: &mut dyn Write, styled: bool) -> io::Result<Exit> {
    let mut findings = Findings { files: 0, errors: 0, warnings: 0, diagnostics: vec![] };
    let mut documents = 0;
    let mut skipped = Vec::new();
    let mut unreadable = 0;
    for file in manifests(&args.files) {
        let read = match read_file(&file) {
            Ok(bytes) => {
                let mut read = spec::read(&shown(&file), &bytes);
                tls_files::check(&mut read, file.parent().unwrap_or(Path::new("")));
                read
            }
            Err(error) => {
                unreadable += 1;
                unreadable_file(&file, &error)
            }
        };
        findings.files += 1;
        documents += read.documents.len();
        skipped.extend(read.foreign.iter().map(|it| it.kind.clone()));
        let count = |severity| read.diagnostics.iter().filter(|it| it.severity == severity).count();
        findings.errors += count(Severity::Error);
        findings.warnings += count(Severity::Warning);
        let report = Report { source: &read.source, diagnostics: &read.diagnostics };
        match args.output {
            LintOutput::Json => findings.diagnostics.extend(report.records()),
            LintOutput::Text if read.diagnostics.is_empty() => {}
            LintOutput::Text => writeln!(out, "{}\n", report.render(styled))?,
        }
    }
    match args.output {
        LintOutput::Json => writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?,
        LintOutput::Text => writeln!(out, "{}", summary(&findings, documents, &skipped))?,
    }
    let bad = 0 < findings.errors || (args.strict && 0 < findings.warnings);
    Ok(match bad {
        _ if findings.files == unreadable => Exit::Usage,
        true => Exit::Failed,
        false => Exit::Done,
    })
}

fn summary(findings: &Findings, documents: usize, skipped: &[String]) -> String {
    let counted = |count: usize, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    };
    let mut text = format!(
        "{} in {}: {}, {}",
        counted(documents, "document"),
        counted(findings.files, "file"),
        counted(findings.errors, "error"),
        counted(findings.warnings, "warning")
    );
    if !skipped.is_empty() {
        text += &format!("; not looked at: {}", counted(skipped.len(), "document"));
        text += &format!(" of other tools ({})", skipped.join(", "));
    }
    text
}

/// The files that are meant, folders searched; in a stable order.
fn manifests(given: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in given {
        match path.is_dir() {
            true => search(path, &mut files),
            false => files.push(path.clone()),
        }
    }
    files
}

fn search(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return files.push(folder.to_owned()) };
    let mut paths: Vec<PathBuf> = entries.filter_map(|it| Some(it.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|it| it.to_string_lossy().starts_with('.'));
        if hidden || path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            search(&path, files);
        } else if path.extension().is_some_and(|it| it == "yaml" || it == "yml") {
            files.push(path);
        }
    }
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "<stdin>".into() } else { file.display().to_string() }
}

/// The bytes of a manifest, and no more than tell that it is too large.
///
/// # Errors
///
/// It cannot be opened or read.
pub fn read_file(file: &Path) -> io::Result<Vec<u8>> {
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unreadable_file(file: &Path, error: &io::Error) -> spec::Read {
    let (source, _) = spec::Source::new(&shown(file), b"");
    let message = format!("cannot read {}: {error}", shown(file));
    let wrong = Diagnostic::error(Code::Unreadable, 0..0, message);
    spec::Read { source, documents: vec![], foreign: vec![], diagnostics: vec![wrong] }
}
