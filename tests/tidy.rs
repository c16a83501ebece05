//! The house rules that no compiler checks: who may know whom, what is pure, one registry line per extension.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every Rust file below these folders of the repository, with its text.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = vec![];
    let mut open: Vec<PathBuf> = folders.iter().map(|it| root().join(it)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources below {folders:?}");
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code of a file without its comments and without its test module, so that words in prose do not count.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let line = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// How far from the outside a module of the root package is: it may use those below its own rank only.
fn rank(module: &str) -> Option<u8> {
    Some(match module {
        "main" => 10,
        "cli" => 9,
        "cluster" | "local" => 8,
        "rollout" => 7,
        "api" => 6,
        "engine" => 5,
        "analyses" | "journal" | "measure" | "notify" => 4,
        "port" | "spec" => 3,
        "router" | "workload" => 2,
        "object" => 1,
        "chart" | "clock" | "failpoint" | "telemetry" | "written" => 0,
        _ => return None,
    })
}

#[test]
fn modules_know_only_what_is_below_them() {
    let mut complaints = vec![];
    for (path, text) in sources(&["src"]) {
        let module = path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let Some(own) = rank(&module) else {
            complaints
                .push(format!("{}: the module `{module}` has no rank in tests/tidy.rs", path.display()));
            continue;
        };
        for used in modules_used(&code(&text)) {
            let allowed = used == module || rank(&used).is_some_and(|it| it < own);
            if rank(&used).is_some() && !allowed {
                complaints.push(format!("{}: `{module}` must not use `{used}`", path.display()));
            }
        }
    }
    none(complaints);
}

/// The top-level modules named in `crate::x`, `serinus::x` and `use crate::{x::…, y::…}`.
fn modules_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for prefix in ["crate::", "serinus::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                None => drop(used.insert(first_name(rest))),
                Some(list) => used.extend(list_heads(list)),
            }
        }
    }
    used
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|it| it.is_alphanumeric() || *it == '_').collect()
}

/// The first name of each entry of a `{…}` list, nested lists skipped.
fn list_heads(list: &str) -> BTreeSet<String> {
    let (mut depth, mut entry, mut heads) = (1, String::new(), BTreeSet::new());
    for it in list.chars() {
        match it {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (it == ',' && depth == 1) {
            heads.insert(first_name(&entry));
            entry.clear();
        } else if depth >= 1 {
            entry.push(it);
        }
        if depth == 0 {
            break;
        }
    }
    heads.insert(first_name(&entry));
    heads
}

#[test]
fn the_two_runtimes_do_not_know_each_other() {
    for (path, text) in sources(&["src"]) {
        let (here, there) = match path.iter().nth(1).unwrap().to_str().unwrap().trim_end_matches(".rs") {
            "local" => ("local", "cluster"),
            "cluster" => ("cluster", "local"),
            _ => continue,
        };
        assert!(!modules_used(&code(&text)).contains(there), "{}: {here} knows {there}", path.display());
    }
}

#[test]
fn the_machine_and_the_judges_are_pure() {
    let impure = [
        "std::fs",
        "std::net",
        "std::io",
        "std::process",
        "std::env",
        "std::thread",
        "Instant",
        "SystemTime",
        "Timestamp::now",
        "HashMap",
        "HashSet",
        "tokio",
        "tracing",
        "rand::",
        "async fn",
        "println!",
        "eprintln!",
    ];
    let mut complaints = vec![];
    for (path, text) in sources(&["strategies/src", "analysis/src"]) {
        // A test module in a file of its own draws its samples from where it likes.
        let allowed = path.starts_with("analysis/src/provider")
            || path.ends_with("analysis/src/provider.rs")
            || path.ends_with("tests.rs");
        let code = code(&text);
        for word in impure.iter().filter(|_| !allowed) {
            if code.contains(word) {
                complaints.push(format!("{}: {word}", path.display()));
            }
        }
    }
    none(complaints);
}

/// The macros that print panic where nobody reads, and wait where a reader stands still; both would end or stall
/// whoever serves or decides. What is said goes through `tracing`, which goes through `src/telemetry`, or through
/// `src/cli/output`.
#[test]
fn nobody_prints_past_the_ways_that_cannot_fail() {
    let macros = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let streams = ["stdout()", "stderr()"];
    // It becomes another program or is one of a user's; asks whose file it is; draws; is a command that only prints.
    let known = ["local/process/shim.rs", "local/sample.rs", "local/supervisor/logs.rs"];
    let mut complaints = vec![];
    for (path, text) in sources(&["src"]) {
        let code = code(&text);
        let no_streams = !path.starts_with("src/cli") && !known.iter().any(|known| path.ends_with(known));
        let forbidden = macros.iter().chain(streams.iter().filter(|_| no_streams));
        let words = forbidden.filter(|it| code.contains(**it));
        complaints.extend(words.map(|word| format!("{}: {word}", path.display())));
    }
    none(complaints);
}

#[test]
fn the_machine_and_the_judges_do_not_know_each_other() {
    let dependencies = |manifest: &str| {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let section = text.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap().to_owned();
        let name = |line: &str| line.split(['.', '=', ' ']).next().unwrap_or_default().to_owned();
        section.lines().map(name).filter(|it| !it.is_empty()).collect::<BTreeSet<_>>()
    };
    let machine = dependencies("strategies/Cargo.toml");
    assert!(
        machine.iter().all(|it| ["humantime", "jiff", "schemars", "serde"].contains(&it.as_str())),
        "{machine:?}"
    );
    assert!(!dependencies("analysis/Cargo.toml").contains("strategies"));
}

#[test]
fn every_extension_has_exactly_one_registry_line() {
    let registries = [
        ("strategies/src/step.rs", "strategies/src/step"),
        ("strategies/src/recipe.rs", "strategies/src/recipe"),
        ("analysis/src/judge.rs", "analysis/src/judge"),
        ("analysis/src/provider.rs", "analysis/src/provider"),
        ("src/spec/provider.rs", "src/spec/provider"),
        ("src/router.rs", "src/router"),
        ("src/workload.rs", "src/workload"),
    ];
    let mut complaints = vec![];
    for (registry, folder) in registries {
        let text = code(&fs::read_to_string(root().join(registry)).unwrap());
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let lines = text
                .lines()
                .filter(|line| line.contains(&format!("{name}::")) || line.contains(&format!("mod {name};")));
            if path.is_file() && lines.count() == 0 {
                complaints.push(format!("{folder}/{name}.rs is in no line of {registry}"));
            }
        }
    }
    none(complaints);
}

#[test]
fn long_files_say_why() {
    let mut complaints = vec![];
    for (path, text) in sources(&["src", "strategies", "analysis", "tests", "benches"]) {
        let lines = text.lines().count();
        if lines > 800 && !text.contains("// Long because") {
            complaints
                .push(format!("{}: {lines} lines; split it, or say `// Long because …`", path.display()));
        }
    }
    none(complaints);
}

#[test]
fn no_placeholder_is_left_in_the_product() {
    let words = ["todo!(", "unimplemented!(", "FIXME", "XXX", "HACK"];
    let mut complaints = vec![];
    for (path, text) in sources(&["src", "strategies/src", "analysis/src"]) {
        for word in words.iter().filter(|word| text.contains(**word)) {
            complaints.push(format!("{}: {word}", path.display()));
        }
    }
    none(complaints);
}

#[test]
fn every_example_has_a_story() {
    let mut complaints = vec![];
    for entry in fs::read_dir(root().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.join("README.md").is_file() {
            complaints.push(format!("{} has no README.md", path.display()));
        }
    }
    none(complaints);
}

#[test]
fn the_ranks_are_those_of_the_architecture_page() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let missing: BTreeMap<String, bool> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "rs"))
        .map(|it| it.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|it| it != "lib.rs")
        .map(|it| (it.clone(), page.contains(&format!("src/{}", it.trim_end_matches(".rs")))))
        .filter(|(_, named)| !named)
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {:?}", missing.keys());
}
