//! The command that runs the same suite again, for a person to paste.

use crate::cli;

/// What of a command line says which suite is run, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Again {
    options: Vec<String>,
    /// Options that only `seagull run` has.
    of_run: Vec<String>,
    paths: Vec<String>,
    arguments: Vec<String>,
}

impl Again {
    pub fn of(args: &cli::Run) -> Again {
        let path = |path: &std::path::PathBuf| path.to_string_lossy().into_owned();
        let given = [
            ("--project", args.what.suite.project.clone()),
            ("--framework", args.what.suite.framework.map(|name| name.to_string())),
            ("--python", args.what.suite.python.clone()),
            (
                "--scheduler",
                args.at.scheduler.as_ref().map(|url| url.to_string().trim_end_matches('/').to_owned()),
            ),
            ("--token-file", args.at.token.token_file.as_ref().map(path)),
            ("--tls-ca", args.at.tls.tls_ca.as_ref().map(path)),
            ("--state", args.at.state.state.as_ref().map(path)),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some([name.to_owned(), value?]));
        Again {
            options: given.flatten().collect(),
            of_run: args.at.rev.iter().flat_map(|rev| ["--rev".to_owned(), rev.clone()]).collect(),
            paths: args.paths.clone(),
            arguments: args.arguments.clone(),
        }
    }

    /// What looks at whether all is in place for the same suite.
    pub fn doctor(&self) -> String {
        self.command("doctor", [])
    }

    /// The command line with these options, quoted for a shell.
    pub fn with(&self, options: &[&str]) -> String {
        self.command("run", options.iter().copied().chain(self.of_run.iter().map(String::as_str)))
    }

    fn command<'a>(&'a self, name: &'a str, options: impl IntoIterator<Item = &'a str>) -> String {
        let words = ["seagull", name].into_iter().chain(options);
        let dashes = (!self.arguments.is_empty()).then_some("--");
        let suite = self.options.iter().chain(&self.paths).map(String::as_str).chain(dashes);
        let words = words.chain(suite).chain(self.arguments.iter().map(String::as_str));
        quoted(words)
    }
}

/// Words as a POSIX shell reads them.
pub fn quoted(words: impl IntoIterator<Item: AsRef<str>>) -> String {
    words.into_iter().map(|word| quoted_word(word.as_ref())).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell reads it.
pub fn quoted_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn again(arguments: &[&str]) -> String {
        let whole = ["seagull", "run"].iter().chain(arguments);
        match cli::Cli::parse_from(whole).command {
            cli::Command::Run(run) => Again::of(&run).with(&["--select", "last-failed"]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_names_the_same_suite_in_the_same_place() {
        assert_eq!(again(&["--retries", "2"]), "seagull run --select last-failed");
        let nowhere = Again { paths: vec!["tests".into()], ..Again::default() };
        assert_eq!(nowhere.doctor(), "seagull doctor tests");
        assert_eq!(
            again(&["tests", "--", "-m", "not slow"]),
            "seagull run --select last-failed tests -- -m 'not slow'"
        );
        let there = ["--scheduler", "http://127.0.0.1:7878", "--token-file", "it's", "--", "--pyargs", "x"];
        assert_eq!(
            again(&there),
            r"seagull run --select last-failed --scheduler http://127.0.0.1:7878 --token-file 'it'\''s' -- --pyargs x"
        );
        let there = again(&["--scheduler", "http://127.0.0.1:7878", "--rev", "v1"]);
        assert_eq!(there, "seagull run --select last-failed --rev v1 --scheduler http://127.0.0.1:7878");
    }
}
