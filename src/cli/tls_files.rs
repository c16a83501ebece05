//! Certificates and keys that a document names, as far as they are on this machine.

use std::path::Path;

use crate::{
    local::proxy::check_tls,
    spec::{Code, Diagnostic, Placed, Read, yaml::Node},
};

/// Adds a mistake for every pair that is there and cannot be served with. Files that are not there may be on the machine
/// where the document is applied.
pub(super) fn check(read: &mut Read, folder: &Path) {
    let found: Vec<Diagnostic> = read.documents.iter().flat_map(|it| of_document(it, folder)).collect();
    read.diagnostics.extend(found);
    read.diagnostics.sort_by_key(|it| it.span.start);
}

fn of_document(document: &Placed, folder: &Path) -> Vec<Diagnostic> {
    let Some(rollout) = document.document.as_rollout() else { return vec![] };
    let Some(traffic) = field(&document.node, "spec").and_then(|it| field(it, "traffic")) else {
        return vec![];
    };
    let mut found = vec![];
    for (place, _) in rollout.spec.traffic.iter().enumerate() {
        let proxy = traffic.entry(place).and_then(|it| field(it, "proxy"));
        let Some(listen) = proxy.and_then(|it| field(it, "listen")) else { continue };
        found.extend((0..).map_while(|index| listen.entry(index)).filter_map(|it| of_listener(it, folder)));
    }
    found
}

fn of_listener(listen: &Node, folder: &Path) -> Option<Diagnostic> {
    let tls = field(listen, "tls")?;
    let (certificate, key) = (field(tls, "certificate")?, field(tls, "key")?);
    let path = |it: &Node| it.text().map(|text| folder.join(text)).filter(|it| it.is_file());
    let error = check_tls(&path(certificate)?, &path(key)?).err()?;
    let wrong = Diagnostic::error(Code::Mismatch, key.span.clone(), error.to_string());
    Some(wrong.help("name the two files of one pair, in PEM: the chain with the server's own certificate first, and its key"))
}

fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.field(name).map(|it| &it.value)
}
