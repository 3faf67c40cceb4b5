//! `[setup]`: what is prepared once on each executor.

use seagull_executor::artifact::Patterns;

use super::command::Words;
use super::reader::Reader;

/// The command and its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    pub run: Vec<String>,
    pub inputs: Vec<String>,
}

/// None if the table is not there.
pub fn read(table: &mut Reader) -> anyhow::Result<Option<Setup>> {
    let run = table.words("run")?.map(|words| match words {
        Words::Program(words) => words,
        // A line that fails is the end of it.
        Words::Shell(text) => ["/bin/sh", "-ec", &text].map(str::to_owned).to_vec(),
    });
    let inputs = patterns(table, "inputs")?;
    match run {
        Some(run) => Ok(Some(Setup { run, inputs: inputs.unwrap_or_default() })),
        None if table.is_there() => Err(table.lacks("run", "seagull docs environment has recipes")),
        None => Ok(None),
    }
}

/// Patterns of files, checked.
pub fn patterns(table: &mut Reader, key: &'static str) -> anyhow::Result<Option<Vec<String>>> {
    table.texts_of(key, |texts| Patterns::parse("", texts).map(drop))
}

/// The name of a variable.
pub fn names(texts: &[String]) -> Result<(), String> {
    match texts.iter().find(|name| !is_variable(name)) {
        Some(name) => Err(format!("expected names of variables, and not {name:?}")),
        None => Ok(()),
    }
}

pub fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

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
            ("[setup]\ninputs = ['a']", "1: [setup] needs run\nhint: seagull docs environment"),
            ("[setup]", "1: [setup] needs run\nhint: seagull docs environment"),
            ("[setup]\nruns = 'a'", "1: [setup] needs run; unknown key runs\nhint: seagull docs environment"),
            ("\n[setup]\ncommand = 'a'", "2: [setup] needs run; unknown key command\n"),
            ("[setup]\nrun = 'a'\ninputs = 'a'", "3: setup.inputs = 'a': expected a list of texts"),
            (
                "[setup]\nrun = 'a'\ninputs = ['../a']",
                "3: setup.inputs = ['../a']: expected paths and globs within",
            ),
            ("[artifact]\ninclude = ['/a']", "2: artifact.include = ['/a']: expected paths and globs within"),
            ("[artifact]\nexclude = ['a[']", "2: artifact.exclude = ['a[']: expected paths and globs"),
            ("pass-env = [1]", "1: pass-env = [1]: expected a list of texts"),
            ("pass-env = ['A=b']", "1: pass-env = ['A=b']: expected names of variables, and not \"A=b\""),
            ("[env]\n'A=B' = 'x'", "2: env.A=B: expected the name of a variable"),
        ];
        for (text, expected) in table {
            let error = parse(text).unwrap_err();
            assert!(error.is::<crate::errors::Usage>());
            assert!(error.to_string().starts_with(&format!("/suite/seagull.toml:{expected}")), "{error}");
        }
    }
}
