//! What was built before a run, as it is sent: a directory with the binaries, and a file that says how each is started.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use seagull_domain::Built;
use serde::{Deserialize, Serialize};

use super::libraries::VARIABLE;
use super::target::{Target, Targets};

/// What the file is usually called.
pub const LIST: &str = "tests.json";
/// Bytes of the file.
const LIST_BYTES: u64 = 256 << 20;

/// What the file has. Paths are relative to the directory if nothing else is said.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct List {
    /// What has moved since, and where it is now.
    pub moved: Vec<Moved>,
    /// Where shared libraries are, the first directory first.
    pub libraries: Vec<PathBuf>,
    /// By the beginning of their ids.
    pub targets: BTreeMap<String, Entry>,
}

/// A directory of the machine that built.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Moved {
    pub from: PathBuf,
    pub to: Place,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// Below the tree.
    Tree(PathBuf),
    Built(PathBuf),
}

/// How a binary is started.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Relative to the tree.
    pub directory: PathBuf,
    /// What it gets beside the worker's own. Paths in it are those of the machine that built.
    pub environment: BTreeMap<String, String>,
}

impl List {
    pub fn to_json(&self) -> Result<String, String> {
        self.check()?;
        serde_json::to_string_pretty(self)
            .map_err(|error| format!("what was built cannot be described: {error}"))
    }

    /// Whether all of it will be where it is said to be.
    fn check(&self) -> Result<(), String> {
        let moved = self.moved.iter().map(|Moved { to: Place::Tree(path) | Place::Built(path), .. }| path);
        let entries = self.targets.values().flat_map(|entry| [&entry.program, &entry.directory]);
        let mut all = self.libraries.iter().chain(moved).chain(entries);
        all.try_for_each(|path| within(Path::new(""), path).map(drop))
    }

    /// The error is a sentence.
    fn read(path: &Path) -> Result<List, String> {
        let cannot = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(|error| cannot(&error))?;
        let mut text = String::new();
        file.take(LIST_BYTES).read_to_string(&mut text).map_err(|error| cannot(&error))?;
        serde_json::from_str(&text).map_err(|error| cannot(&error))
    }
}

/// What is to be started, with absolute paths.
pub(super) fn load(built: &Built) -> Result<Targets, String> {
    let (file, tree) = (Path::new(&built.list), Path::new(&built.tree));
    let built = file.parent().unwrap_or(file);
    let list = List::read(file)?;
    let moves = Moves::new(&list.moved, built, tree)?;
    let mut shared: Vec<(OsString, OsString)> = env::vars_os().collect();
    shared.extend(libraries(&list.libraries, built, env::var_os(VARIABLE))?);
    let target = |entry: Entry| {
        let own = entry.environment.into_iter().map(|(name, value)| (name.into(), moves.apply(&value)));
        Ok::<_, String>(Target {
            doc: false,
            program: within(built, &entry.program)?.into(),
            arguments: entry.arguments.into_iter().map(OsString::from).collect(),
            directory: within(tree, &entry.directory)?,
            environment: shared.iter().cloned().chain(own).collect(),
        })
    };
    list.targets.into_iter().map(|(id, entry)| Ok((id, target(entry)?))).collect()
}

/// The loader's variable: these directories, before those that it has on this machine.
fn libraries(
    directories: &[PathBuf],
    built: &Path,
    own: Option<OsString>,
) -> Result<Option<(OsString, OsString)>, String> {
    if directories.is_empty() {
        return Ok(None);
    }
    let found = directories.iter().map(|directory| within(built, directory));
    let mut all = found.collect::<Result<Vec<_>, String>>()?;
    all.extend(own.iter().flat_map(env::split_paths));
    let value = env::join_paths(all).map_err(|error| error.to_string())?;
    Ok(Some((VARIABLE.into(), value)))
}

/// Where paths of the machine that built are here.
struct Moves(Vec<(PathBuf, PathBuf)>);

impl Moves {
    fn new(moved: &[Moved], built: &Path, tree: &Path) -> Result<Moves, String> {
        let here = |Moved { from, to }: &Moved| {
            let to = match to {
                Place::Tree(path) => within(tree, path)?,
                Place::Built(path) => within(built, path)?,
            };
            Ok((from.clone(), to))
        };
        let mut moves = moved.iter().map(here).collect::<Result<Vec<_>, String>>()?;
        // What is in another one comes before it.
        moves.sort_by_key(|(from, _)| std::cmp::Reverse(from.components().count()));
        Ok(Moves(moves))
    }

    /// A value, or the parts of it between colons.
    fn apply(&self, value: &str) -> OsString {
        let part = |part: &str| {
            let moved = self.0.iter().find_map(|(from, to)| {
                let rest = part.strip_prefix(from.to_str()?)?;
                let whole = rest.is_empty() || rest.starts_with('/');
                whole.then(|| [to.as_os_str(), rest.as_ref()].join(OsStr::new("")))
            });
            moved.unwrap_or_else(|| part.into())
        };
        let parts: Vec<OsString> = value.split(':').map(part).collect();
        parts.join(OsStr::new(":"))
    }
}

/// A path below another one, out of which it cannot lead.
fn within(above: &Path, path: &Path) -> Result<PathBuf, String> {
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(above.components().chain(path.components()).collect());
    }
    Err(format!("{} leads out of what was built", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(program: &str, directory: &str) -> Entry {
        Entry {
            program: program.into(),
            arguments: vec!["--skip".into()],
            directory: directory.into(),
            environment: BTreeMap::from([
                ("CARGO_MANIFEST_DIR".into(), "/w/a".into()),
                ("TOOLS".into(), "/usr/bin:/w/t/debug/x:/w/ab:/w".into()),
                ("URL".into(), "http://w/t".into()),
            ]),
        }
    }

    fn loaded(entry: Entry) -> Result<Targets, String> {
        let top = tempfile::tempdir().unwrap();
        let list = List {
            moved: vec![
                Moved { from: "/w".into(), to: Place::Tree("".into()) },
                Moved { from: "/w/t".into(), to: Place::Built("target".into()) },
            ],
            libraries: vec!["lib".into()],
            targets: BTreeMap::from([("a::lib".into(), entry)]),
        };
        fs::write(top.path().join(LIST), serde_json::to_string(&list).unwrap()).unwrap();
        let directory = top.path().to_str().unwrap().to_owned();
        let targets = load(&Built { list: format!("{directory}/{LIST}"), tree: "/tree".into() });
        // As if it were always in the same place.
        targets.map(|mut targets| {
            let target = targets.get_mut("a::lib").unwrap();
            let short = |text: &OsString| text.to_str().unwrap().replace(&directory, "/built").into();
            target.program = short(&target.program);
            for (_, value) in &mut target.environment {
                *value = short(value);
            }
            targets
        })
    }

    #[test]
    fn what_was_built_is_started_where_it_is_now() {
        let targets = loaded(entry("target/debug/a-1", "a")).unwrap();
        let target = &targets["a::lib"];
        assert_eq!(
            (target.program.to_str(), target.directory.to_str()),
            (Some("/built/target/debug/a-1"), Some("/tree/a"))
        );
        let value = |name: &str| {
            let set = target.environment.iter().rfind(|(set, _)| set == name);
            set.map(|(_, value)| value.to_str().unwrap())
        };
        assert_eq!(value("CARGO_MANIFEST_DIR"), Some("/tree/a"));
        assert_eq!(value("TOOLS"), Some("/usr/bin:/built/target/debug/x:/tree/ab:/tree"));
        assert_eq!(value("URL"), Some("http://w/t"));
        assert!(value(VARIABLE).unwrap().starts_with("/built/lib"));
        assert_eq!(value("PATH"), env::var("PATH").ok().as_deref());
    }

    #[test]
    fn what_leads_out_or_is_no_list_is_refused() {
        for (program, directory) in [("../x", "a"), ("/bin/sh", "a"), ("x", ".."), ("x", "/")] {
            let refusal = loaded(entry(program, directory)).unwrap_err();
            assert!(refusal.contains("leads out"), "{refusal}");
            let targets = [("x".to_owned(), entry(program, directory))].into();
            let refusal = List { moved: Vec::new(), libraries: Vec::new(), targets }.to_json().unwrap_err();
            assert!(refusal.contains("leads out"), "{refusal}");
        }
        let top = tempfile::tempdir().unwrap();
        let list = top.path().join(LIST).to_str().unwrap().to_owned();
        let built = Built { list, tree: String::new() };
        assert!(load(&built).unwrap_err().contains("tests.json"));
        for text in ["", "[]", "{}", "{\"moved\":[],\"libraries\":[],\"targets\":{\"a\":{}}}"] {
            fs::write(top.path().join(LIST), text).unwrap();
            assert!(load(&built).unwrap_err().contains("cannot read"), "{text}");
        }
    }
}
