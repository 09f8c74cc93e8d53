//! `anneal completions`: shell completions.

use crate::{Cli, error::Error};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

/// Print a script that completes arguments in a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal completions bash > ~/.local/share/bash-completion/completions/anneal
  anneal completions fish > ~/.config/fish/completions/anneal.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        // The generator panics if it cannot write, so it writes to memory.
        let mut script = vec![];
        clap_complete::generate(self.shell, &mut Cli::command(), "anneal", &mut script);
        out.write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}
