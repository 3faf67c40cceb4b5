//! `[setup]`: what is prepared once on each executor.

use std::path::Path;

use seagull_executor::artifact::Patterns;

use super::command::Words;
use super::reader::Reader;
use crate::errors::usage;

/// The command and its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub run: Vec<String>,
    pub inputs: Vec<String>,
}

/// None if the table is not there.
pub fn read(file: &Path, table: &mut Reader) -> anyhow::Result<Option<Setup>> {
    let run = table.words("run")?.map(|words| match words {
        Words::Program(words) => words,
        // A line that fails is the end of it.
        Words::Shell(text) => ["/bin/sh", "-ec", &text].map(str::to_owned).to_vec(),
    });
    let inputs = patterns(table, "inputs")?;
    match (run, inputs) {
        (Some(run), inputs) => Ok(Some(Setup { run, inputs: inputs.unwrap_or_default() })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(usage(format!(
            "{}: [setup] needs run\nhint: docs/environment.md has recipes",
            file.display()
        ))),
    }
}

/// Patterns of files, checked.
pub fn patterns(table: &mut Reader, key: &'static str) -> anyhow::Result<Option<Vec<String>>> {
    table.texts_of(key, |texts| Patterns::parse("", texts).map(drop))
}

/// The name of a variable.
pub fn names(texts: &[String]) -> Result<(), String> {
    match texts.iter().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        Some(name) => Err(format!("expected names of variables, and not {name:?}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        Config::parse(Path::new("/suite/seagull.toml"), text)
    }

    #[test]
    fn a_command_is_a_program_or_a_script_that_ends_when_a_line_fails() {
        let setup = |text: &str| parse(text).unwrap().setup.unwrap();
        let program = setup("[setup]\nrun = ['make', 'env']\ninputs = ['Makefile', 'deps/**']");
        assert_eq!(program.run, ["make", "env"]);
        assert_eq!(program.inputs, ["Makefile", "deps/**"]);
        let script = setup("[setup]\nrun = '''\na\nb'''");
        assert_eq!(script.run, ["/bin/sh", "-ec", "a\nb"]);
        assert!(script.inputs.is_empty() && parse("").unwrap().setup.is_none());
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let table = [
            ("[setup]\ninputs = ['a']", "[setup] needs run"),
            ("[setup]\nrun = 'a'\ninputs = 'a'", "setup.inputs: expected a list of texts"),
            ("[setup]\nrun = 'a'\ninputs = ['../a']", "setup.inputs: expected paths and globs within"),
            ("[artifact]\ninclude = ['/a']", "artifact.include: expected paths and globs within"),
            ("[artifact]\nexclude = ['a[']", "artifact.exclude: expected paths and globs"),
            ("pass-env = [1]", "pass-env: expected a list of texts"),
            ("pass-env = ['A=b']", "pass-env: expected names of variables, and not \"A=b\""),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err();
            assert!(error.is::<crate::errors::Usage>());
            assert!(error.to_string().starts_with(&format!("/suite/seagull.toml: {expected}")), "{error}");
        }
    }
}
