//! Which framework runs a suite: the one that is asked for, or the one that the directory shows.

use std::ffi::OsStr;
use std::path::Path;
use std::str::FromStr;
use std::{fmt, fs};

use seagull_domain::{Framework, RunSpec};

use crate::again::quoted;
use crate::cli;
use crate::config::ARGUMENTS;
use crate::errors::usage;
use crate::place::Place;

/// Files that only a pytest suite has, and sections of others.
const FILES: [&str; 6] =
    ["pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "conftest.py", "tests/conftest.py"];
const SECTIONS: [(&str, &str); 3] =
    [("pyproject.toml", "[tool.pytest"), ("setup.cfg", "[tool:pytest]"), ("tox.ini", "[pytest]")];

/// By which argument pytest takes names of packages.
pub const PACKAGES: &str = "--pyargs";
/// Files of Python projects, whose tests are pytest's though nothing shows it.
const OF_PYTHON: [&str; 4] = ["pyproject.toml", "setup.py", "setup.cfg", "tox.ini"];
/// Files of suites that run by `[command]`.
const OF_OTHERS: [&str; 9] = [
    "go.mod",
    "package.json",
    "pom.xml",
    "build.gradle",
    "build.gradle.kts",
    "mix.exs",
    "Gemfile",
    "composer.json",
    "CMakeLists.txt",
];
/// What to do where there is one.
pub const BY_COMMAND: &str =
    "[command] in seagull.toml runs any framework: seagull docs command has recipes for Go, Jest and Maven";

/// A framework by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Pytest,
    Cargo,
    Command,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Name::Pytest => "pytest",
            Name::Cargo => "cargo",
            Name::Command => "command",
        })
    }
}

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "pytest" => Ok(Name::Pytest),
            "cargo" => Ok(Name::Cargo),
            "command" => Ok(Name::Command),
            _ => Err("expected pytest, cargo or command".to_owned()),
        }
    }
}

/// The name of what is to run the tests, and what says so, if anything does.
pub fn name(args: &cli::Run, place: &Place) -> (Name, Option<String>) {
    let config = &place.config;
    let is_python = |path: &String| path.split("::").next().is_some_and(|file| file.ends_with(".py"));
    let configured = config.framework.or(config.command.as_ref().map(|_| Name::Command));
    match (args.what.suite.framework, configured) {
        _ if args.what.archive.is_some() => (Name::Cargo, Some("--archive".to_owned())),
        (Some(name), _) => (name, Some("--framework".to_owned())),
        (None, Some(name)) => (name, Some("seagull.toml".to_owned())),
        _ if args.paths.iter().any(is_python) => (Name::Pytest, Some("the paths that are given".to_owned())),
        _ if args.arguments.iter().any(|argument| argument == PACKAGES) => {
            (Name::Pytest, Some(PACKAGES.to_owned()))
        }
        _ => {
            let shown = shown(&place.directory, place.repository.as_deref());
            shown.map_or((Name::Pytest, None), |(name, sign)| (name, Some(sign)))
        }
    }
}

/// What is to run the tests.
pub fn choose(args: &cli::Run, place: &Place) -> anyhow::Result<Framework> {
    match (name(args, place).0, &place.config.command) {
        (Name::Pytest, _) => Ok(Framework::Pytest),
        (Name::Cargo, _) => Ok(Framework::Cargo),
        (Name::Command, None) => Err(usage(
            "the framework command needs [command] in seagull.toml\nhint: seagull docs command shows how",
        )),
        (Name::Command, Some(commands)) => {
            let given = args.paths.iter().chain(&args.arguments).next();
            match given.filter(|_| !commands.discover.iter().any(|word| word == ARGUMENTS)) {
                Some(given) => Err(usage(format!(
                    "{given} goes nowhere: [command] discover has no {ARGUMENTS}\nhint: --select runs a part of what is discovered"
                ))),
                None => Ok(Framework::Command(Box::new(commands.clone()))),
            }
        }
    }
}

/// The command line with which the framework alone lists the tests of a run. `python` is its interpreter, where that is
/// known.
pub fn listing(spec: &RunSpec, python: Option<&str>) -> String {
    let arguments = spec.arguments.iter().map(String::as_str);
    match &spec.suite.framework {
        Framework::Pytest => {
            let program = pytest(python);
            let words = program.iter().map(String::as_str).chain(["--collect-only", "-q"]);
            quoted(words.chain(arguments))
        }
        Framework::Cargo | Framework::Built(_) => {
            let dashes = (!spec.arguments.iter().any(|argument| argument == "--")).then_some("--");
            quoted(["cargo", "test"].into_iter().chain(arguments).chain(dashes).chain(["--list"]))
        }
        Framework::Command(commands) => match commands.discover.as_slice() {
            // A line for the shell is shown as one.
            [shell, flag, line, ..] if shell == "/bin/sh" && flag == "-c" => {
                line.replace("\"$@\"", &quoted(arguments))
            }
            words => {
                let given = |word: &String| match word.as_str() {
                    ARGUMENTS => spec.arguments.clone(),
                    _ => vec![word.clone()],
                };
                quoted(words.iter().flat_map(given))
            }
        },
    }
}

/// pytest as a worker starts it: as its own command, where that is beside the interpreter, or where nothing is known of
/// that. `-m pytest` finds modules of the working directory besides.
pub fn pytest(python: Option<&str>) -> Vec<String> {
    let Some(python) = python else { return vec!["pytest".to_owned()] };
    let script = Path::new(python).with_file_name("pytest");
    match script.to_str().filter(|_| python.contains('/') && script.is_file()) {
        Some(script) => vec![script.to_owned()],
        None => [python, "-m", "pytest"].map(str::to_owned).to_vec(),
    }
}

/// What runs the tests of a directory, and which file shows it: the first there, or above it in its repository. The beginning
/// of another project ends the search.
pub fn shown(directory: &Path, top: Option<&Path>) -> Option<(Name, String)> {
    let top = top.unwrap_or(directory);
    for (height, above) in directory.ancestors().take_while(|above| above.starts_with(top)).enumerate() {
        let cargo = || above.join("Cargo.toml").is_file().then(|| (Name::Cargo, "Cargo.toml".to_owned()));
        let found = pytest_sign(above).map(|sign| (Name::Pytest, sign)).or_else(cargo);
        if let Some((name, sign)) = found {
            return Some((name, "../".repeat(height) + &sign));
        }
        if other_sign(above).is_some() || OF_PYTHON.iter().any(|file| above.join(file).is_file()) {
            return None;
        }
    }
    None
}

/// The file of another framework's suite, where nothing shows the one that runs.
pub fn sign_of_another(args: &cli::Run, place: &Place) -> Option<&'static str> {
    let is_shown = name(args, place).1.is_some() || !args.paths.is_empty();
    if is_shown { None } else { other_sign(&place.directory) }
}

/// By which file a directory shows a framework that runs by `[command]`.
pub fn other_sign(directory: &Path) -> Option<&'static str> {
    OF_OTHERS.into_iter().find(|file| directory.join(file).is_file())
}

fn pytest_sign(directory: &Path) -> Option<String> {
    let says = |(file, section): &(&str, &str)| {
        fs::read_to_string(directory.join(file)).is_ok_and(|text| text.contains(section))
    };
    let is_test = |name: &OsStr| {
        let stem = name.to_str().and_then(|name| name.strip_suffix(".py"));
        stem.is_some_and(|stem| stem.starts_with("test_") || stem.ends_with("_test"))
    };
    let test_in = |folder: &str| {
        let entries = fs::read_dir(directory.join(folder)).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name()).filter(|name| is_test(name));
        names.next().map(|name| Path::new(folder).join(name).to_string_lossy().into_owned())
    };
    let file = FILES.into_iter().find(|file| directory.join(file).is_file());
    let section = || SECTIONS.into_iter().find(says).map(|(file, _)| file);
    file.or_else(section).map(str::to_owned).or_else(|| ["", "tests", "test"].into_iter().find_map(test_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pytest_is_its_own_command_where_that_is_beside_the_interpreter() {
        let bin = tempfile::tempdir().unwrap();
        let python = bin.path().join("python").to_string_lossy().into_owned();
        assert_eq!(pytest(Some(&python)), [&python, "-m", "pytest"]);
        let script = bin.path().join("pytest");
        fs::write(&script, "").unwrap();
        assert_eq!(pytest(Some(&python)), [script.to_string_lossy()]);
        assert_eq!(pytest(Some("python3")), ["python3", "-m", "pytest"]);
        assert_eq!(pytest(None), ["pytest"]);
    }

    #[test]
    fn names_of_packages_are_for_pytest() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path().to_owned()).unwrap();
        let mut args = cli::Run { arguments: vec!["networkx".into()], ..Default::default() };
        assert_eq!(name(&args, &place), (Name::Pytest, None));
        args.arguments.insert(0, PACKAGES.into());
        assert_eq!(name(&args, &place), (Name::Pytest, Some(PACKAGES.into())));
    }

    #[test]
    fn the_directory_shows_what_runs_its_tests() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let remove = |path: &str| fs::remove_file(directory.path().join(path)).unwrap();
        let shown = || shown(directory.path(), None);
        assert_eq!(shown(), None);
        let another = || {
            let place = Place::at(directory.path().to_owned()).unwrap();
            sign_of_another(&cli::Run::default(), &place)
        };
        assert_eq!(another(), None);
        write("go.mod", "module m");
        assert_eq!(another(), Some("go.mod"));
        write("Cargo.toml", "[package]");
        assert_eq!(another(), None);
        write("tests/it.rs", "");
        write("tests/deep/test_a.py", "");
        write("pyproject.toml", "[build-system]");
        assert_eq!(shown(), Some((Name::Cargo, "Cargo.toml".to_owned())));
        for (file, text) in [
            ("conftest.py", ""),
            ("tests/test_a.py", ""),
            ("a_test.py", ""),
            ("tox.ini", "[tox]\n[pytest]\n"),
            ("pyproject.toml", "[tool.pytest.ini_options]"),
        ] {
            write(file, text);
            assert_eq!(shown(), Some((Name::Pytest, file.to_owned())));
            remove(file);
        }
    }

    #[test]
    fn what_is_above_in_the_repository_shows_it_unless_another_project_begins_below() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let write = |path: &str| {
            fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            fs::write(top.join(path), "").unwrap();
        };
        for file in
            ["repo/Cargo.toml", "repo/src/deep/lib.rs", "repo/python/pyproject.toml", "repo/go/x/go.mod"]
        {
            write(file);
        }
        write("repo/python/pkg/__init__.py");
        let repo = top.join("repo");
        let shown = |path: &str| shown(&repo.join(path), Some(&repo));
        assert_eq!(shown("src/deep"), Some((Name::Cargo, "../../Cargo.toml".to_owned())));
        assert_eq!((shown("python/pkg"), shown("go/x")), (None, None));
        assert_eq!(
            super::shown(&repo.join("src"), None),
            None,
            "without a repository only the directory counts"
        );
        write("repo/src/conftest.py");
        assert_eq!(shown("src/deep"), Some((Name::Pytest, "../conftest.py".to_owned())));
    }
}
