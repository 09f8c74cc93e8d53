//! The verbs: a file each, with its arguments, its help and its work.

use crate::error::Error;
use clap::Subcommand;
use std::io::Write;
use std::process::ExitCode;

macro_rules! verbs {
    ($($module:ident $verb:ident),* $(,)?) => {
        $(mod $module;)*

        /// What to do.
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($verb($module::$verb),)*
        }

        impl Verb {
            /// Does it; the result is the exit code, or what went wrong.
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
    analyze Analyze,
    matching Match,
    translate Translate,
    schema Schema,
    completions Completions,
}
