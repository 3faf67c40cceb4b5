//! `[command]`: how a suite of any framework is discovered and run.

use std::path::Path;
use std::time::Duration;

use seagull_domain::SuiteCommands;

use super::reader::Reader;
use crate::duration::{self, millis};
use crate::errors::usage;

const ID: &str = "{classname}::{name}";
const BATCH: Duration = Duration::from_secs(5);
/// What stands for the arguments that a run was started with.
pub const ARGUMENTS: &str = "{args}";

/// None if the table is not there.
pub fn read(file: &Path, table: &mut Reader) -> anyhow::Result<Option<SuiteCommands>> {
    let [discover, run] = [table.words("discover")?, table.words("run")?].map(|words| words.map(for_shell));
    let id = table.parsed("id", pattern)?;
    let batch = table.parsed("batch", duration::parse)?;
    match (discover, run) {
        (Some(discover), Some(run)) => Ok(Some(SuiteCommands {
            discover,
            run,
            id: id.unwrap_or_else(|| ID.to_owned()),
            batch_ms: millis(batch.unwrap_or(BATCH)),
        })),
        (None, None) if id.is_none() && batch.is_none() => Ok(None),
        (discover, _) => {
            let lacks = if discover.is_none() { "discover" } else { "run" };
            Err(usage(format!(
                "{}: [command] needs {lacks}\nhint: docs/command.md shows both",
                file.display()
            )))
        }
    }
}

/// A command as it is written.
pub enum Words {
    Shell(String),
    Program(Vec<String>),
}

/// A text is for the shell, where the arguments are its own.
fn for_shell(words: Words) -> Vec<String> {
    let text = match words {
        Words::Program(words) => return words,
        Words::Shell(text) => text,
    };
    let takes_arguments = text.contains(ARGUMENTS);
    let shell = ["/bin/sh".to_owned(), "-c".to_owned(), text.replace(ARGUMENTS, "\"$@\""), "sh".to_owned()];
    shell.into_iter().chain(takes_arguments.then(|| ARGUMENTS.to_owned())).collect()
}

/// Attributes of a testcase in braces, and the suite's name.
fn pattern(text: &str) -> Result<String, String> {
    let expected = || "expected attributes of a testcase in braces, such as {classname}::{name}".to_owned();
    let mut rest = text;
    let mut names = 0;
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or_else(expected)?;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            return Err(expected());
        }
        (names, rest) = (names + 1, after);
    }
    if names == 0 || text.len() > 256 { Err(expected()) } else { Ok(text.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn command(text: &str) -> anyhow::Result<Option<SuiteCommands>> {
        Config::parse(Path::new("/suite/seagull.toml"), text).map(|config| config.command)
    }

    #[test]
    fn a_list_is_a_program_and_a_text_is_for_the_shell() {
        let commands = command(
            "[command]\ndiscover = ['list', '{args}']\nrun = 'run < {ids} > {junit} {args}'\nbatch = '0s'\nid = '{file}.{name}'",
        );
        let commands = commands.unwrap().unwrap();
        assert_eq!(commands.discover, ["list", "{args}"]);
        assert_eq!(commands.run, ["/bin/sh", "-c", "run < {ids} > {junit} \"$@\"", "sh", "{args}"]);
        assert_eq!((commands.batch_ms, commands.id.as_str()), (0, "{file}.{name}"));
        let commands = command("[command]\ndiscover = 'a'\nrun = 'b'").unwrap().unwrap();
        assert_eq!(commands.discover, ["/bin/sh", "-c", "a", "sh"]);
        assert_eq!((commands.batch_ms, commands.id.as_str()), (5000, "{classname}::{name}"));
        assert_eq!(command("").unwrap(), None);
    }

    #[test]
    fn what_is_half_said_or_means_nothing_is_refused() {
        let table = [
            ("run = 'x'", "/suite/seagull.toml: [command] needs discover"),
            ("discover = 'x'", "/suite/seagull.toml: [command] needs run"),
            ("batch = '1s'", "/suite/seagull.toml: [command] needs discover"),
            ("discover = []", "/suite/seagull.toml: command.discover: expected a text or a list of texts"),
            (
                "discover = ['a', 1]",
                "/suite/seagull.toml: command.discover: expected a text or a list of texts",
            ),
            ("id = 'name'", "/suite/seagull.toml: command.id: expected attributes"),
            ("id = '{name'", "/suite/seagull.toml: command.id: expected attributes"),
            ("id = '{}'", "/suite/seagull.toml: command.id: expected attributes"),
        ];
        for (text, expected) in table {
            let error = command(&format!("[command]\n{text}")).unwrap_err();
            assert!(error.is::<crate::errors::Usage>());
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
