//! `serinus run` on a terminal.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use crate::rig::{PROGRAM, Rig};

/// Runs a command on a terminal of its own; what is written to this one is typed there.
const TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))";

#[test]
fn q_leaves_the_picture_and_the_service_runs_on_until_ctrl_c() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], "");
    let mut command = Command::new("python3");
    let size = "stty rows 30 cols 100; exec \"$0\" \"$@\"";
    command.args(["-c", TERMINAL, "sh", "-c", size, PROGRAM, "run", "--workers", "1", "shop.yaml"]);
    command.env("TERM", "xterm").stdin(Stdio::piped());
    rig.start(command);
    let mut keys = rig.running().stdin.take().unwrap();
    rig.serves("1");
    // The picture is on the terminal's other screen.
    rig.eventually("the picture", || {
        rig.said().contains("\u{1b}[?1049h") && rig.said().contains("Ctrl-C stops")
    });
    keys.write_all(b"q").unwrap();
    rig.eventually("the end of the picture", || rig.said().contains("it runs on; Ctrl-C stops everything"));
    let after = rig.said().rsplit("it runs on").next().unwrap().to_owned();
    assert!(!after.contains("\u{1b}[?1049h"), "{after:?}");
    rig.serves("1");
    rig.say(&["status"]).with(0, &["shop"]);
    keys.write_all(b"\x03").unwrap();
    assert!(rig.ends().success(), "{}", rig.said());
    assert_eq!(rig.answer(), None);
}
