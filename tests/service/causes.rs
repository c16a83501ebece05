//! The cause that is known is shown: at once, everywhere, with the last words of the process and its log.

use crate::rig::{Rig, free_port, rollout};

/// One step that waits for a person.
const PAUSED: &str = "strategy: { canary: { steps: [ { weight: 50%, pause: {} } ] } }";
/// One step that does not wait.
const AT_ONCE: &str = "strategy: { canary: { steps: [ { weight: 50%, atOnce: {} } ] } }";

#[test]
fn a_canary_that_dies_is_turned_back_with_its_last_words_and_its_log() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], PAUSED);
    rig.document("next.yaml", &[("DIE", "ModuleNotFoundError: No module named 'payments'")], PAUSED);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    let words = ["exit code 1: ModuleNotFoundError: No module named 'payments'", "logs/shop/", "-main-0.log"];
    let waited = rig.say(&["apply", "next.yaml", "--wait", "--timeout", "50s"]);
    waited.with(3, &words);
    waited.with(3, &["| reading config", "rolled back shop", "`serinus retry` tries"]);
    rig.say(&["status"]).with(0, &words);
    rig.say(&["explain"]).with(0, &words);
    let said = rig.said();
    assert!(words.iter().all(|it| said.contains(it)), "{said}");
    rig.say(&["logs", "shop", "-n", "50"])
        .with(0, &["No module named 'payments'", "serinus: exit code 1", "up 1"]);
    // It is remembered by the next run of everything.
    rig.stop();
    rig.run(&[]);
    rig.serves("1");
    rig.say(&["status"]).with(0, &words);
}

#[test]
fn a_canary_that_listens_elsewhere_is_told_where_it_should() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], PAUSED);
    let elsewhere = free_port().to_string();
    rig.document("next.yaml", &[("VERSION", "2"), ("ELSEWHERE", &elsewhere)], PAUSED);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    let waited = rig.say(&["apply", "next.yaml", "--wait", "--timeout", "6s"]);
    waited.with(5, &[&format!("it listens on 127.0.0.1:{elsewhere}; its port is"), "in the variable PORT"]);
    rig.say(&["abort", "--reason", "the port is wrong"]).with(0, &["turning back"]);
}

#[test]
fn what_will_not_happen_is_not_announced() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], PAUSED);
    rig.document("next.yaml", &[("VERSION", "2")], PAUSED);
    rig.say(&["lint", "shop.yaml", "next.yaml"]).with(0, &[]);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    rig.say(&["apply", "shop.yaml", "--dry-run"]).with(0, &["nothing would change"]);
    rig.say(&["apply", "next.yaml", "--dry-run"]).with(0, &["would be wanted instead of"]);
    assert_eq!(std::fs::read_dir(rig.path().join("state/revisions/shop")).unwrap().count(), 1);
    rig.say(&["apply", "next.yaml"]).with(0, &["is wanted now"]);
    rig.eventually("the step", || rig.said().contains("the canary gets 50%"));
    let by = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uid = rustix::process::getuid().as_raw().to_string();
    let login =
        by.lines().map(|it| it.split(':').collect::<Vec<_>>()).find(|it| it.get(2) == Some(&uid.as_str()));
    let login = login.map_or_else(|| format!("uid {uid}"), |it| it[0].to_owned());
    rig.say(&["pause", "--reason", "lunch"]).with(0, &["paused"]);
    rig.say(&["status"]).with(0, &[&format!("{login} paused it: lunch")]);
    rig.say(&["resume", "--reason", "back again"]).with(0, &[]);
    rig.say(&["abort", "--reason", "it is slow"]).with(0, &[]);
    rig.eventually("the way back", || rig.said().contains("rolled back"));
    let aborted = format!("{login} aborted it: it is slow");
    rig.say(&["status"]).with(0, &[&aborted]);
    rig.say(&["explain"]).with(0, &[&aborted, &format!("{login} ordered: resume: back again")]);
    let refused = format!("was rolled back before ({aborted}); `serinus retry` tries it again");
    rig.say(&["apply", "next.yaml", "--dry-run"]).with(3, &["would get no requests", &refused]);
    rig.say(&["apply", "next.yaml"]).with(3, &["gets no requests", &refused]);
    rig.say(&["apply", "next.yaml", "--wait"]).with(3, &[&refused]);
    rig.say(&["retry"]).with(0, &["trying again"]);
}

#[test]
fn a_start_script_away_from_its_application_is_refused_with_the_cure() {
    let mut rig = Rig::new();
    let bin = rig.path().join("dist/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let script = "#!/bin/sh\nHOME_OF_IT=$(cd \"$(dirname \"$0\")/..\" && pwd)\nexec python3 \"$HOME_OF_IT/service.py\"\n";
    std::fs::write(bin.join("shop"), script).unwrap();
    std::fs::copy(rig.path().join("service.py"), rig.path().join("dist/service.py")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bin.join("shop"), mode).unwrap();
    let document = rig.document("shop.yaml", &[("VERSION", "1")], PAUSED);
    let text = std::fs::read_to_string(&document).unwrap().replace("python3, service.py", "./dist/bin/shop");
    std::fs::write(&document, text.replace("files: [ service.py ]", "")).unwrap();
    rig.say(&["run", "shop.yaml"]).with(1, &["beside itself (line 2:", "write `files: [ dist ]`"]);
    std::fs::write(&document, text.replace("files: [ service.py ]", "files: [ dist ]")).unwrap();
    rig.run(&["shop.yaml"]);
    rig.serves("1");
}

#[test]
fn the_end_of_every_rollout_of_a_file_is_waited_for() {
    let mut rig = Rig::new();
    let (one, other) = (free_port(), free_port());
    let both = |first: &str, second: &str| {
        let first = rollout("one", one, &[("VERSION", first)], AT_ONCE);
        format!("{first}---\n{}", rollout("other", other, &[("VERSION", second)], AT_ONCE))
    };
    std::fs::write(rig.path().join("both.yaml"), both("1", "1")).unwrap();
    rig.run(&["both.yaml"]);
    rig.eventually("both", || rig.say(&["get"]).text.matches("at rest").count() == 2);
    std::fs::write(rig.path().join("both.yaml"), both("2", "2")).unwrap();
    let waited = rig.say(&["apply", "both.yaml", "--wait", "--timeout", "50s"]);
    waited.with(0, &["promoted one", "promoted other"]);
}
