//! Why a command could not do what was asked, and what to do about it.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

use super::{color, exit::Exit, output::complain};
use crate::{api::client::ClientError, local::supervisor::SupervisorError};

/// Why a command could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No state directory was named or found.
    #[error("there is no `.serinus` directory here or in a directory above, so nothing has run here")]
    NoState,
    /// The state directory is there, and nobody answers in it.
    #[error("nothing runs in {}", state.display())]
    NothingRuns {
        /// The state directory.
        state: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no rollout of that name.
    #[error("there is no rollout `{name}`{}", known_list(known))]
    NoSuchRollout {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// Several rollouts, and none was named.
    #[error("there are several rollouts{}: which one?", known_list(known))]
    WhichRollout {
        /// Their names.
        known: Vec<String>,
    },
    /// There is no rollout at all.
    #[error("nothing has been applied here yet, so there is no rollout")]
    NoRollouts,
    /// The engine did not answer, or will not do it.
    #[error(transparent)]
    Engine(#[from] ClientError),
    /// The supervisor did not start, or ended otherwise than asked to.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A part of a running instance did not start or ended by itself.
    #[error(transparent)]
    Part(#[from] Box<dyn Error + Send + Sync>),
    /// The supervisor ended by itself.
    #[error("the supervisor ended by itself ({how}); what it said is in {}", log.display())]
    SupervisorEnded {
        /// How.
        how: String,
        /// Its log.
        log: PathBuf,
    },
    /// The engine did not come up, or went away and did not come back.
    #[error("the engine does not answer; its log is {}", log.display())]
    EngineDown {
        /// The log of the control process.
        log: PathBuf,
    },
    /// The engine ends as soon as it is started, again and again.
    #[error("the engine cannot start: {why}")]
    EngineEnds {
        /// The last that it said.
        why: String,
        /// The log of the control process.
        log: PathBuf,
    },
    /// It took longer than `--timeout`.
    #[error("{what} did not end within {within}")]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        within: strategies::HumanDuration,
    },
    /// A file could not be read or written.
    #[error("cannot {act} {}", path.display())]
    File {
        /// What was tried: `read`, `write`.
        act: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something of the system did not work.
    #[error("cannot {act}")]
    System {
        /// What was tried.
        act: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was asked has nothing to act on.
    #[error("{what}")]
    NothingToDo {
        /// What is missing.
        what: String,
        /// What can be done.
        help: String,
    },
    /// What was asked makes no sense; the text says why.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to do instead.
        help: String,
    },
    /// Everything has been said already, by diagnostics for example.
    #[error("refused")]
    Said(Exit),
}

fn known_list(known: &[String]) -> String {
    match known {
        [] => String::new(),
        _ => {
            format!("; there is {}", known.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

impl Failure {
    /// A failed call of the engine in this state directory.
    pub fn of_call(error: ClientError, state: &Path) -> Self {
        match error {
            ClientError::NotRunning { source, .. } => Self::NothingRuns { state: state.to_owned(), source },
            error @ (ClientError::Refused { .. }
            | ClientError::Broken(_)
            | ClientError::TimedOut(_)
            | ClientError::Cluster(_)
            | ClientError::NotUnderstood(_)) => Self::Engine(error),
        }
    }

    /// The exit code that goes with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } | Self::WhichRollout { .. } | Self::NoSuchRollout { .. } => Exit::Usage,
            Self::Said(exit) => *exit,
            Self::TimedOut { .. } => Exit::TimedOut,
            Self::Engine(_)
            | Self::Supervisor(_)
            | Self::Part(_)
            | Self::SupervisorEnded { .. }
            | Self::EngineEnds { .. }
            | Self::EngineDown { .. } => Exit::Failed,
            Self::NoState
            | Self::NothingRuns { .. }
            | Self::NoRollouts
            | Self::NothingToDo { .. }
            | Self::File { .. }
            | Self::System { .. } => Exit::Failed,
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoState => {
                "start something with `serinus run FILE`, or name the directory of what runs elsewhere with --state DIR"
                    .to_owned()
            }
            Self::NothingRuns { .. } => {
                "start it with `serinus run FILE`; if it runs elsewhere, name its directory with --state DIR".to_owned()
            }
            Self::WhichRollout { .. } => "name it: `serinus status NAME`".to_owned(),
            Self::NoSuchRollout { .. } => "`serinus get` lists what there is".to_owned(),
            Self::NoRollouts => "hand in a document with `serinus apply FILE`".to_owned(),
            Self::Usage { help, .. } | Self::NothingToDo { help, .. } => help.clone(),
            Self::TimedOut { .. } => {
                "it goes on by itself; `serinus status` shows what it waits for, and `serinus wait` waits on".to_owned()
            }
            Self::EngineEnds { log, .. } => format!("what it said is in {}", log.display()),
            Self::EngineDown { .. } | Self::SupervisorEnded { .. } => {
                "`serinus run` starts everything again where it stood".to_owned()
            }
            Self::Engine(_)
            | Self::Supervisor(_)
            | Self::Part(_)
            | Self::File { .. }
            | Self::System { .. }
            | Self::Said(_) => return None,
        })
    }

    /// Tells a person, on standard error.
    pub fn tell(&self) {
        if matches!(self, Self::Said(_)) {
            return;
        }
        complain(format_args!("{} {self}", color::paint(color::BAD, "error:")));
        let mut cause = self.source();
        while let Some(it) = cause {
            complain(format_args!("  {} {it}", color::paint(color::DIM, "because:")));
            cause = it.source();
        }
        if let Some(help) = self.help() {
            complain(format_args!("  {} {help}", color::paint(color::GOOD, "help:")));
        }
    }
}
