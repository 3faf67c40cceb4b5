//! The version of a suite's files, for build tools that would make it of git's tags: executors have no repository.

use std::fs;
use std::path::Path;

use crate::git::said;
use crate::place::Place;

/// What says in a file that its version is made so.
const TOOLS: [&str; 3] = ["setuptools_scm", "setuptools-scm", "hatch-vcs"];
const FILES: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];

/// Whether the suite's project, or one at the top of the repository, makes its version of tags.
pub fn is_wanted(place: &Place) -> bool {
    let directories =
        [Some(place.directory.as_path()), place.config.directory(), place.repository.as_deref()];
    let mut files =
        directories.into_iter().flatten().flat_map(|directory| FILES.map(|file| directory.join(file)));
    let says = |text: String| TOOLS.iter().any(|tool| text.contains(tool));
    files.any(|file| fs::read_to_string(file).is_ok_and(says))
}

/// As setuptools-scm makes it by default, but for the day of a dirty tree, so that the same files have the same version;
/// of a commit, or of the work tree.
pub fn of(top: &Path, commit: Option<&str>) -> Option<String> {
    let which = commit.unwrap_or("--dirty");
    let describe = ["describe", "--tags", "--long", "--match", "*[0-9]*", which];
    if let Some(version) = said(top, &describe).and_then(|described| from_tag(&described)) {
        return Some(version);
    }
    let commit = commit.unwrap_or("HEAD");
    let commits = said(top, &["rev-list", "--count", commit])?;
    let commit = said(top, &["rev-parse", "--short", commit])?;
    Some(format!("0.1.dev{commits}+g{commit}"))
}

/// Of `TAG-COMMITS-gHASH`, perhaps with `-dirty`.
fn from_tag(described: &str) -> Option<String> {
    let (described, dirty) = match described.strip_suffix("-dirty") {
        Some(clean) => (clean, true),
        None => (described, false),
    };
    let mut parts = described.rsplitn(3, '-');
    let (hash, commits, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let tag = number(tag)?;
    if commits == "0" && !dirty {
        return Some(tag);
    }
    // The next one, of which this is a development version.
    let stem = tag.trim_end_matches(|c: char| c.is_ascii_digit());
    let next = tag[stem.len()..].parse::<u64>().ok()?.checked_add(1)?;
    let dirty = if dirty { ".dirty" } else { "" };
    Some(format!("{stem}{next}.dev{commits}+{hash}{dirty}"))
}

/// What of a tag is a version: from the first part on that begins with a digit, but for a `v`.
fn number(tag: &str) -> Option<String> {
    let tag = tag.split('+').next()?;
    let is_number =
        |part: &&str| part.trim_start_matches(['v', 'V']).starts_with(|c: char| c.is_ascii_digit());
    let parts: Vec<&str> = tag.split('-').skip_while(|part| !is_number(part)).collect();
    let number = parts.concat();
    (!number.is_empty()).then(|| number.trim_start_matches(['v', 'V']).to_owned())
}

#[cfg(test)]
mod tests {
    use seagull_executor::artifact;

    use super::*;

    #[test]
    fn a_version_is_the_tag_or_comes_before_the_next() {
        let table = [
            ("v1.2.3-0-gabc1234", Some("1.2.3")),
            ("1.2.3-0-gabc1234-dirty", Some("1.2.4.dev0+gabc1234.dirty")),
            ("1.2.3-14-gabc1234", Some("1.2.4.dev14+gabc1234")),
            ("shop-v2.0-1-gabc1234", Some("2.1.dev1+gabc1234")),
            ("v1.2.0-rc1-0-gabc1234", Some("1.2.0rc1")),
            ("3.0rc1-2-gabc1234-dirty", Some("3.0rc2.dev2+gabc1234.dirty")),
            ("1.0+local-0-gabc1234", Some("1.0")),
            ("release9x-0-gabc1234", None),
            ("1.0b-3-gabc1234", None),
            ("nonsense", None),
        ];
        for (described, version) in table {
            assert_eq!(from_tag(described).as_deref(), version, "{described}");
        }
    }

    #[test]
    fn it_is_asked_of_git_where_a_project_needs_it() {
        let top = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = artifact::git(top.path());
            command.args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.org",
                "-c",
                "commit.gpgsign=false",
            ]);
            assert!(command.args(arguments).output().unwrap().status.success(), "{arguments:?}");
        };
        assert_eq!(of(top.path(), None), None);
        git(&["init", "-q"]);
        fs::write(top.path().join("pyproject.toml"), "[project]").unwrap();
        let place = || Place::at(top.path().to_owned()).unwrap();
        assert!(!is_wanted(&place()));
        fs::write(top.path().join("pyproject.toml"), "requires = ['setuptools-scm>=8']").unwrap();
        assert!(is_wanted(&place()));
        git(&["add", "."]);
        git(&["commit", "-qm", "a"]);
        assert!(of(top.path(), None).unwrap().starts_with("0.1.dev1+g"));
        git(&["tag", "v1.0"]);
        assert_eq!(of(top.path(), None).as_deref(), Some("1.0"));
        fs::write(top.path().join("pyproject.toml"), "").unwrap();
        assert!(of(top.path(), None).unwrap().starts_with("1.1.dev0+g"));
        assert_eq!(of(top.path(), Some("HEAD")).as_deref(), Some("1.0"), "whatever the work tree is");
    }
}
