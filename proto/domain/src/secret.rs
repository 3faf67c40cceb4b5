//! Where an executor finds a secret. A run has only this of it, never the value.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What executors keep for themselves.
const INTERNAL: &str = "SEAGULL_";

/// A place on the executor's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SecretSource {
    /// A variable of the executor's.
    Variable(String),
    /// All of a file but its last line break.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Variable(name) => write!(f, "env:{name}"),
            SecretSource::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl FromStr for SecretSource {
    type Err = String;

    fn from_str(text: &str) -> Result<SecretSource, String> {
        let name = text.strip_prefix("env:").filter(|name| !name.is_empty() && !name.contains(['=', '\0']));
        let file = text.strip_prefix("file:").filter(|path| !path.contains('\0')).map(Path::new);
        match (name, file.filter(|path| path.is_absolute())) {
            (Some(name), _) if name.starts_with(INTERNAL) => {
                Err(format!("variables that begin with {INTERNAL} are for seagull alone"))
            }
            (Some(name), _) => Ok(SecretSource::Variable(name.to_owned())),
            (None, Some(path)) => Ok(SecretSource::File(path.to_owned())),
            (None, None) => Err("expected env:NAME or file:/PATH, where an executor finds it".to_owned()),
        }
    }
}

impl TryFrom<String> for SecretSource {
    type Error = String;

    fn try_from(text: String) -> Result<SecretSource, String> {
        text.parse()
    }
}

impl From<SecretSource> for String {
    fn from(source: SecretSource) -> String {
        source.to_string()
    }
}

/// Whether a secret may be had as a file of this name, in a directory of secrets.
pub fn is_file_name(name: &str) -> bool {
    !name.contains('/') && !["", ".", ".."].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_variable_or_a_file_and_never_a_value() {
        for text in ["env:TOKEN", "file:/run/secrets/token", "file:/a b=c"] {
            assert_eq!(text.parse::<SecretSource>().unwrap().to_string(), text);
        }
        for text in ["", "hunter2", "env:", "env:A=b", "env:A\0", "file:", "file:token", "file:/a\0"] {
            let refusal = text.parse::<SecretSource>().unwrap_err();
            assert!(refusal.starts_with("expected env:NAME or file:/PATH"), "{text:?}: {refusal}");
        }
        assert!("env:SEAGULL_TOKEN".parse::<SecretSource>().is_err());
    }
}
