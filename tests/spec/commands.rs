//! The commands that only read: `lint`, `plan`, `schema`.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// What a command writes, results before errors, and its exit code; run where the repository is.
fn run(line: &str) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_serinus"))
        .args(line.split_whitespace())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap()).concat();
    (text, output.status.code().unwrap())
}

#[track_caller]
fn shows(name: &str, line: &str) {
    let (text, code) = run(line);
    assert_eq!(code, 0, "{text}");
    keeps(name, &text);
}

fn keeps(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("commands");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// A file that lives as long as the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("serinus-spec-{}-{name}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_command_is_described() {
    let (help, _) = run("--help");
    let (_, listed) = help.split_once("Commands:\n").unwrap();
    let described = include_str!("../../docs/commands.md");
    let names = listed.lines().take_while(|it| !it.is_empty()).filter_map(|it| it.split_whitespace().next());
    let missing: Vec<&str> =
        names.filter(|it| *it != "help" && !described.contains(&format!("`{it}`"))).collect();
    assert_eq!(missing, [""; 0], "docs/commands.md does not say what they do");
}

#[test]
fn plan_tells_what_each_example_does() {
    for name in ["demo", "blue-green", "ab-test", "shadow", "thresholds"] {
        shows(&format!("plan-{name}"), &format!("plan examples/{name}/rollout.yaml"));
    }
}

#[test]
fn plan_tells_what_each_step_sees_at_a_traffic() {
    shows("plan-demo-traffic", "plan examples/demo/rollout.yaml --traffic 500/s --error-rate 0.1%");
    shows(
        "plan-demo-little-traffic",
        "plan examples/demo/rollout.yaml --traffic 300/m --error-rate 1% --matters 5x",
    );
}

#[test]
fn plan_draws_what_each_weight_can_see() {
    let file = File::new("power.svg", "");
    let path = file.0.display();
    let plan = "plan examples/demo/rollout.yaml";
    let (text, code) =
        run(&format!("{plan} --traffic 500/s --error-rate 0.1% --matters 3x --picture {path}"));
    assert_eq!(code, 0, "{text}");
    let svg = std::fs::read_to_string(&file.0).unwrap();
    assert_eq!(svg.matches("<polyline").count(), 4);
    for factor in ["1.5x", "2x", "3x", "5x"] {
        assert!(svg.contains(&format!("{factor} the errors")), "{factor}");
    }
    let (text, code) = run(&format!("{plan} --picture {path}"));
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("needs to know the traffic"), "{text}");
}

#[test]
fn plan_is_there_for_programs() {
    shows("plan-json", "plan examples/own-service/shop.yaml --traffic 50/s --error-rate 1% --output json");
    let (yaml, _) = run("plan examples/own-service/shop.yaml --output yaml");
    let (json, _) = run("plan examples/own-service/shop.yaml --output json");
    let yaml: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(yaml, serde_json::from_str::<serde_json::Value>(&json).unwrap());
}

#[test]
fn plan_of_a_document_with_mistakes_shows_them_instead() {
    let file = File::new("plan.yaml", &super::GOOD.replace("canary", "canery"));
    let (text, code) = run(&format!("plan {}", file.0.display()));
    assert_eq!(code, 2);
    assert!(text.contains("did you mean `canary`?"), "{text}");
    assert_eq!(run("plan /nonexistent.yaml").1, 2);
    let several = File::new(
        "several.yaml",
        &format!("{0}---\n{1}", super::GOOD, super::GOOD.replace("shop", "other").replace("8080", "8081")),
    );
    let (text, code) = run(&format!("plan {}", several.0.display()));
    assert_eq!(code, 2);
    assert!(text.contains("shop, other"), "{text}");
    assert_eq!(run(&format!("plan --rollout other {}", several.0.display())).1, 0);
}

#[test]
fn rates_are_a_number_and_a_unit() {
    let plan = |rate: &str| {
        run(&format!("plan examples/demo/rollout.yaml --output json --error-rate 1% --traffic={rate}"))
    };
    let (expected, _) = plan("500/s");
    for same in ["30000/m", "1800000/h", "500.0/s"] {
        assert_eq!(plan(same), (expected.clone(), 0), "{same}");
    }
    for wrong in ["", "500", "/s", "0/s", "-1/s", "NaN/s", "inf/s", "5/d", "1e400/s"] {
        let (text, code) = plan(wrong);
        assert!(code == 2 && text.contains("--traffic"), "{wrong}: {code} {text}");
    }
}

#[test]
fn lint_of_good_files_is_clean() {
    let (text, code) = run("lint examples/");
    let clean = "11 documents in 9 files: 0 errors, 0 warnings; not looked at: 1 document of other tools (Deployment)\n";
    assert_eq!((text.as_str(), code), (clean, 0));
}

#[test]
fn lint_tells_programs_what_it_tells_people() {
    let file = File::new(
        "lint.yaml",
        &super::GOOD.replace("canary: {}", "canary: { steps: [ { weight: 5, until: {} } ] }"),
    );
    let shown = file.0.display().to_string();
    let (text, code) = run(&format!("lint {shown}"));
    assert_eq!(code, 1);
    assert!(
        text.contains("`5` has no unit") && text.ends_with("1 document in 1 file: 1 error, 0 warnings\n")
            || text.contains("1 error"),
        "{text}"
    );
    let (json, code) = run(&format!("lint --output json {shown}"));
    assert_eq!(code, 1);
    keeps("lint-json", &json.replace(&shown, "lint.yaml"));
}

#[test]
fn lint_counts_warnings_only_when_asked_to() {
    let file = File::new("warn.yaml", &super::with_fields("mode: off"));
    assert_eq!(run(&format!("lint {}", file.0.display())).1, 0);
    assert_eq!(run(&format!("lint --strict {}", file.0.display())).1, 1);
}

#[test]
fn lint_of_what_cannot_be_read_says_so() {
    let (text, code) = run("lint /nonexistent.yaml");
    assert_eq!(code, 2);
    assert!(text.contains("cannot read /nonexistent.yaml"), "{text}");
}

#[test]
fn schema_prints_one_kind_or_all() {
    let (one, _) = run("schema Rollout");
    let one: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(one["title"], "Rollout");
    let (all, _) = run("schema");
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all["allOf"].as_array().unwrap().len(), serinus::spec::Kind::ALL.len());
}
