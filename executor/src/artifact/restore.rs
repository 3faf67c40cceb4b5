//! An unpacked artifact as it was: what tests left in it goes, and what they changed is found out.
//!
//! `files`, beside the tree, has what was unpacked, and when each inode was last changed: whatever a test does to a file
//! sets that time, which no program can choose.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::kept::TREE;
use crate::remove::remove_tree;

const FILES: &str = "files";
/// What Python keeps there is of the sources beside it, and spares the next run its time.
const BYTECODE: &str = "__pycache__";

/// Writes down what was unpacked.
pub(super) fn record(entry: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    walk(&entry.join(TREE), &mut |_, metadata, name| {
        files.extend_from_slice(stamp(metadata).as_bytes());
        files.push(b'/');
        files.extend_from_slice(name);
        files.push(0);
        Ok(metadata.is_dir())
    })?;
    fs::write(entry.join(FILES), files)
}

/// Removes what came since; `false` if something of what was unpacked is not as it was. Nobody else may use the tree.
pub(super) fn restore(entry: &Path) -> bool {
    let Ok(files) = fs::read(entry.join(FILES)) else { return false };
    let mut missing: HashMap<&[u8], &[u8]> = files
        .split(|byte| *byte == 0)
        .filter_map(|file| {
            file.iter().position(|byte| *byte == b'/').map(|at| (&file[at + 1..], &file[..at]))
        })
        .collect();
    let walked = walk(&entry.join(TREE), &mut |path, metadata, name| {
        match missing.remove(name) {
            Some(then) if then == stamp(metadata).as_bytes() => return Ok(metadata.is_dir()),
            Some(_) => return Err(io::Error::other("it is not as it was")),
            None if metadata.is_dir() && path.ends_with(BYTECODE) => {}
            None if metadata.is_dir() => remove_tree(path)?,
            None => fs::remove_file(path)?,
        }
        Ok(false)
    });
    walked.is_ok() && missing.is_empty()
}

/// When it was last changed. A directory is, with all that comes and goes in it.
fn stamp(metadata: &Metadata) -> String {
    if metadata.is_dir() { String::new() } else { format!("{}.{}", metadata.ctime(), metadata.ctime_nsec()) }
}

/// Visits all below a directory, with its name relative to that, and goes on into it where the visit says so. No link is followed.
fn walk(root: &Path, visit: &mut impl FnMut(&Path, &Metadata, &[u8]) -> io::Result<bool>) -> io::Result<()> {
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let path = entry.path();
            let name = path.strip_prefix(root).map_err(io::Error::other)?;
            if visit(&path, &entry.metadata()?, name.as_os_str().as_bytes())? {
                directories.push(path);
            }
        }
    }
    Ok(())
}
