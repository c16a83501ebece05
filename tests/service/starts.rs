//! Starting again, copies that are kept, upgrades, and what a service manager gives.

use std::{
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::rig::{PROGRAM, RUN, Rig};

/// One step that does not wait.
const AT_ONCE: &str = "strategy: { canary: { steps: [ { weight: 50%, atOnce: {} } ] } }";

#[test]
fn a_start_does_not_release_an_old_document_unless_it_is_told_to() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], AT_ONCE);
    rig.document("next.yaml", &[("VERSION", "2")], AT_ONCE);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    rig.say(&["apply", "next.yaml", "--wait"]).with(0, &["promoted"]);
    rig.stop();
    rig.run(&["shop.yaml"]);
    rig.eventually("the reason", || rig.said().contains("shop.yaml is not applied"));
    rig.serves("2");
    assert!(rig.said().contains("`serinus apply shop.yaml` releases it"), "{}", rig.said());
    rig.stop();
    rig.run(&["shop.yaml", "--apply"]);
    rig.serves("1");
    rig.stop();
    // A file that was changed after what is there was applied is the newer one.
    rig.document("shop.yaml", &[("VERSION", "3")], AT_ONCE);
    rig.run(&["shop.yaml"]);
    rig.serves("3");
}

#[test]
fn a_release_may_be_waited_for_before_the_first_one_serves() {
    for slow in ["0", "1"] {
        let mut rig = Rig::new();
        rig.document("shop.yaml", &[("VERSION", "1"), ("SLOW", slow)], AT_ONCE);
        rig.document("next.yaml", &[("VERSION", "2")], AT_ONCE);
        rig.run(&["shop.yaml"]);
        rig.eventually("a rollout", || rig.say(&["get"]).text.contains("shop"));
        rig.say(&["apply", "next.yaml", "--wait"]).with(0, &["promoted"]);
        rig.serves("2");
    }
}

#[test]
fn copies_of_old_revisions_go_and_undo_has_those_that_were_promised() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], AT_ONCE);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    let copies = || std::fs::read_dir(rig.path().join("state/revisions/shop")).unwrap().count();
    for version in 2..=6 {
        rig.document("shop.yaml", &[("VERSION", &version.to_string())], AT_ONCE);
        rig.say(&["apply", "shop.yaml", "--wait"]).with(0, &["promoted"]);
    }
    // In use at the last application: stable, the one that was wanted, perhaps one that was still ending; two more are
    // kept.
    let logs = || std::fs::read_dir(rig.path().join("state/logs/shop")).unwrap().count();
    assert!((4..=5).contains(&copies()) && logs() <= 5, "{} copies, {} logs", copies(), logs());
    rig.say(&["undo", "--wait"]).with(0, &["promoted"]);
    rig.serves("5");
}

#[test]
fn an_upgrade_is_one_command_and_fails_no_request() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], AT_ONCE);
    rig.say(&["upgrade"]).with(1, &["nothing runs"]);
    rig.run(&["shop.yaml"]);
    rig.serves("1");
    let before = rig.say(&["status", "--output", "json"]).text;
    std::thread::scope(|scope| {
        let upgraded = scope.spawn(|| rig.say(&["upgrade"]));
        while !upgraded.is_finished() {
            assert_eq!(rig.answer().as_deref(), Some("1"));
        }
        upgraded.join().unwrap().with(0, &["upgraded from", "your processes ran on: 1"]);
    });
    rig.serves("1");
    let pid = |text: &str| text.lines().find(|it| it.contains("\"pid\"")).map(str::to_owned);
    rig.eventually("the engine", || pid(&rig.say(&["status", "--output", "json"]).text) == pid(&before));
    rig.say(&["upgrade", "--executable", "/bin/false"]).with(1, &["the upgrade was given up"]);
    rig.serves("1");
}

#[test]
fn a_service_manager_is_told_and_its_socket_is_served() {
    let mut rig = Rig::new();
    rig.document("shop.yaml", &[("VERSION", "1")], AT_ONCE);
    let told = UnixDatagram::bind(rig.path().join("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Nobody else can listen there as long as this one does.
    let socket = TcpListener::bind(("127.0.0.1", rig.port())).unwrap();
    let notify = rig.path().join("notify");
    rig.start(as_a_service(&socket, &notify));
    let mut message = [0; 512];
    let length = told.recv(&mut message).unwrap();
    let message = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(message.contains("READY=1") && message.contains("STATUS=1 rollout served"), "{message}");
    rig.serves("1");
    let status = rig.say(&["status", "--output", "json"]).text;
    let pid = status.lines().find_map(|it| it.trim().strip_prefix("\"pid\": ")?.strip_suffix(','));
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", pid.unwrap())).unwrap();
    assert!(environment.contains("PORT=") && !environment.contains("NOTIFY_SOCKET"), "{environment}");
    rig.say(&["upgrade"]).with(0, &["upgraded"]);
    rig.serves("1");
    rig.stop();
    let length = told.recv(&mut [0; 512]).unwrap();
    assert!(length > 0, "it says that it stops");
}

/// `serinus run shop.yaml` as systemd starts it: with an open socket, and somebody to be told.
fn as_a_service(socket: &TcpListener, notify: &Path) -> Command {
    // Third after standard input, output and error; the process id is that of the shell, which becomes the program.
    let script = "exec 3<&0; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\" < /dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, PROGRAM]).args(RUN).arg("shop.yaml").env("NOTIFY_SOCKET", notify);
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}
