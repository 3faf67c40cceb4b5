//! `[command]`: how a suite of any framework is discovered and run.

use std::time::Duration;

use seagull_domain::SuiteCommands;

use super::reader::Reader;
use crate::duration::{self, millis};
use crate::nearest::nearest;

const ID: &str = "{classname}::{name}";
const BATCH: Duration = Duration::from_secs(5);
/// What may stand in braces, the one that `discover` has first.
const PLACEHOLDERS: [&str; 3] = ["args", "ids", "junit"];
/// What stands for the arguments that a run was started with.
pub const ARGUMENTS: &str = "{args}";

/// None if the table is not there.
pub fn read(table: &mut Reader) -> anyhow::Result<Option<SuiteCommands>> {
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
        _ if !table.is_there() => Ok(None),
        (discover, _) => {
            let lacks = if discover.is_none() { "discover" } else { "run" };
            Err(table.lacks(lacks, "seagull docs command shows both"))
        }
    }
}

/// What is like a placeholder in a command, and is none there: a sentence each.
pub fn warnings(commands: &SuiteCommands) -> Vec<String> {
    let in_discover = strange("discover", &commands.discover, &PLACEHOLDERS[..1]);
    in_discover.into_iter().chain(strange("run", &commands.run, &PLACEHOLDERS)).collect()
}

fn strange(key: &str, words: &[String], known: &[&str]) -> Vec<String> {
    let names = words.iter().flat_map(|word| braced(word)).filter(|name| !known.contains(name));
    let warn = |name: &str| {
        let meant = nearest(name, PLACEHOLDERS)?;
        let instead =
            if known.contains(&meant) { format!("; did you mean {{{meant}}}?") } else { String::new() };
        Some(format!("[command] {key} has {{{name}}}, which stands for nothing{instead}"))
    };
    names.filter_map(warn).collect()
}

/// The words in braces, but for variables of a shell.
fn braced(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('{').filter_map(|(at, _)| {
        let (name, _) = text[at + 1..].split_once('}')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        (is_name && !text[..at].ends_with('$')).then_some(name)
    })
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
    use std::path::Path;

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
    fn what_is_like_a_placeholder_and_is_none_is_warned_of() {
        let warned = |discover: &str, run: &str| {
            let text = format!("[command]\ndiscover = '{discover}'\nrun = '{run}'");
            warnings(&command(&text).unwrap().unwrap())
        };
        let none: [String; 0] = [];
        assert_eq!(warned("a {args}", "a {ids} {junit} {args} {title} {filepath} ${id} {}"), none);
        let expected = [
            "[command] discover has {ids}, which stands for nothing",
            "[command] run has {idz}, which stands for nothing; did you mean {ids}?",
            "[command] run has {junitxml}, which stands for nothing; did you mean {junit}?",
        ];
        assert_eq!(warned("a {ids}", "a {idz} {junitxml}"), expected);
    }

    #[test]
    fn what_is_half_said_or_means_nothing_is_refused() {
        let table = [
            ("", "/suite/seagull.toml:1: [command] needs discover\nhint: seagull docs command"),
            ("run = 'x'", "/suite/seagull.toml:1: [command] needs discover"),
            ("discover = 'x'", "/suite/seagull.toml:1: [command] needs run\n"),
            ("discover = 'x'\nrum = 'x'", "/suite/seagull.toml:1: [command] needs run; unknown key rum\n"),
            ("batch = '1s'", "/suite/seagull.toml:1: [command] needs discover"),
            (
                "discover = []",
                "/suite/seagull.toml:2: command.discover = []: expected a text or a list of texts",
            ),
            (
                "discover = ['a', 1]",
                "/suite/seagull.toml:2: command.discover = ['a', 1]: expected a text or a list of texts",
            ),
            ("id = 'name'", "/suite/seagull.toml:2: command.id = 'name': expected attributes"),
            ("id = '{name'", "/suite/seagull.toml:2: command.id = '{name': expected attributes"),
            ("id = '{}'", "/suite/seagull.toml:2: command.id = '{}': expected attributes"),
        ];
        for (text, expected) in table {
            let error = command(&format!("[command]\n{text}")).unwrap_err();
            assert!(error.is::<crate::errors::Usage>());
            assert!(error.to_string().starts_with(expected), "{error}");
        }
    }
}
