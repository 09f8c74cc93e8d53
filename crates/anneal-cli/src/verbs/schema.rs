//! `anneal schema`: the file format for editors.

use crate::error::Error;
use clap::Args;
use std::io::Write;
use std::process::ExitCode;

/// Print the JSON Schema of schedule files
///
/// Editors that know it check and complete schedule files.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  anneal schema > schedule.schema.json
  and as the first line of a schedule in TOML: #:schema schedule.schema.json")]
pub struct Schema {}

impl Schema {
    pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
        writeln!(out, "{:#}", anneal_schedule::json_schema())?;
        Ok(ExitCode::SUCCESS)
    }
}
