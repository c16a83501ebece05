//! Colour: whether, and which. `NO_COLOR`, `CLICOLOR_FORCE`, `TERM=dumb` and `--color` are respected.

use anstyle::{AnsiColor, Effects, Style};
use clap::ValueEnum;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl When {
    /// Makes it the choice of every stream of this process.
    pub(super) fn choose(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// Whether text written to standard output keeps its colours.
#[must_use]
pub(super) fn on_stdout() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Whether text written to standard error keeps its colours.
#[must_use]
pub(super) fn on_stderr() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

/// What went well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// What needs a look.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
/// What a reader may skip.
pub(super) const DIM: Style = Style::new().effects(Effects::DIMMED);
/// What a reader looks for.
pub(super) const STRONG: Style = Style::new().effects(Effects::BOLD);
/// The stable side, everywhere.
pub(super) const STABLE: Style = AnsiColor::Cyan.on_default();
/// The canary side, everywhere.
pub(super) const CANARY: Style = AnsiColor::Yellow.on_default();

/// `text` in `style`, for [`anstream::println`] and its like, which take the style out again where there is none.
pub(super) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
