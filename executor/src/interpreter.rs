//! Which Python runs the suite.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no Python at {0}\nhint: --python, or [pytest] python in seagull.toml, names an interpreter")]
    Configured(PathBuf),
    #[error(
        "no Python found\nhint: activate a virtual environment, make one in .venv, or name one with --python"
    )]
    None,
}

/// An interpreter, and what named it.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    pub by: &'static str,
}

/// The interpreter that is configured; else that of `VIRTUAL_ENV`, of `CONDA_PREFIX`, of the nearest `.venv` at or
/// above the suite's directory, within its repository; else the first on `PATH`.
pub fn find(configured: &str, directory: &Path) -> Result<PathBuf, Error> {
    search(configured, directory).map(|found| found.path)
}

/// As [`find`], with what it was found by.
pub fn search(configured: &str, directory: &Path) -> Result<Found, Error> {
    find_with(configured, directory, |name| std::env::var_os(name))
}

fn find_with(
    configured: &str,
    directory: &Path,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Found, Error> {
    let path = variable("PATH");
    if !configured.is_empty() {
        let path = match configured.contains('/') {
            true => Some(directory.join(configured)).filter(|path| path.is_file()),
            false => on_path(configured, path.as_deref()),
        };
        let path = path.ok_or_else(|| Error::Configured(configured.into()))?;
        return Ok(Found { path, by: "--python or seagull.toml" });
    }
    let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(|by| (by, variable(by).map(PathBuf::from)));
    let prefixes = active.into_iter().chain([(".venv", nearest_venv(directory))]);
    let pythons = prefixes.filter_map(|(by, prefix)| Some(Found { path: prefix?.join("bin/python"), by }));
    let on_path = |name| Some(Found { path: on_path(name, path.as_deref())?, by: "PATH" });
    let found = { pythons }.find(|python| python.path.is_file());
    found.or_else(|| on_path("python3")).or_else(|| on_path("python")).ok_or(Error::None)
}

fn nearest_venv(directory: &Path) -> Option<PathBuf> {
    let mut above_repository = false;
    let within = directory
        .ancestors()
        .take_while(|at| !std::mem::replace(&mut above_repository, at.join(".git").exists()));
    within.map(|at| at.join(".venv")).find(|venv| venv.is_dir())
}

fn on_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path?).map(|directory| directory.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_venv_of_the_repository_is_found_and_none_above_it() {
        let top = tempfile::tempdir().unwrap();
        let suite = top.path().join("repository/suite/tests");
        std::fs::create_dir_all(&suite).unwrap();
        std::fs::create_dir_all(top.path().join(".venv")).unwrap();
        std::fs::create_dir(top.path().join("repository/.git")).unwrap();
        assert_eq!(nearest_venv(&suite), None);
        let venv = top.path().join("repository/.venv");
        std::fs::create_dir(&venv).unwrap();
        assert_eq!(nearest_venv(&suite), Some(venv));
    }

    #[test]
    fn the_active_environment_comes_before_the_nearest_and_that_before_the_path() {
        let top = tempfile::tempdir().unwrap();
        let suite = top.path().join("suite");
        for place in ["active/bin", "conda/bin", "suite/.venv/bin", "on-path"] {
            std::fs::create_dir_all(top.path().join(place)).unwrap();
            std::fs::write(top.path().join(place).join("python"), "").unwrap();
        }
        let variables = [("VIRTUAL_ENV", "active"), ("CONDA_PREFIX", "conda"), ("PATH", "on-path")];
        let found = |names: &[&str]| {
            let variable = |name: &str| {
                let (_, value) =
                    variables.iter().find(|(known, _)| *known == name && names.contains(known))?;
                Some(top.path().join(value).into_os_string())
            };
            let found = find_with("", &suite, variable).ok()?;
            Some(Found { path: found.path.strip_prefix(top.path()).unwrap().to_owned(), by: found.by })
        };
        let expected = |place: &str, by| Some(Found { path: PathBuf::from(place).join("python"), by });
        assert_eq!(found(&["VIRTUAL_ENV", "CONDA_PREFIX", "PATH"]), expected("active/bin", "VIRTUAL_ENV"));
        assert_eq!(found(&["CONDA_PREFIX", "PATH"]), expected("conda/bin", "CONDA_PREFIX"));
        assert_eq!(found(&["PATH"]), expected("suite/.venv/bin", ".venv"));
        std::fs::remove_dir_all(suite.join(".venv")).unwrap();
        assert_eq!(found(&["PATH"]), expected("on-path", "PATH"));
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn a_configured_interpreter_is_taken_or_missed_by_name() {
        assert!(find("python3", Path::new("/")).unwrap().ends_with("python3"));
        let error = find("./no/python", Path::new("/")).unwrap_err().to_string();
        assert!(error.contains("hint:"), "{error}");
    }
}
