//! What only a cluster has: workloads by kind, and Services.

use std::collections::BTreeMap;

use strategies::recipe::Key;

use super::{Check, Code, Diagnostic};
use crate::{
    spec::{RolloutSpec, ServiceEntry, rules},
    workload::{CODECS, WorkloadRef},
    written::nearest,
};

const SPEC: Key = Key::Field("spec");

pub(super) fn check(spec: &RolloutSpec, workload: &WorkloadRef, check: &mut Check<'_>) {
    kind(workload, check);
    let moved = spec.traffic.iter().any(|it| !it.codecs().is_empty());
    if moved && spec.services.is_empty() {
        check.broken(Code::MissingField, &[SPEC, Key::Field("traffic")], &rules::NO_SERVICE);
    }
    services(&spec.services, check);
    routes(spec, check);
}

/// Whether anything drives workloads of this kind.
fn kind(workload: &WorkloadRef, check: &mut Check<'_>) {
    if workload.codec().is_some() {
        return;
    }
    let kinds = || CODECS.iter().map(|it| it.kind());
    let same = kinds().find(|it| it.kind.as_str() == workload.kind);
    let (field, message) = match &same {
        Some(_) => ("apiVersion", format!("there is no {} in `{}`", workload.kind, workload.api_version)),
        None => ("kind", format!("workloads of kind `{}` are not driven", workload.kind)),
    };
    let span = check.at(&[SPEC, Key::Field("workloadRef"), Key::Field(field)]);
    let mut wrong = Diagnostic::error(Code::NotExpressible, span, message);
    let names: Vec<String> = kinds().map(|it| it.kind.to_string()).collect();
    match (same, nearest(&workload.kind, names.iter().map(String::as_str))) {
        (Some(it), _) => wrong = wrong.label(format!("write `{}`", it.api_version)),
        (None, Some(near)) => wrong = wrong.label(format!("did you mean `{near}`?")),
        (None, None) => {}
    }
    check.found.push(wrong.help(format!("these kinds are: {}", WorkloadRef::driven())));
}

/// Every Service stands for one thing.
fn services(services: &[ServiceEntry], check: &mut Check<'_>) {
    let mut seen: BTreeMap<String, Vec<Key>> = BTreeMap::new();
    for (index, it) in services.iter().enumerate() {
        let of = it.service();
        let entry = [SPEC, Key::Field("services"), Key::Index(index)];
        let side = |key, given: bool| {
            let more: &[Key] =
                if given { &[Key::Field(key), Key::Field("name")] } else { &[Key::Field("name")] };
            [&entry[..], more].concat()
        };
        let all = [
            (of.name, side("name", false)),
            (of.stable, side("stable", it.stable.is_some())),
            (of.canary, side("canary", it.canary.is_some())),
        ];
        for (name, way) in all {
            if let Some(first) = seen.insert(name.to_string(), way.clone()) {
                let message = format!("the Service `{name}` would be two things at once");
                let wrong = Diagnostic::error(Code::DuplicateName, check.at(&way), message);
                let first = check.at(&first);
                let wrong = wrong.related(first, "first here");
                check.found.push(wrong.help(rules::SAME_SERVICE.cure));
            }
        }
    }
}

/// Every route is moved once.
fn routes(spec: &RolloutSpec, check: &mut Check<'_>) {
    let mut seen = BTreeMap::new();
    for (index, entry) in spec.traffic.iter().enumerate() {
        for (id, _) in entry.codecs() {
            let way = vec![SPEC, Key::Field("traffic"), Key::Index(index)];
            if let Some(first) = seen.insert(id.clone(), way.clone()) {
                let message = format!("{id} is named twice");
                let wrong = Diagnostic::error(Code::DuplicateName, check.at(&way), message);
                let first = check.at(&first);
                check.found.push(wrong.related(first, "first here").help(rules::SAME_ROUTE.cure));
            }
        }
    }
}
