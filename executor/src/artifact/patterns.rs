//! Patterns that name files below a directory: a file, a directory for all that is in it, or a glob of either.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::files::{Candidates, walk};
use super::pack::PackError;

/// What makes a glob of a path.
const SPECIAL: [char; 5] = ['*', '?', '[', '{', '\\'];

#[derive(Debug, Default)]
pub struct Patterns(Vec<Pattern>);

#[derive(Debug)]
struct Pattern {
    text: String,
    /// The directory or file that all matches are in.
    base: PathBuf,
    /// Without anything special it is a path.
    literal: bool,
    set: GlobSet,
}

/// The files that patterns name.
#[derive(Debug, Default)]
pub struct Named {
    /// Relative, and whether a pattern names the very path.
    pub files: BTreeMap<PathBuf, bool>,
    /// Patterns that name nothing.
    pub unmatched: Vec<String>,
}

impl Patterns {
    pub const NONE: Patterns = Patterns(Vec::new());

    /// Relative to a directory, which is given as one of a root, without a way out of it. The error says what is
    /// expected.
    pub fn parse<S: AsRef<str>>(directory: &str, texts: &[S]) -> Result<Patterns, String> {
        let patterns = texts.iter().map(|text| Pattern::parse(directory, text.as_ref()));
        patterns.collect::<Result<_, _>>().map(Patterns)
    }

    pub fn is_match(&self, path: &Path) -> bool {
        self.0.iter().any(|pattern| pattern.set.is_match(path))
    }

    /// The files below `root` that are named; nothing of git's, of ours or of Python's own.
    pub fn find(&self, root: &Path) -> Result<Named, PackError> {
        let mut named = Named::default();
        for pattern in &self.0 {
            let found = pattern.find(root)?;
            if found.is_empty() {
                named.unmatched.push(pattern.text.clone());
            }
            for path in found {
                let exact = pattern.literal && path == pattern.base;
                *named.files.entry(path).or_default() |= exact;
            }
        }
        Ok(named)
    }
}

impl Pattern {
    fn parse(directory: &str, text: &str) -> Result<Pattern, String> {
        let expected = || format!("expected paths and globs within the directory, and not {text:?}");
        let harmless = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        if text.is_empty() || !Path::new(text).components().all(harmless) {
            return Err(expected());
        }
        let inside = Path::new(&globset::escape(directory)).join(text);
        let parts = inside.components().filter(|part| matches!(part, Component::Normal(_)));
        let clean: PathBuf = parts.collect();
        let clean = clean.to_str().unwrap_or_default();
        let whole = if clean.is_empty() { "**".to_owned() } else { format!("{clean}/**") };
        let mut set = GlobSetBuilder::new();
        for glob in [clean, whole.as_str()] {
            let glob = GlobBuilder::new(glob).literal_separator(true).build();
            set.add(glob.map_err(|error| format!("expected paths and globs, but {error}"))?);
        }
        let set = set.build().map_err(|error| error.to_string())?;
        let plain = |part: &Component| !part.as_os_str().to_string_lossy().contains(SPECIAL);
        let base: PathBuf = Path::new(clean).components().take_while(plain).collect();
        let literal = base == Path::new(clean);
        Ok(Pattern { text: text.to_owned(), base, literal, set })
    }

    fn find(&self, root: &Path) -> Result<BTreeSet<PathBuf>, PackError> {
        let Ok(metadata) = root.join(&self.base).symlink_metadata() else { return Ok(BTreeSet::new()) };
        let mut found = Candidates::new();
        if metadata.is_dir() {
            walk(root, &self.base, false, &mut found)?;
        } else {
            found.insert(self.base.clone(), false);
        }
        Ok(found.into_keys().filter(|path| self.set.is_match(path)).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Of these files, those that the patterns name, and the patterns that name none.
    fn named(files: &[&str], patterns: &[&str]) -> (Vec<(String, bool)>, Vec<String>) {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let patterns = Patterns::parse("", patterns).unwrap();
        let named = patterns.find(root.path()).unwrap();
        let files = named.files.into_iter().map(|(path, exact)| (path.display().to_string(), exact));
        let files: Vec<_> = files.collect();
        for (path, _) in &files {
            assert!(patterns.is_match(Path::new(path)), "{path}");
        }
        (files, named.unmatched)
    }

    fn names(files: &[&str], patterns: &[&str]) -> Vec<String> {
        named(files, patterns).0.into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_pattern_is_a_file_a_directory_or_a_glob() {
        let files = ["a.txt", "b.txt", "d/a.txt", "d/e/c.so", "d/e/__pycache__/c.pyc", "d/.git/x", "dd/a.so"];
        assert_eq!(names(&files, &["a.txt"]), ["a.txt"]);
        assert_eq!(names(&files, &["d"]), ["d/a.txt", "d/e/c.so"]);
        assert_eq!(names(&files, &["./d/e/"]), ["d/e/c.so"]);
        assert_eq!(names(&files, &["*.txt"]), ["a.txt", "b.txt"]);
        assert_eq!(names(&files, &["**/*.so"]), ["d/e/c.so", "dd/a.so"]);
        assert_eq!(names(&files, &["d/*/c.s?", "{d,dd}/a.{so,txt}"]), ["d/a.txt", "d/e/c.so", "dd/a.so"]);
        assert_eq!(names(&files, &["d*"]), ["d/a.txt", "d/e/c.so", "dd/a.so"]);
        assert_eq!(names(&files, &["."]).len(), 5);
    }

    #[test]
    fn patterns_of_a_directory_name_nothing_outside_it() {
        let patterns = Patterns::parse("d [1]", &["*.so", "."]).unwrap();
        for (path, named) in [("d [1]/a.so", true), ("d [1]/x", true), ("a.so", false), ("d 1/a.so", false)] {
            assert_eq!(patterns.is_match(Path::new(path)), named, "{path}");
        }
    }

    #[test]
    fn what_is_named_exactly_and_what_names_nothing_is_told() {
        let (files, unmatched) = named(&["d/.env", "d/x"], &["d", "d/.env", "e/*", "x"]);
        assert_eq!(files, [("d/.env".to_owned(), true), ("d/x".to_owned(), false)]);
        assert_eq!(unmatched, ["e/*", "x"]);
    }

    #[test]
    fn a_way_out_is_refused() {
        for text in ["", "/etc", "../x", "a/../../x", "a[", "{a"] {
            let refusal = Patterns::parse("", &[text]).unwrap_err();
            assert!(refusal.starts_with("expected paths and globs"), "{text}: {refusal}");
        }
    }
}
