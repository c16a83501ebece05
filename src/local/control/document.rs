//! A document as it is kept, and what it means on this machine.

use std::{collections::BTreeMap, path::PathBuf};

use analysis::judge::Baseline;
use serde::{Deserialize, Serialize};
use strategies::{Name, Plan, Revision};

use crate::{
    analyses::Definition,
    api::{Refusal, view::Finding},
    local::adapter::{release::listed, site::Asked},
    measure::{Sources, secret_of_this_machine, sources},
    router::Proxy,
    spec::{self, Compiled, Placed, Read, Runtime, Severity, compile::PROXY_ROUTE, diagnostic::Report},
    workload::Workload,
};

/// What is kept beside the text of a document.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sidecar {
    /// What the file is called in messages.
    pub path: String,
    /// What relative paths in it are relative to.
    pub base: PathBuf,
    /// The revision that is wanted. Recorded, and never computed again.
    pub revision: Revision,
    /// How often a restart was asked for: part of what makes a revision another one.
    pub restarts: u64,
    /// The rollout is being deleted.
    pub leaving: bool,
    /// Signs sticky cookies.
    pub sticky_key: String,
}

/// A document that was understood.
#[derive(Clone, Debug)]
pub(super) struct Understood {
    /// The rollout's name.
    pub name: Name,
    /// What the machine runs.
    pub plan: Plan,
    /// What is judged, by name.
    pub definitions: BTreeMap<Name, Definition>,
    /// What is delivered.
    pub workload: Workload,
    /// What moves the traffic, paths made absolute.
    pub proxy: Proxy,
    /// Replicas that carry all the traffic.
    pub replicas: u32,
    /// What the canary is compared with.
    pub baseline: Baseline,
    /// By analysis and metric: what others are asked for.
    pub sources: Sources,
}

impl Understood {
    /// What the document asks for, once it is known which revision that is.
    #[must_use]
    pub(super) fn asked(&self, kept: &Sidecar) -> Asked {
        let upstreams = match &self.workload {
            Workload::Process(_) => BTreeMap::new(),
            Workload::Upstream(it) => it
                .releases
                .iter()
                .map(|it| (Revision::from(it.revision.as_str()), it.addresses.clone()))
                .collect(),
        };
        let replicas = match &self.workload {
            Workload::Process(_) => self.replicas,
            // An older release may be wanted again by an undo.
            Workload::Upstream(it) => listed(it, kept.revision.as_str())
                .map_or(self.replicas, |it| u32::try_from(it.len()).unwrap_or(u32::MAX)),
        };
        Asked {
            revision: kept.revision.clone(),
            replicas,
            leaving: kept.leaving,
            route: PROXY_ROUTE.into(),
            proxy: self.proxy.clone(),
            baseline: self.baseline,
            upstreams,
        }
    }
}

/// Everything to say about a file, for callers.
#[must_use]
pub(super) fn findings(read: &Read) -> Vec<Finding> {
    let one = |it: &spec::Diagnostic| {
        let place = read.source.position(it.span.start);
        let report = Report { source: &read.source, diagnostics: std::slice::from_ref(it) };
        Finding {
            is_error: it.severity == Severity::Error,
            code: it.code.to_string(),
            message: it.message.clone(),
            line: place.line,
            column: place.column,
            rendered: report.render(false),
        }
    };
    read.diagnostics.iter().map(one).collect()
}

/// What a Rollout of a file means on this machine. `check`: whether the files it names must be there now.
///
/// # Errors
/// When it is for a cluster, or asks for something that this machine has not.
pub(super) fn understand(
    documents: &[Placed],
    name: &str,
    base: &std::path::Path,
    check: bool,
) -> Result<Understood, Refusal> {
    let compiled =
        spec::compile::compile(documents, Some(name)).map_err(|it| Refusal::Invalid(it.to_string()))?;
    let baseline = compiled.baseline();
    let Compiled { name, namespace: _, replicas, plan, missing: _, analyses, runtime, written: _ } = compiled;
    let Runtime::Standalone { workload, mut proxy } = runtime else {
        let message =
            format!("Rollout `{name}` is for a cluster (workloadRef); on one machine write `workload`");
        return Err(Refusal::Invalid(message));
    };
    for listen in &mut proxy.listen {
        if let Some(tls) = &mut listen.tls {
            tls.certificate = absolute(base, &tls.certificate);
            tls.key = absolute(base, &tls.key);
        }
    }
    let sources = sources(&analyses, &secret_of_this_machine);
    let wrong: Vec<&str> = sources.values().filter_map(|it| it.as_ref().err()).map(String::as_str).collect();
    if check && !wrong.is_empty() {
        return Err(Refusal::Invalid(wrong.join("\n")));
    }
    Ok(Understood {
        definitions: analyses.iter().map(|(name, it)| (name.clone(), Definition::from(it))).collect(),
        sources,
        baseline,
        replicas: replicas.unwrap_or(1),
        name,
        plan,
        workload,
        proxy,
    })
}

/// A file as an absolute path. Checked when it is applied: a worker that could not open it would take nothing new.
fn absolute(base: &std::path::Path, path: &str) -> String {
    base.join(path).to_string_lossy().into_owned()
}
