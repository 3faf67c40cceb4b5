//! The files of a run on their way to the executors: packed, and uploaded unless they are there already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use seagull_domain::Workspace;
use seagull_executor::artifact::{self, BUILT, LeftOut, PackError, PackOptions, Packed, Patterns, Reason};

use super::Start;
use super::spec::text;
use crate::client::Client;
use crate::errors::{say, usage, warn};
use crate::git::LEFT_BEHIND;
use crate::place::Place;
use crate::report::count;

/// Of the paths that are left out, so many are named.
const NAMED: usize = 5;
/// How to have them.
pub const SUBMODULES: &str = "\nhint: git submodule update --init --recursive";

/// What is packed, from where.
pub struct Source {
    root: PathBuf,
    /// The working directory, relative to the root.
    directory: String,
    /// Where the packed file lies meanwhile.
    scratch: PathBuf,
    /// What the command itself writes.
    exclude: Vec<PathBuf>,
    chosen: Chosen,
    large: bool,
    /// What goes along that is not of the root.
    built: BTreeMap<PathBuf, PathBuf>,
    /// It is a revision that was written for this.
    checkout: bool,
}

/// What the settings add to the artifact, and take from it.
#[derive(Debug, Default)]
pub struct Chosen {
    pub include: Patterns,
    pub omit: Patterns,
}

impl Chosen {
    pub fn of(place: &Place, root: &Path) -> anyhow::Result<Chosen> {
        let config = &place.config;
        if config.include.is_empty() && config.exclude.is_empty() {
            return Ok(Chosen::default());
        }
        let directory = settings(place, root)?;
        let [include, omit] =
            [&config.include, &config.exclude].map(|texts| Patterns::parse(&directory, texts).map_err(usage));
        Ok(Chosen { include: include?, omit: omit? })
    }
}

/// The directory of the settings, relative to the root; the working directory if there are none.
fn settings(place: &Place, root: &Path) -> anyhow::Result<String> {
    let directory = place.config.directory().unwrap_or(&place.directory);
    let inside = directory.canonicalize().ok();
    let inside = inside.and_then(|directory| directory.strip_prefix(root).map(Path::to_owned).ok());
    let inside = inside.ok_or_else(|| {
        usage(format!(
            "{} is not within the artifact root {}, so that its [setup] and [artifact] name nothing there\n\
             hint: [artifact] root = \".\" sends that directory",
            directory.display(),
            root.display()
        ))
    })?;
    text(&inside)
}

impl Source {
    pub(super) fn of(start: &Start) -> anyhow::Result<Source> {
        let (root, directory) = root(&start.place)?;
        let scratch = start.state.directory.clone();
        let files = start.args.report.files();
        let written = files.paths().filter_map(|path| std::path::absolute(path).ok());
        let exclude = written.chain([scratch.clone()]).collect();
        let chosen = Chosen::of(&start.place, &root)?;
        let large = start.args.at.yes;
        let built = BTreeMap::new();
        Ok(Source { root, directory, scratch, exclude, chosen, large, built, checkout: false })
    }

    /// Of a place among the files of a revision.
    pub fn of_revision(place: &Place, scratch: PathBuf, large: bool) -> anyhow::Result<Source> {
        let (root, directory) = root(place)?;
        let chosen = Chosen::of(place, &root)?;
        let (exclude, built) = Default::default();
        Ok(Source { root, directory, scratch, exclude, chosen, large, built, checkout: true })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// With files that were built for it.
    pub fn with(self, built: BTreeMap<PathBuf, PathBuf>) -> Source {
        Source { built, ..self }
    }

    /// Where the setup runs, relative to the root; any place where there is none.
    pub fn settings(&self, place: &Place) -> anyhow::Result<String> {
        if place.config.setup.is_none() { Ok(String::new()) } else { settings(place, &self.root) }
    }

    /// Reads and compresses all files: blocks.
    pub fn pack(&self) -> anyhow::Result<Packed> {
        let Source { root, scratch, exclude, chosen: Chosen { include, omit }, built, .. } = self;
        let (directory, large, checkout) = (Path::new(&self.directory), self.large, self.checkout);
        let options =
            PackOptions { root, directory, scratch, exclude, include, omit, built, large, checkout };
        let packed = artifact::pack(&options).map_err(refused);
        let packed = packed.with_context(|| format!("cannot pack {}", root.display()))?;
        tell_left_out(&packed.left_out);
        if !packed.pointers.is_empty() {
            let names = named(packed.pointers.iter());
            warn(format!(
                "files of Git LFS that are not here, only what stands for them: {names}\nhint: git lfs pull"
            ));
        }
        for pattern in &packed.unmatched {
            warn(format!("[artifact] include: nothing is named by {pattern}"));
        }
        Ok(packed)
    }

    pub async fn upload(&self, packed: Packed, client: &Client) -> anyhow::Result<Workspace> {
        let digest = packed.digest;
        if client.is_missing(digest).await? {
            let files = count(u32::try_from(packed.entries).unwrap_or(u32::MAX), "file");
            say!("uploading {files}, {}", artifact::size(packed.bytes));
            client.put_blob(digest, packed.file.path()).await?;
        }
        Ok(Workspace::Artifact { digest, directory: self.directory.clone() })
    }
}

/// What is asked for and cannot be packed is for whoever asked to change.
fn refused(error: PackError) -> anyhow::Error {
    use PackError::{Empty, Git, Home, NoGit, NothingThere, TooLarge};
    match error {
        Home(_) | Empty(_) | NothingThere(_) | Git(_) | NoGit(_) | TooLarge { .. } => {
            usage(error.to_string())
        }
        other => other.into(),
    }
}

/// The root of what is packed, and the working directory in it.
pub fn root(place: &Place) -> anyhow::Result<(PathBuf, String)> {
    let here = &place.directory;
    let root = match (&place.config.artifact_root, &place.repository) {
        (Some(root), _) => {
            let found = root.canonicalize();
            found.map_err(|error| usage(format!("[artifact] root {}: {error}", root.display())))?
        }
        (None, Some(top)) => top.clone(),
        (None, None) => {
            let exclude = match not_of_the_suite(here).as_slice() {
                [] => String::new(),
                names => format!(" and exclude = {names:?}"),
            };
            return Err(usage(format!(
                "{} is in no git repository, so it is unclear what to send to the executors\n\
                 hint: write to seagull.toml: [artifact] root = \".\"{exclude}",
                here.display()
            )));
        }
    };
    let inside = here.canonicalize().ok().and_then(|here| here.strip_prefix(&root).map(Path::to_owned).ok());
    let inside = inside.ok_or_else(|| {
        usage(format!("{} is not within the artifact root {}", here.display(), root.display()))
    })?;
    let inside = text(&inside)?;
    Ok((root, inside))
}

/// What of a directory a repository would ignore, as far as its look tells: virtual environments, and what running a
/// suite leaves behind.
fn not_of_the_suite(directory: &Path) -> Vec<String> {
    let left_behind = Patterns::parse("", &LEFT_BEHIND).unwrap_or_default();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_made = |name: &String| {
        directory.join(name).join("pyvenv.cfg").is_file() || left_behind.is_match(Path::new(name))
    };
    let mut names: Vec<String> = names.filter(is_made).filter(|name| name != "__pycache__").collect();
    names.sort();
    names
}

fn tell_left_out(left_out: &[LeftOut]) {
    left_out_by_reason(left_out).iter().for_each(warn);
}

/// What stays behind, a sentence for each reason.
pub fn left_out_by_reason(left_out: &[LeftOut]) -> Vec<String> {
    let of_build = |left: &&LeftOut| left.reason == Reason::LinkOut && left.path.starts_with(BUILT);
    let (built, own): (Vec<_>, Vec<_>) = left_out.iter().partition(of_build);
    let kinds = [
        (&own, Reason::Secret, "untracked, and by their names secrets"),
        (&own, Reason::LinkOut, "links that lead out of the root"),
        (
            &built,
            Reason::LinkOut,
            "links among what was built (OUT_DIR) that lead out of it; tests that follow them fail",
        ),
        (&own, Reason::Special, "neither files nor links"),
        (&own, Reason::Submodule, "submodules that are not here"),
    ];
    let tell = |(left_out, reason, why): (&Vec<&LeftOut>, _, _)| {
        let mut paths =
            left_out.iter().filter(|left| left.reason == reason).map(|left| &left.path).peekable();
        let hint = if reason == Reason::Submodule { SUBMODULES } else { "" };
        paths.peek().is_some().then(|| format!("not sent, {why}: {}{hint}", named(paths)))
    };
    kinds.into_iter().filter_map(tell).collect()
}

/// Some of the paths, and how many there are beside.
fn named<'a>(mut paths: impl Iterator<Item = &'a PathBuf>) -> String {
    let names = paths.by_ref().take(NAMED).map(|path| path.display().to_string());
    let mut names: Vec<String> = names.collect();
    let more = paths.count();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Usage;

    #[test]
    fn the_root_is_configured_or_the_repositorys_top_or_missing() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let suite = base.join("repo/suite");
        fs::create_dir_all(suite.join("deep")).unwrap();
        let found = |directory: &Path| root(&Place::at(directory.to_owned()).unwrap());
        let missing = found(&suite).unwrap_err();
        assert!(
            missing.is::<Usage>() && missing.to_string().ends_with("[artifact] root = \".\""),
            "{missing}"
        );
        for made in ["env/pyvenv.cfg", ".pytest_cache/x", "__pycache__/x", "src/x"] {
            fs::create_dir_all(suite.join(made).parent().unwrap()).unwrap();
            fs::write(suite.join(made), "").unwrap();
        }
        let missing = found(&suite).unwrap_err().to_string();
        assert!(missing.ends_with("root = \".\" and exclude = [\".pytest_cache\", \"env\"]"), "{missing}");
        fs::create_dir(base.join("repo/.git")).unwrap();
        assert_eq!(found(&suite).unwrap(), (base.join("repo"), "suite".to_owned()));
        fs::write(suite.join("seagull.toml"), "[artifact]\nroot = '.'").unwrap();
        assert_eq!(found(&suite.join("deep")).unwrap(), (suite.clone(), "deep".to_owned()));
        fs::write(suite.join("seagull.toml"), "[artifact]\nroot = 'deep'").unwrap();
        assert!(found(&suite).unwrap_err().is::<Usage>());
    }

    #[test]
    fn what_cannot_be_packed_as_it_is_asked_for_is_wrong_usage() {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let table = [
            (PackError::Home("/".into()), true),
            (PackError::TooLarge { bytes: 1, largest: Vec::new() }, true),
            (PackError::NoGit(missing()), true),
            (PackError::Git("dubious ownership".into()), true),
            (PackError::Write(missing()), false),
        ];
        for (error, is_usage) in table {
            let text = error.to_string();
            assert_eq!(refused(error).is::<Usage>(), is_usage, "{text}");
        }
    }

    #[test]
    fn what_is_left_out_is_said_by_its_reason() {
        let left = |path: &str, reason| LeftOut { path: path.into(), reason };
        let said = left_out_by_reason(&[left("lib", Reason::Submodule), left(".env", Reason::Secret)]);
        let expected = [
            "not sent, untracked, and by their names secrets: .env".to_owned(),
            format!("not sent, submodules that are not here: lib{SUBMODULES}"),
        ];
        assert_eq!(said, expected);
        let link = format!("{BUILT}/target/debug/build/a-1/out/link");
        let said = left_out_by_reason(&[left(&link, Reason::LinkOut), left("b", Reason::LinkOut)]);
        assert_eq!(said[0], "not sent, links that lead out of the root: b");
        assert!(
            said[1].starts_with("not sent, links among what was built") && said[1].ends_with(&link),
            "{said:?}"
        );
    }

    #[test]
    fn of_many_paths_some_are_named() {
        let paths: Vec<PathBuf> = (0..7).map(|number| PathBuf::from(format!("d/{number}"))).collect();
        assert_eq!(named(paths[..5].iter()), "d/0, d/1, d/2, d/3, d/4");
        assert_eq!(named(paths.iter()), "d/0, d/1, d/2, d/3, d/4, 2 more");
    }

    #[test]
    fn patterns_are_relative_to_the_settings_and_those_are_within_the_root() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let suite = base.join("repo/suite");
        fs::create_dir_all(suite.join("deep")).unwrap();
        fs::create_dir(base.join("repo/.git")).unwrap();
        fs::write(suite.join("seagull.toml"), "[artifact]\ninclude = ['build']\nexclude = ['*.bin']")
            .unwrap();
        let place = Place::at(suite.join("deep")).unwrap();
        assert_eq!(settings(&place, &base.join("repo")).unwrap(), "suite");
        let chosen = Chosen::of(&place, &base.join("repo")).unwrap();
        assert!(chosen.include.is_match(Path::new("suite/build/x.so")));
        assert!(!chosen.include.is_match(Path::new("build/x.so")));
        assert!(chosen.omit.is_match(Path::new("suite/a.bin")));
        assert!(Chosen::of(&place, &suite.join("deep")).unwrap_err().is::<Usage>());
    }
}
