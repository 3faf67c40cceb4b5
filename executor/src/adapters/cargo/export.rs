//! From what cargo built here to what can be started elsewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Build, programs, set_by_scripts};
use super::built::{Entry, List, Moved, Place};
use super::libraries::{VARIABLE, needed};
use super::target::Target;
use crate::adapters::libtest;

/// Where the target directory's part and the libraries go.
const TARGET: &str = "target";
const LIBRARIES: &str = "lib";
/// Variables of cargo's and of shells that say nothing of a test, but where things are on the machine that builds.
const OF_THIS_MACHINE: [&str; 9] =
    ["CARGO", "CARGO_HOME", "PATH", "RUST_RECURSION_COUNT", VARIABLE, "PWD", "OLDPWD", "SHLVL", "_"];
/// What begins the names of variables that cargo gives to tests.
const OF_TESTS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_", "OUT_DIR"];

/// The environment that cargo is started in.
pub type Given = HashMap<OsString, OsString>;

/// What is sent beside a tree, so that its tests run without cargo.
#[derive(Default)]
pub struct Exported {
    /// The content of [`super::LIST`].
    pub list: String,
    /// Where each file goes, and where it is.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// The examples in a crate's documentation need a compiler, so they are left out: the package, and what lists them.
    pub left_out: Vec<(String, Command)>,
    /// Variables that tests have here, from neither cargo nor the workspace: they may be secrets, and are not sent.
    pub unsent: BTreeSet<String>,
}

/// What cargo may be started in: this process's variables, and these. What is set as cargo sets it for tests is of a test
/// that this process is, if any.
pub fn given<'a>(variables: impl IntoIterator<Item = (&'a String, &'a String)>) -> Given {
    let mut given: Given = env::vars_os().filter(|(name, _)| !is_of_tests(name)).collect();
    given.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    given
}

fn is_of_tests(name: &OsStr) -> bool {
    OF_TESTS.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()))
}

/// Whether a crate's documentation has no examples, by what lists them.
pub fn lists_none(said: &str) -> bool {
    libtest::listed(said).is_some_and(|names| names.is_empty())
}

impl Build {
    /// `said` is what cargo said as it built, `given` what it was started in, `configured` the names of what its
    /// configuration sets, and `tree` what is sent. The error is a sentence.
    pub fn export(
        &self,
        said: &str,
        given: &Given,
        mut configured: BTreeSet<String>,
        tree: &Path,
    ) -> Result<Exported, String> {
        let targets = self.targets(said)?;
        configured.extend(set_by_scripts(said));
        let mut export = Export::of(given, configured, tree);
        let mut sources = Sources { programs: programs(said), ..Sources::default() };
        for (id, target) in targets {
            if target.doc {
                export.left_out.push((target.package().to_owned(), target.list()));
                continue;
            }
            sources.add(&target, given);
            let entry = export.entry(target)?;
            export.list.insert(id, entry);
        }
        export.finish(&sources)
    }
}

struct Export<'a> {
    given: &'a Given,
    /// The names of variables that the workspace sets.
    known: BTreeSet<String>,
    tree: &'a Path,
    /// With the programs where they are here.
    list: BTreeMap<String, Entry>,
    left_out: Vec<(String, Command)>,
    unsent: BTreeSet<String>,
}

/// Where what is needed lies.
#[derive(Default)]
struct Sources {
    /// Of tests, and those that tests may start.
    programs: Vec<PathBuf>,
    /// What build scripts have written.
    out_directories: BTreeSet<PathBuf>,
    libraries: Vec<PathBuf>,
}

impl<'a> Export<'a> {
    fn of(given: &'a Given, known: BTreeSet<String>, tree: &'a Path) -> Self {
        Self { given, known, tree, list: BTreeMap::new(), left_out: Vec::new(), unsent: BTreeSet::new() }
    }

    fn entry(&mut self, target: Target) -> Result<Entry, String> {
        let directory = target.directory.strip_prefix(self.tree).map_err(|_| {
            format!(
                "the package in {} is not within {}, which is what is sent\n\
                 hint: [artifact] root in seagull.toml says what is",
                target.directory.display(),
                self.tree.display()
            )
        })?;
        let ours = |(name, value): &(OsString, OsString)| {
            let of_this_machine = OF_THIS_MACHINE.iter().any(|known| name == known)
                || name.as_encoded_bytes().starts_with(b"RUSTUP_");
            !of_this_machine && self.given.get(name) != Some(value)
        };
        let is_known =
            |name: &OsStr| is_of_tests(name) || name.to_str().is_some_and(|name| self.known.contains(name));
        let (environment, unsent): (Vec<_>, Vec<_>) =
            target.environment.into_iter().filter(ours).partition(|(name, _)| is_known(name));
        self.unsent.extend(unsent.into_iter().map(|(name, _)| name.to_string_lossy().into_owned()));
        Ok(Entry {
            program: target.program.into(),
            arguments: target.arguments.into_iter().map(text).collect::<Result<_, _>>()?,
            directory: directory.to_owned(),
            environment: environment
                .into_iter()
                .map(|(name, value)| Ok((text(name)?, text(value)?)))
                .collect::<Result<_, String>>()?,
        })
    }

    fn finish(mut self, sources: &Sources) -> Result<Exported, String> {
        let unreadable = |error: io::Error| format!("cannot read what cargo built: {error}");
        let base = sources.base();
        let place = |path: &Path| Path::new(TARGET).join(path.strip_prefix(&base).unwrap_or(path));
        let mut files = BTreeMap::new();
        for program in &sources.programs {
            files.insert(place(program), program.clone());
        }
        for directory in &sources.out_directories {
            let found = walk(directory).map_err(unreadable)?;
            files.extend(found.into_iter().map(|path| (place(&path), path)));
        }
        let libraries = needed(sources.programs.iter().cloned(), &sources.libraries).map_err(unreadable)?;
        files.extend(libraries.into_iter().map(|(name, path)| (Path::new(LIBRARIES).join(name), path)));
        for entry in self.list.values_mut() {
            entry.program = place(&entry.program);
        }
        let built = sources.directories();
        let built = built.map(|from| Moved { from: from.to_owned(), to: Place::Built(place(from)) });
        let tree = Moved { from: self.tree.to_owned(), to: Place::Tree(PathBuf::new()) };
        let list = List {
            moved: std::iter::once(tree).chain(built).collect(),
            libraries: vec![LIBRARIES.into()],
            targets: self.list,
        };
        Ok(Exported { list: list.to_json()?, files, left_out: self.left_out, unsent: self.unsent })
    }
}

impl Sources {
    fn add(&mut self, target: &Target, given: &Given) {
        self.programs.push(PathBuf::from(&target.program));
        let set = |name: &str| target.environment.iter().find(|(set, _)| set == name).map(|(_, value)| value);
        self.out_directories.extend(set("OUT_DIR").map(PathBuf::from).filter(|directory| directory.is_dir()));
        // Cargo's come before those that the user has.
        let paths = |value: Option<&OsString>| value.iter().flat_map(env::split_paths).collect::<Vec<_>>();
        let (all, own) = (paths(set(VARIABLE)), paths(given.get(OsStr::new(VARIABLE))));
        for directory in all.strip_suffix(own.as_slice()).unwrap_or(&all) {
            if !self.libraries.contains(directory) {
                self.libraries.push(directory.clone());
            }
        }
    }

    /// Those that have all but the libraries, each once.
    fn directories(&self) -> impl Iterator<Item = &Path> {
        let programs = self.programs.iter().filter_map(|program| program.parent());
        let all = programs.chain(self.out_directories.iter().map(PathBuf::as_path));
        all.collect::<BTreeSet<_>>().into_iter()
    }

    /// The directory that these are in.
    fn base(&self) -> PathBuf {
        let mut all = self.directories();
        let first = all.next().unwrap_or(Path::new("")).to_owned();
        all.fold(first, |base, next| {
            base.ancestors().find(|above| next.starts_with(above)).unwrap_or(Path::new("")).to_owned()
        })
    }
}

fn text(text: OsString) -> Result<String, String> {
    text.into_string().map_err(|text| format!("{} is not UTF-8", text.display()))
}

/// What is in a directory, but directories.
pub(super) fn walk(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(walk(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(variables: &[(&str, &str)]) -> Target {
        Target {
            doc: false,
            program: "/w/target/debug/deps/a-1".into(),
            arguments: vec!["--skip".into()],
            directory: "/w/a".into(),
            environment: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    #[test]
    fn only_what_cargo_set_for_the_test_travels() {
        let given = HashMap::from([("USER".into(), "me".into()), ("LEVEL".into(), "1".into())]);
        let known = BTreeSet::from(["LEVEL".to_owned()]);
        let mut export = Export::of(&given, known.clone(), Path::new("/w"));
        let target_of = || {
            target(&[
                ("USER", "me"),
                ("LEVEL", "2"),
                ("CARGO", "/bin/cargo"),
                ("PATH", "/w/bin"),
                ("REGISTRY_TOKEN", "hunter2"),
                ("CARGO_REGISTRY_TOKEN", "hunter2"),
                ("RUSTUP_TOOLCHAIN", "x"),
                (VARIABLE, "/lib"),
                ("CARGO_PKG_NAME", "a"),
            ])
        };
        let entry = export.entry(target_of()).unwrap();
        let names: Vec<_> = entry.environment.keys().map(String::as_str).collect();
        assert_eq!(names, ["CARGO_PKG_NAME", "LEVEL"]);
        assert_eq!((entry.directory, entry.arguments), ("a".into(), vec!["--skip".to_owned()]));
        assert_eq!(export.unsent.iter().collect::<Vec<_>>(), ["CARGO_REGISTRY_TOKEN", "REGISTRY_TOKEN"]);
        let mut elsewhere = Export::of(&given, known, Path::new("/v"));
        assert!(elsewhere.entry(target_of()).unwrap_err().contains("hint: [artifact] root"));
    }

    #[test]
    fn the_base_has_all_that_was_built_and_libraries_are_cargos() {
        let mut sources = Sources { programs: vec!["/w/target/debug/tool".into()], ..Sources::default() };
        let out = tempfile::tempdir().unwrap();
        let given = HashMap::from([(OsString::from(VARIABLE), OsString::from("/mine:/usr/lib"))]);
        sources.add(&target(&[(VARIABLE, "/w/target/debug/deps:/rust/lib:/mine:/usr/lib")]), &given);
        assert_eq!(sources.base(), Path::new("/w/target/debug"));
        assert_eq!(sources.libraries, [PathBuf::from("/w/target/debug/deps"), "/rust/lib".into()]);
        sources.add(&target(&[("OUT_DIR", out.path().to_str().unwrap())]), &given);
        assert_eq!(sources.out_directories.len(), 1);
        assert_eq!(sources.base(), Path::new("/"));
    }
}
