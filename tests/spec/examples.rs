//! The examples: all of them can be run as they are.

use std::path::{Path, PathBuf};

use serinus::spec::{self, Document, compile::compile};

/// Every manifest below `examples/`, with its text.
pub(super) fn manifests() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()).collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        let manifests = files.into_iter().filter(|it| it.extension().is_some_and(|it| it == "yaml"));
        found.extend(manifests.map(|it| (it.clone(), std::fs::read_to_string(it).unwrap())));
    }
    assert!(6 <= found.len(), "examples are missing");
    found
}

#[test]
fn every_example_has_no_mistake_and_compiles() {
    for (path, text) in manifests() {
        let read = spec::read(&path.display().to_string(), text.as_bytes());
        assert!(read.diagnostics.is_empty(), "{}", super::report(&read));
        let rollouts = read.documents.iter().filter(|it| matches!(it.document, Document::Rollout(_))).count();
        assert_eq!(rollouts, 1, "{}", path.display());
        let compiled = compile(&read.documents, None).unwrap();
        assert!(compiled.can_gate(), "{}", path.display());
        assert!(compiled.analyses.values().all(|it| !it.metrics.is_empty()), "{}", path.display());
    }
}

#[test]
fn every_document_of_the_guide_to_providers_has_no_mistake() {
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/providers.md")).unwrap();
    let blocks: Vec<&str> =
        guide.split("```yaml\n").skip(1).filter_map(|it| it.split_once("```")).map(|it| it.0).collect();
    assert!(8 <= blocks.len(), "documents are missing");
    for block in blocks {
        let read = spec::read("providers.md", block.as_bytes());
        assert!(read.diagnostics.is_empty(), "{}", super::report(&read));
    }
}
