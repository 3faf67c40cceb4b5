//! `--archive`: tests that `cargo nextest archive` has packed, in place of a build.
#![expect(clippy::disallowed_methods, reason = "a shell: reading and unpacking block")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use seagull_domain::{Built, Digest};
use seagull_executor::adapters::cargo::{Archive, Exported};
use seagull_executor::artifact::{Cache, Pinned};

use super::spec;
use crate::cli;
use crate::errors::usage;
use crate::framework::Name;
use crate::place::Place;

const HINT: &str = "hint: cargo nextest archive --archive-file FILE makes one";

/// What is asked for.
pub struct Wanted {
    file: PathBuf,
    /// Of the test binaries.
    arguments: Vec<String>,
    /// Where executors unpack artifacts on this machine.
    state: PathBuf,
}

/// The archive, unpacked, and in place as long as this lives.
pub struct Opened {
    archive: Archive,
    arguments: Vec<String>,
    file: PathBuf,
    files: Pinned,
}

impl Wanted {
    /// None without `--archive`.
    pub fn of(args: &cli::Run, state: &Path) -> anyhow::Result<Option<Wanted>> {
        let Some(file) = args.what.archive.clone() else { return Ok(None) };
        if args.what.suite.framework.is_some_and(|name| name != Name::Cargo) {
            return Err(usage("--archive has tests of cargo's\nhint: leave --framework away"));
        }
        let arguments = arguments(&args.paths, &args.arguments)?;
        Ok(Some(Wanted { file, arguments, state: state.to_owned() }))
    }

    pub async fn open(self) -> anyhow::Result<Opened> {
        let Wanted { file, arguments, state } = self;
        let path = file.clone();
        let digest = tokio::task::spawn_blocking(move || digest(&path)).await?;
        let digest =
            digest.map_err(|error| usage(format!("--archive {}: {error}\n{HINT}", file.display())))?;
        let source = &file;
        let copy = |mut copy: File| async move { io::copy(&mut File::open(source)?, &mut copy).map(drop) };
        let refuse = |why: &dyn std::fmt::Display| {
            usage(format!("{} is no archive of cargo nextest: {why}\n{HINT}", file.display()))
        };
        let cache = Cache::of_state(&state).context("archives cannot be unpacked")?;
        let files = cache.get_or_fetch(digest, copy).await.map_err(|error| refuse(&error))?;
        let archive = Archive::read(files.path()).map_err(|error| refuse(&error))?;
        Ok(Opened { archive, arguments, file, files })
    }
}

impl Opened {
    /// What is sent to executors.
    pub fn export(&self) -> anyhow::Result<Exported> {
        self.archive.export(&self.arguments).map_err(usage)
    }

    /// The workspace that the archive was made of, in or above a directory.
    pub fn workspace(&self, place: &Place) -> anyhow::Result<PathBuf> {
        let directory = place.directory.canonicalize()?;
        let top = place.repository.as_deref().and_then(|top| top.canonicalize().ok());
        let top = top.unwrap_or_else(|| directory.clone());
        let packages = self.archive.packages();
        let fits = |workspace: &&Path| {
            packages.values().all(|inside| workspace.join(inside).join("Cargo.toml").is_file())
        };
        let found = directory.ancestors().take_while(|above| above.starts_with(&top)).find(fits);
        found.map(Path::to_owned).ok_or_else(|| {
            let packages: Vec<_> =
                packages.iter().map(|(name, inside)| format!("{name} in {:?}", inside.display().to_string())).collect();
            usage(format!(
                "{} is of a workspace that is not here, with {}\nhint: run it in the workspace that it was made of",
                self.file.display(),
                packages.join(", ")
            ))
        })
    }

    /// For tests in this work tree. They run where the archive is unpacked, which lives as long as what is returned.
    pub fn in_place(self, place: &Place) -> anyhow::Result<(Built, Pinned)> {
        let tree = spec::text(&self.workspace(place)?)?;
        let text = self.export()?.list;
        // Of the same archive there may be runs with other arguments.
        let hash = blake3::hash(text.as_bytes()).to_hex();
        let list = self.files.path().join(format!("tests-{}.json", &hash[..16]));
        let new = tempfile::NamedTempFile::new_in(self.files.path())?;
        fs::write(new.path(), text)?;
        new.persist(&list)?;
        Ok((Built { list: spec::text(&list)?, tree }, self.files))
    }
}

fn digest(file: &Path) -> io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(file)?, &mut hasher)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// The filter, and what stands after a second `--`, as cargo would hand it on.
fn arguments(paths: &[String], arguments: &[String]) -> anyhow::Result<Vec<String>> {
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    if let Some(option) = arguments[..end].iter().find(|argument| argument.starts_with('-')) {
        return Err(usage(format!(
            "--archive: {option} is for cargo, which builds nothing here\n\
             hint: --select chooses among the tests of the archive; what the tests themselves take stands after a second \
             --, as in seagull run --archive FILE -- -- --ignored"
        )));
    }
    let own = arguments[end..].iter().skip(1);
    Ok(paths.iter().chain(&arguments[..end]).chain(own).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tests_get_what_is_theirs_and_cargos_options_are_refused() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let given =
            |paths: &str, after: &str| arguments(&words(paths), &words(after)).map(|given| given.join(" "));
        assert_eq!(given("parser", "").unwrap(), "parser");
        assert_eq!(given("", "parser -- --ignored -- x").unwrap(), "parser --ignored -- x");
        for option in ["-p core", "--features fast --", "x --release"] {
            let error = given("", option).unwrap_err();
            assert!(
                error.is::<crate::errors::Usage>() && error.to_string().contains("hint: --select"),
                "{error}"
            );
        }
    }
}
