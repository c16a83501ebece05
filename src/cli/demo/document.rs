//! The two documents of a demo, as a user would write them.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Args, Fault, Side};
use crate::cli::Failure;

/// Mean time in which a good version answers, milliseconds.
const LATENCY_MS: f64 = 5.0;
/// How long a version lives that dies every few seconds.
const CRASH_AFTER: &str = "5s";
/// What a strategy file may bring besides the strategy.
const WITH_STRATEGY: [&str; 7] =
    ["strategy", "analyses", "onVerdict", "capacity", "deadlines", "replicas", "rollbackWindow"];

/// One of the two versions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Version {
    Old,
    New,
}

/// Both documents.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    old: String,
    new: String,
}

impl Documents {
    /// # Errors
    /// The strategy file cannot be read.
    pub(super) fn new(args: &Args) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|source| Failure::System { act: "tell the path of this program", source })?;
        let strategy = args.strategy.as_deref().map(Strategy::read).transpose()?.unwrap_or_default();
        let old = strategy.document(&command(args, &program, Version::Old), args)?;
        let new = strategy.document(&command(args, &program, Version::New), args)?;
        Ok(Self { old, new })
    }

    /// Writes one of them where a user can look at it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, state: &Path, version: Version) -> Result<PathBuf, Failure> {
        let (name, text) = match version {
            Version::Old => ("version-1.yaml", &self.old),
            Version::New => ("version-2.yaml", &self.new),
        };
        let path = state.join(name);
        std::fs::write(&path, text).map_err(|source| Failure::File {
            act: "write",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

/// The command line of a version: the only place where a fault is.
fn command(args: &Args, program: &Path, version: Version) -> Vec<String> {
    let bad = match (args.fault_in, version) {
        (Side::Canary, Version::New) | (Side::Stable, Version::Old) => args.fault,
        (Side::Canary, Version::Old) | (Side::Stable, Version::New) => None,
    };
    let worse = |fault| if bad == Some(fault) { args.factor } else { 1.0 };
    let errors = (args.error_rate * worse(Fault::Errors)).min(1.0);
    let latency_us = LATENCY_MS * worse(Fault::Latency) * 1e3;
    let (name, seed) = match version {
        Version::Old => ("v1", args.seed.wrapping_mul(2)),
        Version::New => ("v2", args.seed.wrapping_mul(2).wrapping_add(1)),
    };
    let mut words = vec![program.display().to_string()];
    words.extend(["internal", "sample", "--port", "$(port)", "--version", name].map(str::to_owned));
    words.extend(["--error-rate".to_owned(), format!("{errors}")]);
    words.extend(["--latency".to_owned(), format!("{latency_us:.0}us")]);
    words.extend(["--seed".to_owned(), seed.to_string()]);
    if bad == Some(Fault::Crash) {
        words.extend(["--crash-after".to_owned(), CRASH_AFTER.to_owned()]);
    }
    words
}

/// What a strategy file holds.
#[derive(Clone, Debug, Default)]
struct Strategy {
    spec: Map<String, Value>,
}

impl Strategy {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|source| Failure::File {
            act: "read",
            path: path.to_owned(),
            source,
        })?;
        let unreadable = |why: String| {
            Failure::Usage {
            what: format!("{} holds no strategy: {why}", path.display()),
            help: "write what stands under `strategy:` of a document, for example `canary: { steps: [ { weight: 10%, \
                   until: { evidence: {} } } ] }`"
                .to_owned(),
        }
        };
        let read: Value = serde_saphyr::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
        let Value::Object(mut read) = read else { return Err(unreadable("it is no record".to_owned())) };
        if let Some(Value::Object(spec)) = read.remove("spec") {
            read = spec;
        }
        let spec = match read.contains_key("strategy") {
            true => read.into_iter().filter(|(key, _)| WITH_STRATEGY.contains(&key.as_str())).collect(),
            false => Map::from_iter([("strategy".to_owned(), Value::Object(read))]),
        };
        Ok(Self { spec })
    }

    fn document(&self, command: &[String], args: &Args) -> Result<String, Failure> {
        let mut spec = Map::from_iter([
            ("replicas".to_owned(), json!(2)),
            (
                "workload".to_owned(),
                json!({ "process": {
                    "command": command,
                    "readiness": { "http": { "path": "/healthz" }, "every": "100ms" },
                } }),
            ),
            ("traffic".to_owned(), json!([{ "proxy": { "listen": [{ "address": args.listen }] } }])),
            ("strategy".to_owned(), json!({ "canary": {} })),
        ]);
        spec.extend(self.spec.clone());
        let document = json!({
            "apiVersion": crate::spec::API_VERSION,
            "kind": "Rollout",
            "metadata": { "name": "demo" },
            "spec": spec,
        });
        serde_saphyr::to_string(&document).map_err(|error| Failure::System {
            act: "write the demo's document",
            source: std::io::Error::other(error),
        })
    }
}

/// A share of requests, from 0 to 1 or as a percentage.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().map(|number| number / scale);
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "a share from 0 to 1, or 0% to 100%".to_owned())
}

/// The engine accepted the document and listens nowhere.
pub(super) fn no_address() -> Failure {
    Failure::NothingToDo {
        what: "the demo's service has no address".to_owned(),
        help: "name a free one with --listen".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn documents(words: &[&str]) -> Documents {
        Documents::new(&Line::parse_from([&["demo"], words].concat()).args).unwrap()
    }

    #[track_caller]
    fn clean(text: &str) {
        let read = crate::spec::read("demo", text.as_bytes());
        let report = crate::spec::Report { source: &read.source, diagnostics: &read.diagnostics };
        assert!(read.diagnostics.is_empty(), "{}\n{text}", report.render(false));
    }

    #[test]
    fn both_documents_are_clean_whatever_the_fault() {
        for fault in [vec![], vec!["--fault", "errors"], vec!["--fault", "crash", "--fault-in", "stable"]] {
            let Documents { old, new } = documents(&fault);
            clean(&old);
            clean(&new);
            assert_ne!(old, new);
        }
    }

    #[test]
    fn only_the_command_line_of_the_bad_version_differs() {
        let good = documents(&[]);
        let bad = documents(&["--fault", "latency", "--factor", "10"]);
        assert_eq!(good.old, bad.old);
        assert_eq!(good.new.replace("5000us", "50000us"), bad.new);
        let stable = documents(&["--fault", "errors", "--fault-in", "stable", "--factor", "10"]);
        assert_eq!(good.new, stable.new);
        assert_eq!(good.old.replace("0.01", "0.1"), stable.old);
    }
}
