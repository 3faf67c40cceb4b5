//! Which shared libraries programs need of those that cargo lets them find.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use memchr::memmem;

/// What the loader goes by.
pub(super) const VARIABLE: &str =
    if cfg!(target_os = "macos") { "DYLD_FALLBACK_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
/// What is in the name of each.
const MARK: &str = if cfg!(target_os = "macos") { ".dylib" } else { ".so" };

/// By their names, the libraries in these directories, of which the first counts, that a program names in its bytes, or
/// that one of them names.
pub(super) fn needed(
    programs: impl IntoIterator<Item = PathBuf>,
    directories: &[PathBuf],
) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut candidates = candidates(directories);
    let mut needed = BTreeMap::new();
    let mut look_at: Vec<PathBuf> = programs.into_iter().collect();
    while let Some(path) = look_at.pop() {
        if candidates.is_empty() {
            break;
        }
        let bytes = fs::read(path)?;
        for name in named(&bytes, &candidates) {
            if let Some(path) = candidates.remove(&name) {
                look_at.push(path.clone());
                needed.insert(name, path);
            }
        }
    }
    Ok(needed)
}

fn candidates(directories: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let mut candidates = BTreeMap::new();
    let entries = directories.iter().filter_map(|directory| directory.read_dir().ok()).flatten().flatten();
    for entry in entries {
        let (Ok(name), Ok(path)) = (entry.file_name().into_string(), entry.path().canonicalize()) else {
            continue;
        };
        if name.contains(MARK) && path.is_file() {
            candidates.entry(name).or_insert(path);
        }
    }
    candidates
}

fn named(bytes: &[u8], candidates: &BTreeMap<String, PathBuf>) -> Vec<String> {
    let mut named = Vec::new();
    for at in memmem::find_iter(bytes, MARK) {
        let stands_here = |name: &&String| {
            let start = name.find(MARK).and_then(|before| at.checked_sub(before));
            start.is_some_and(|start| bytes[start..].starts_with(name.as_bytes()))
        };
        named.extend(candidates.keys().filter(stands_here).cloned());
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_needed_by_programs_and_by_libraries() {
        let top = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| top.path().join(name));
        let write = |path: &PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let name = |stem: &str| format!("{stem}{MARK}");
        write(&one.join(name("liba-1")), &format!("x{}\0", name("libb")));
        write(&two.join(name("liba-1")), &name("libc"));
        write(&two.join(name("libb")), "");
        write(&two.join(format!("{}.3", name("libv"))), "");
        write(&two.join(name("libc")), "");
        write(&two.join("other"), "");
        let program = top.path().join("program");
        write(&program, &format!("\0{}\0{}.3\0 other {MARK}", name("liba-1"), name("libv")));
        let found = needed([program], &[one.clone(), "/nowhere".into(), two]).unwrap();
        let names: Vec<_> = found.keys().cloned().collect();
        assert_eq!(names, [name("liba-1"), name("libb"), format!("{}.3", name("libv"))]);
        assert_eq!(found[&name("liba-1")], one.canonicalize().unwrap().join(name("liba-1")));
    }
}
