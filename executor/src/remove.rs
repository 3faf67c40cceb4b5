//! Removing a directory that tests may have made hard to remove.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Removes a directory with all in it, also where tests took the permission away. Links are removed, never followed.
/// A directory that is not there is no error.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            open_directories(path);
            fs::remove_dir_all(path)
        }
        Ok(()) => Ok(()),
    }
}

/// Removes all of these, also if one of them cannot be.
pub(crate) fn remove_trees(paths: &[PathBuf]) -> io::Result<()> {
    paths.iter().map(|path| remove_tree(path)).fold(Ok(()), Result::and)
}

/// What cannot be opened makes the removal fail, which says so; but what is empty goes as it is, such as the kernel's directory
/// for an overlay, which is of root's.
fn open_directories(path: &Path) {
    if fs::set_permissions(path, fs::Permissions::from_mode(0o700)).is_err() {
        let _ = fs::remove_dir(path);
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_directories(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_directories_go_and_what_links_name_stays() {
        let root = tempfile::tempdir().unwrap();
        let kept = root.path().join("kept");
        fs::create_dir_all(kept.join("inside")).unwrap();
        let directory = root.path().join("sandbox");
        fs::create_dir_all(directory.join("locked/deep")).unwrap();
        std::os::unix::fs::symlink(&kept, directory.join("link")).unwrap();
        fs::set_permissions(directory.join("locked"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&directory).unwrap();
        assert!(!directory.exists());
        assert!(kept.join("inside").exists());
        remove_tree(&directory).unwrap();
    }
}
