//! The verbs, one file each, with arguments, help and implementation.

mod analyze;
mod completions;
mod explain;
mod lint;
mod list;
mod matching;
mod sample;
mod schema;
mod show;
mod translate;

use crate::error::Error;
use clap::Subcommand;
use std::io::Write;
use std::process::ExitCode;

macro_rules! verbs {
    ($($module:ident $verb:ident),* $(,)?) => {
        /// The command.
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($verb($module::$verb),)*
        }

        impl Verb {
            /// Runs it; returns the exit code or the error.
            pub fn run(&self, out: &mut impl Write) -> Result<ExitCode, Error> {
                match self {$(Self::$verb(verb) => verb.run(out),)*}
            }
        }
    };
}

verbs! {
    list List,
    show Show,
    sample Sample,
    lint Lint,
    explain Explain,
    analyze Analyze,
    matching Match,
    translate Translate,
    schema Schema,
    completions Completions,
}
