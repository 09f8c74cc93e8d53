//! Configurations of other libraries, translated.

mod bad_input;
mod rates;
mod whole;

use anneal_config::peers::{self, Options, TranslatedConfig, TranslationError};

fn translate(from: &str, text: &str) -> Result<TranslatedConfig, TranslationError> {
    peers::translate(from, text, &Options::default())
}
