//! What a service manager such as systemd gives to `serinus run`, and what it is told.

use std::{net::TcpListener, os::fd::OwnedFd};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::Failure;

/// The sockets that were opened for this process (`LISTEN_FDS`); none where nobody opened any.
///
/// # Errors
/// One of them is no listening TCP socket.
pub(super) fn sockets() -> Result<Vec<OwnedFd>, Failure> {
    let mut given = ListenFd::from_env();
    let count = given.len();
    let take = |index| -> Result<Option<OwnedFd>, Failure> {
        let taken: std::io::Result<Option<TcpListener>> = given.take_tcp_listener(index);
        let taken = taken.map_err(|error| Failure::Usage {
            what: format!("socket {index} of the service manager cannot be used: {error}"),
            help: "write `ListenStream=` with an address and a port for each; other sockets are not served"
                .to_owned(),
        })?;
        Ok(taken.map(OwnedFd::from))
    };
    let all: Result<Vec<_>, _> = (0..count).map(take).collect();
    Ok(all?.into_iter().flatten().collect())
}

/// Everything that was there before is served, and the document is taken up.
pub(super) fn ready(services: usize) {
    let status = format!("{} served", super::words::counted(services as u64, "rollout"));
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Requests under way are being finished.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing the requests under way")]);
}

/// Whoever listens may be gone: that ends nothing.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    /// The command lines of a unit file, as the manager would start them.
    fn commands(unit: &str) -> Vec<Vec<String>> {
        let unit = unit.replace("\\\n", " ");
        let lines = unit.lines().filter_map(|it| it.strip_prefix("Exec")?.split_once('='));
        let words = |line: &str| line.replace("%i", "shop").split_whitespace().map(str::to_owned).collect();
        lines.map(|(_, line)| words(line)).collect()
    }

    #[test]
    fn the_unit_file_says_nothing_that_the_command_line_does_not_know() {
        let unit = include_str!("../../deploy/systemd/serinus@.service");
        let commands = commands(unit);
        assert_eq!(commands.len(), 2, "{commands:?}");
        for command in commands {
            assert!(command[0].ends_with("/serinus"));
            Cli::try_parse_from(&command).unwrap_or_else(|error| panic!("{command:?}: {error}"));
        }
    }
}
