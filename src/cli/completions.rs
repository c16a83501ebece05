//! `serinus completions`: what shells complete with, and manual pages.

use std::path::{Path, PathBuf};

use clap_complete::Shell;

use super::{Exit, Failure, command, output::print};

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  serinus completions bash > ~/.local/share/bash-completion/completions/serinus
  serinus completions zsh > ~/.zfunc/_serinus
  serinus completions --man ~/.local/share/man/man1")]
pub(super) struct Args {
    /// Print completions for this shell: bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL", value_enum, hide_possible_values = true, required_unless_present = "man")]
    shell: Option<Shell>,

    /// Write a manual page for each command into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "shell")]
    man: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        if let Some(shell) = self.shell {
            // In memory first: the generator panics where a reader has gone.
            let mut text = vec![];
            clap_complete::generate(shell, &mut command(), "serinus", &mut text);
            print(String::from_utf8_lossy(&text).trim_end())?;
        }
        if let Some(directory) = &self.man {
            write_pages(directory).map_err(|source| Failure::File {
                act: "write",
                path: directory.clone(),
                source,
            })?;
            print(format!("manual pages written; try `man {}/serinus-demo.1`", directory.display()))?;
        }
        Ok(Exit::Done)
    }
}

fn write_pages(directory: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(command(), directory)
}
