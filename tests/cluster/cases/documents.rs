//! What documents say wrongly is refused by the API server in the same words as by `lint`, and what is right is taken.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};
use serinus::spec::{self, Severity};
use strategies::recipe::{Recipe as _, Strategy};

use crate::lab::{Lab, Who};

/// What no schema and no expression can say of a document, so that an API server takes it, each with why. Whoever hands
/// such a document in hears of it from the status of the object.
const BEYOND: &[(&str, &str)] = &[
    ("argument_parameter", TEXTS),
    ("template_argument", TEXTS),
    ("argument_unknown", OTHERS),
    ("argument_missing_in_step", OTHERS),
    ("bucket_of_wavefront", SERVICES),
    ("cloud_watch_averages", SERVICES),
    ("datadog_rates", SERVICES),
    ("flux_by_end", SERVICES),
    ("flux_without_time", SERVICES),
    ("influxql_groups", SERVICES),
    ("influxql_says_when", SERVICES),
    ("new_relic_says_when", SERVICES),
    ("project", SERVICES),
    ("sky_walking_clock", SERVICES),
    ("splunk_published", SERVICES),
    ("preset_no_matchers", SERVICES),
    ("template_condition", "no function reads an expression in a text"),
    ("template_judge", "each judge weighs its own numbers against each other"),
    ("guard_from_nowhere", "the names of steps that a strategy makes stand in no document"),
    ("header_no_name", HEADERS),
    ("header_twice", HEADERS),
    ("duplicate_key", KEYS),
    ("services_on_machine", KEYS),
    ("workload_twice", KEYS),
    ("yaml_merge_key", KEYS),
];
const TEXTS: &str =
    "parameters in texts of any number and length are above the limit of what a rule may cost";
const OTHERS: &str = "it takes another object to know, and an expression sees one";
const SERVICES: &str = "each service has a language of its own, which takes a reader";
const HEADERS: &str =
    "keys of a map have no bound, and to fold their case is above the limit of what a rule may cost";
const KEYS: &str = "kubectl takes one of two keys before the server sees them";

/// The documents with one mistake, as the tests of `lint` keep them.
fn mistakes() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spec/mistakes/cluster");
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let one = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let (_, document) = text.trim_start_matches("---\n").split_once("\n---\n").unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), document.to_owned())
    };
    files.map(one).collect()
}

fn tries(lab: &Lab, namespace: &str, text: &str) -> Result<String, String> {
    lab.kubectl_with(Who::User, &["-n", namespace, "apply", "--dry-run=server", "-f", "-"], text)
}

pub(crate) fn refused(lab: &Lab, namespace: &str) {
    let (mut wrong, mut seen) = (vec![], vec![]);
    let mistakes = mistakes();
    assert!(60 <= mistakes.len(), "{}", mistakes.len());
    for (name, text) in &mistakes {
        let beyond = BEYOND.iter().any(|(it, _)| it == name);
        seen.extend(beyond.then_some(name.as_str()));
        match (tries(lab, namespace, text), beyond) {
            (Ok(_), true) | (Err(_), false) => {}
            (Ok(_), false) => wrong.push(format!("{name} is taken")),
            (Err(why), true) => wrong.push(format!("{name} is refused after all: {}", why.trim())),
        }
    }
    let gone: Vec<_> = BEYOND.iter().filter(|(it, _)| !seen.contains(it)).collect();
    assert!(wrong.is_empty() && gone.is_empty(), "{}\nno such mistake: {gone:?}", wrong.join("\n"));
}

fn rollout(strategy: &Strategy) -> Value {
    json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "Rollout", "metadata": { "name": "shop" },
        "spec": { "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
            "services": [{ "name": "shop" }], "traffic": [{ "gatewayApi": { "routes": [{ "name": "shop" }] } }],
            "analyses": [{ "name": "own", "templateRef": { "name": "own" } }], "strategy": strategy } })
}

/// Documents without a mistake: every strategy, every provider of the guide, every example that is for a cluster.
fn good() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<String> = Strategy::examples().iter().map(|it| rollout(it).to_string()).collect();
    let guide = std::fs::read_to_string(root.join("docs/providers.md")).unwrap();
    all.extend(guide.split("```yaml\n").skip(1).filter_map(|it| Some(it.split_once("```")?.0.to_owned())));
    for folder in std::fs::read_dir(root.join("examples")).unwrap() {
        let files = std::fs::read_dir(folder.unwrap().path()).into_iter().flatten();
        let manifests =
            files.map(|it| it.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "yaml"));
        all.extend(manifests.map(|it| std::fs::read_to_string(it).unwrap()));
    }
    // Of the machine that Serinus runs on.
    let elsewhere = ["workload:", "proxy:", "process:", "command:", "{ env:", "{ file:", " env: ", " file: "];
    all.retain(|it| elsewhere.iter().all(|word| !it.contains(word)));
    all.retain(|it| {
        spec::read("good.yaml", it.as_bytes()).diagnostics.iter().all(|it| it.severity != Severity::Error)
    });
    all
}

pub(crate) fn taken(lab: &Lab, namespace: &str) {
    let good = good();
    assert!(12 <= good.len(), "{}", good.len());
    for text in good {
        if let Err(why) = tries(lab, namespace, &text) {
            panic!("{why}\n{text}");
        }
    }
}

pub(crate) fn of_a_machine(lab: &Lab, namespace: &str) {
    let text = "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: { name: shop }\nspec:\n  workload: { process: { command: \
                [ ./shop ] } }\n  traffic: [ { proxy: { listen: [ { address: \"127.0.0.1:8080\" } ] } } ]\n";
    let why = tries(lab, namespace, text).unwrap_err();
    for part in [
        "`workload` runs on one machine, and this is a cluster",
        "`serinus run`",
        "`proxy` moves traffic of one machine",
    ] {
        assert!(why.contains(part), "{why}");
    }
}
