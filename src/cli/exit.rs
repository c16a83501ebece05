//! What the program says with its exit code. Documented in `docs/commands.md`; scripts rely on it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Exit {
    /// It did what was asked; of a rollout: promoted.
    Done,
    /// Anything that no other code stands for. `lint`: there are findings.
    Failed,
    /// The command line, or a file named on it, cannot be used.
    Usage,
    /// The rollout turned back, by itself or by order.
    RolledBack,
    /// The rollout stands still: an analysis found nothing out, or a deadline passed.
    Undecided,
    /// `--timeout` passed first.
    TimedOut,
    /// Another revision took the place of the one that was waited for.
    Superseded,
}

impl Exit {
    /// Every exit, in the order of its number.
    pub const ALL: [Self; 7] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::RolledBack,
        Self::Undecided,
        Self::TimedOut,
        Self::Superseded,
    ];

    /// The number that a shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::RolledBack => 3,
            Self::Undecided => 4,
            Self::TimedOut => 5,
            Self::Superseded => 6,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_that_scripts_know() {
        assert_eq!(Exit::ALL.map(Exit::code), [0, 1, 2, 3, 4, 5, 6]);
    }
}
