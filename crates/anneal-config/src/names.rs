//! The names of groups and controllers, which are names of log files too.

use std::collections::HashMap;
use thiserror::Error;

/// File names may be 255 bytes long, including what a metric adds before and after.
const MAX_LETTERS: usize = 100;

/// Why a name is not allowed for a group or a controller.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// It cannot be a file name.
    #[error(
        "`{name}` is not allowed as a name; allowed: 1 to {MAX_LETTERS} characters, at most 200 bytes, without \
         / \\ : * ? \" < > | and control characters, because metrics are logged in files of this name"
    )]
    NotAllowed {
        /// The name.
        name: String,
    },
    /// Two have it.
    #[error("two have the name `{name}`; use different names")]
    Twice {
        /// The name.
        name: String,
    },
    /// Two have names that give the same log files.
    #[error(
        "`{name}` and `{other}` would be logged in the same files, because Burn writes a space as _ and some file \
         systems ignore case; use different names"
    )]
    SameFile {
        /// The later name.
        name: String,
        /// The earlier one.
        other: String,
    },
}

impl NameError {
    /// The name with the error.
    pub fn name(&self) -> &str {
        match self {
            Self::NotAllowed { name } | Self::Twice { name } | Self::SameFile { name, .. } => name,
        }
    }
}

/// Checks the names of all groups, or of all controllers.
///
/// # Errors
/// [`NameError`] for the first that is not allowed.
pub fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), NameError> {
    let mut files: HashMap<String, &str> = HashMap::new();
    for name in names {
        let letters = name.chars().count();
        let forbidden = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
        let is_short = (1..=MAX_LETTERS).contains(&letters) && name.len() <= 200;
        let named = || name.to_string();
        if !is_short || name.contains(forbidden) {
            return Err(NameError::NotAllowed { name: named() });
        }
        match files.insert(name.replace(' ', "_").to_lowercase(), name) {
            Some(other) if other == name => return Err(NameError::Twice { name: named() }),
            Some(other) => {
                return Err(NameError::SameFile { name: named(), other: other.to_string() });
            }
            None => {}
        }
    }
    Ok(())
}
