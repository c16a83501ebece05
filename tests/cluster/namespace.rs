//! A network and a process namespace of its own: every address of the pods is local, every port is free, nothing leaves it,
//! and whatever was started in it ends with it.

use std::process::{Command, ExitCode};

const INSIDE: &str = "SERINUS_TEST_NAMESPACE";
/// Addresses of pods and of Services.
const SET_UP: &str = "ip link set lo up && ip address add 10.244.0.0/16 dev lo && exec \"$@\"";

/// Runs this program again inside, and says how that ended; `None`: this is inside.
pub(crate) fn enter() -> Option<ExitCode> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let own = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SET_UP, "sh"])
        .arg(own)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .unwrap_or_else(|why| panic!("unshare (util-linux) cannot be run: {why}"));
    let code = status.code().and_then(|it| u8::try_from(it).ok()).unwrap_or(1);
    Some(ExitCode::from(code))
}
