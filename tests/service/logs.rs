//! What processes print can be read from another terminal.

use rustix::process::Signal;

use crate::rig::{Rig, signal};

#[test]
fn what_processes_print_is_followed_and_chosen_by_revision_and_replica() {
    let mut rig = Rig::new();
    let paused = "replicas: 2\n  strategy: { canary: { steps: [ { weight: 50%, pause: {} } ] } }";
    rig.document("shop.yaml", &[("VERSION", "1")], paused);
    rig.document("next.yaml", &[("VERSION", "2")], paused);
    rig.say(&["logs"]).with(1, &["nothing has been applied here yet"]);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    rig.eventually("the words of both", || rig.say(&["logs", "shop"]).text.matches(" | up 1").count() == 2);
    rig.say(&["logs", "nobody"]).with(2, &["nobody"]);

    let followed = rig.path().join("followed");
    let mut follows = rig.command(&["logs", "--follow"]);
    let mut follows = follows.stdout(std::fs::File::create(&followed).unwrap()).spawn().unwrap();
    let read = || std::fs::read_to_string(&followed).unwrap();
    rig.eventually("what was before", || read().matches(" | up 1").count() == 2);
    rig.say(&["apply", "next.yaml"]).with(0, &["is wanted now"]);
    rig.eventually("what comes", || read().contains(" | up 2"));
    signal(follows.id(), Signal::INT);
    assert!(follows.wait().unwrap().success());

    let line = read().lines().find(|it| it.ends_with("up 2")).unwrap().to_owned();
    let (revision, replica) = line.split_once(" | ").unwrap().0.split_once('/').unwrap();
    assert_eq!(replica, "0");
    let second = rig.say(&["logs", "--revision", &revision[..6]]);
    second.with(0, &["up 2"]);
    assert!(!second.text.contains("up 1"), "{}", second.text);
    let other = rig.say(&["logs", "shop", "--replica", "1"]);
    other.with(0, &["up 1"]);
    assert_eq!(other.text.matches("up 1").count(), 1, "{}", other.text);
    // The words of a release that was turned back stay.
    rig.say(&["abort"]).with(0, &[]);
    rig.eventually("the way back", || rig.said().contains("rolled back"));
    rig.say(&["logs", "--revision", revision]).with(0, &["up 2"]);
}
