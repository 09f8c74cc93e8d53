//! `anneal schema`: the file formats for editors.

use crate::error::Error;
use clap::{Args, ValueEnum};
use std::io::Write;
use std::process::ExitCode;

/// Print the JSON Schema of schedule files, of whole trainings, or of groups
///
/// Editors that support it check and complete such files.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  anneal schema > schedule.schema.json
  anneal schema training > training.schema.json
  and as the first line of a schedule in TOML: #:schema schedule.schema.json")]
pub struct Schema {
    /// What the files contain
    #[arg(value_enum, default_value_t)]
    of: Of,
}

/// What a file contains
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Of {
    /// A schedule
    #[default]
    Schedule,
    /// A whole training, including its schedule
    Training,
    /// Groups of parameters
    Groups,
}

impl Schema {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        let schema = match self.of {
            Of::Schedule => anneal_schedule::json_schema(),
            Of::Training => anneal_config::json_schema(),
            Of::Groups => anneal_config::groups_json_schema(),
        };
        writeln!(out, "{schema:#}")?;
        Ok(ExitCode::SUCCESS)
    }
}
