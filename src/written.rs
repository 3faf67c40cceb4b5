//! The reports and logs that commands have written: they are no change of the tree that they lie in.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// So many are remembered.
const REMEMBERED: usize = 100;

/// Where they are noted, a path a line.
#[derive(Debug, Clone)]
pub struct Written(PathBuf);

impl Written {
    /// Those of a state directory.
    pub fn of(state: &Path) -> Written {
        Written(state.join("reports"))
    }

    /// What cannot be noted counts as a change of the tree.
    pub fn add<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        let mut noted: VecDeque<PathBuf> = self.all().into();
        let mut more = false;
        for path in paths.filter_map(|path| std::path::absolute(path).ok()) {
            if !noted.contains(&path) {
                noted.push_back(path);
                more = true;
            }
        }
        if more {
            noted.drain(..noted.len().saturating_sub(REMEMBERED));
            let lines: Vec<_> = noted.iter().map(|path| path.to_string_lossy()).collect();
            let _ = fs::write(&self.0, lines.join("\n"));
        }
    }

    pub fn all(&self) -> Vec<PathBuf> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(PathBuf::from).collect()
    }
}

/// Where a shell has sent what this command prints: nobody has told it.
pub fn outputs() -> Vec<PathBuf> {
    let named = ["/dev/stdout", "/dev/stderr"].into_iter().filter_map(|path| fs::canonicalize(path).ok());
    named.filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_each_once() {
        let state = tempfile::tempdir().unwrap();
        let written = Written::of(state.path());
        assert_eq!(written.all(), [""; 0].map(PathBuf::from));
        let names: Vec<PathBuf> = (0..=REMEMBERED).map(|n| format!("/{n}.xml").into()).collect();
        written.add(names.iter().map(PathBuf::as_path));
        written.add([Path::new("/7.xml"), Path::new("here.xml")].into_iter());
        let all = written.all();
        assert_eq!((all.len(), &all[0]), (REMEMBERED, &names[2]));
        assert_eq!(all[REMEMBERED - 1], std::path::absolute("here.xml").unwrap());
    }
}
