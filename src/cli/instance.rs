//! Which running instance a command is about.

use std::path::{Path, PathBuf};

use super::Failure;

/// Name of the state directory, beside the document that was started.
pub const STATE: &str = ".serinus";

/// Which running instance.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Instance {
    /// State directory of the running instance [default: `.serinus` beside FILE, here, or in a directory above]
    #[arg(long, value_name = "DIR", env = "SERINUS_STATE", hide_env = true)]
    pub state: Option<PathBuf>,
}

impl Instance {
    /// The state directory for this document: named, or beside it. It need not be there yet.
    #[must_use]
    pub fn beside(&self, document: &Path) -> PathBuf {
        match &self.state {
            Some(state) => state.clone(),
            None => document.parent().unwrap_or(Path::new("")).join(STATE),
        }
    }

    /// The state directory: named, or the nearest one from here upwards.
    ///
    /// # Errors
    /// [`Failure::NoState`].
    pub fn locate(&self) -> Result<PathBuf, Failure> {
        if let Some(state) = &self.state {
            return Ok(state.clone());
        }
        let here =
            std::env::current_dir().map_err(|source| Failure::System { act: "tell where we are", source })?;
        let found = here.ancestors().map(|it| it.join(STATE)).find(|it| it.is_dir());
        found.ok_or(Failure::NoState)
    }
}
