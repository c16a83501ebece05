//! The commands of examples that are about a cluster, as their pages have them.

use std::{fs, path::Path};

use crate::{
    lab::{Lab, Who},
    pods::Pods,
};

/// The commands of a page, without what they only say.
fn commands(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(page).unwrap();
    let block = text.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let words = |line: &str| line.split_whitespace().map(|it| it.replace('\'', "")).collect::<Vec<_>>();
    block.lines().map(|it| words(it.split(" #").next().unwrap())).filter(|it| !it.is_empty()).collect()
}

/// Runs a command of a person in a namespace.
fn run(lab: &Lab, namespace: &str, words: &[String]) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let absolute = |it: &String| match it.starts_with("examples/") {
        true => root.join(it).to_str().unwrap().to_owned(),
        false => it.clone(),
    };
    let words: Vec<String> = words.iter().map(absolute).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["kubectl", "serinus", rest @ ..] => lab.serinus(Who::User, &[rest, &["-n", namespace]].concat()),
        ["kubectl", rest @ ..] => lab.kubectl(Who::User, &[&["-n", namespace], rest].concat()),
        other => panic!("who runs {other:?}?"),
    }
}

pub(crate) fn by_ratio(lab: &Lab, namespace: &str) {
    let pods = Pods::watch(lab, namespace);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes-by-ratio/README.md");
    let commands = commands(page.to_str().unwrap());
    assert!(commands.len() > 5, "{commands:?}");
    for it in &commands {
        run(lab, namespace, it).unwrap_or_else(|why| panic!("{it:?}: {why}\n{}", lab.engine_said()));
    }
    lab.until("only the new version is left, and whole", || {
        (pods.present() == 10 && pods.ready("registry.example/shop:2") == 10).then_some(())
    });
    assert_eq!(pods.born("registry.example/shop:2"), 10, "each was born once");
}
