//! Paths that are given and are not there: said before anything is started, with what was probably meant.

use std::fs;
use std::path::{Path, PathBuf};

use seagull_executor::interpreter;

use crate::cli;
use crate::errors::usage;
use crate::framework::{self, Name, PACKAGES};
use crate::git;
use crate::nearest::nearest;
use crate::place::Place;
use crate::report::count;

/// An error for the first path of a pytest run that surely is one and is not there.
pub fn check(args: &cli::Run, place: &Place) -> anyhow::Result<()> {
    let elsewhere = args.at.rev.is_some() || args.arguments.iter().any(|argument| argument == PACKAGES);
    if elsewhere || framework::name(args, place).0 != Name::Pytest {
        return Ok(());
    }
    for given in &args.paths {
        let path = given.split("::").next().unwrap_or_default();
        if place.directory.join(path).symlink_metadata().is_ok() {
            continue;
        }
        let meant = meant(&place.directory, Path::new(path));
        let number = path.parse::<u32>().ok();
        let names_base = args.how.changed.as_deref() == Some("") && is_revision(place, path);
        if number.is_none() && !names_base && !is_path(path) && meant.is_none() {
            continue;
        }
        let hint = match (number, meant) {
            (Some(number), _) if args.how.fail_fast == Some(1) => {
                format!("--fail-fast={path} stops after {}", count(number, "failure"))
            }
            _ if names_base => format!("--changed={path} goes by what differs from {path}"),
            (_, Some(meant)) => format!("did you mean {}?", meant.display()),
            (_, None) => format!("paths are relative to {}", place.directory.display()),
        };
        return Err(usage(format!("{path}: there is no such file or directory\nhint: {hint}")));
    }
    Ok(())
}

/// An error for an interpreter that is named for tests here and is not there.
pub fn check_interpreter(args: &cli::Run, place: &Place) -> anyhow::Result<()> {
    let named = args.what.suite.python.as_deref().filter(|_| args.at.scheduler.is_none());
    let found = named.map_or(Ok(()), |python| interpreter::find(python, &place.directory).map(drop));
    found.map_err(|error| usage(error.to_string()))
}

/// And no name of a package, nor a file of arguments.
fn is_path(given: &str) -> bool {
    !given.starts_with('@') && (given.contains('/') || given.ends_with(".py"))
}

fn is_revision(place: &Place, given: &str) -> bool {
    place.repository.as_deref().is_some_and(|top| git::named(top, given).is_some())
}

/// The path below a folder of tests, or with the first part that is not there replaced by what is, if that is like it.
fn meant(directory: &Path, path: &Path) -> Option<PathBuf> {
    let below = ["tests", "test"].map(|folder| Path::new(folder).join(path));
    if let Some(below) = below.into_iter().find(|below| directory.join(below).exists()) {
        return Some(below);
    }
    let mut there = PathBuf::new();
    let mut parts = path.components();
    for part in parts.by_ref() {
        let next = there.join(part);
        if directory.join(&next).symlink_metadata().is_ok() {
            there = next;
            continue;
        }
        let entries = fs::read_dir(directory.join(&there)).ok()?.flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let name = nearest(part.as_os_str().to_str()?, names.iter().map(String::as_str))?;
        let named = there.join(name);
        let whole: PathBuf = named.components().chain(parts).collect();
        return Some(if directory.join(&whole).exists() { whole } else { named });
    }
    None
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_path_that_is_not_there_is_refused_with_what_was_meant() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("tests/unit")).unwrap();
        for file in ["tests/unit/test_cart.py", "test_a.py"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        let place = Place::at(directory.path().to_owned()).unwrap();
        let refusal = |line: &str| {
            let words = ["seagull", "run"].into_iter().chain(line.split_whitespace());
            match cli::Cli::parse_from(words).command {
                cli::Command::Run(run) => check(&run, &place).err(),
                other => panic!("{other:?}"),
            }
        };
        for line in ["", "tests test_a.py::x[a/b]", "mypackage --  -q", "pkg/x.py -- --pyargs", "@list/of"] {
            assert_eq!(refusal(line).map(|error| error.to_string()), None, "{line}");
        }
        let table = [
            ("tests/unit/test_kart.py::test_x", "did you mean tests/unit/test_cart.py?"),
            ("test/unit/test_cart.py", "did you mean tests/unit/test_cart.py?"),
            ("test_a.py tets", "did you mean tests?"),
            ("unit/test_cart.py::test_x", "did you mean tests/unit/test_cart.py?"),
            ("nowhere/at/all.py", "paths are relative to "),
            ("--fail-fast 3", "--fail-fast=3 stops after 3 failures"),
        ];
        for (line, hint) in table {
            let error = refusal(line).unwrap();
            assert!(
                error.is::<crate::errors::Usage>() && error.to_string().contains(hint),
                "{line}: {error}"
            );
        }
        let cargo = "--framework cargo nowhere/at/all.py";
        assert!(refusal(cargo).is_none());
    }
}
