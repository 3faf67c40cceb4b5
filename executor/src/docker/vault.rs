//! Secrets of services: files in this machine's memory that containers are shown. An engine knows where they are, and not
//! what is in them.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::labels::Labels;
use super::owner::{Standing, standing};
use crate::remove::remove_tree;
use crate::secrets::Secrets;

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "seagull-secrets-";
/// Names the file that the owner's guard keeps locked.
const LOCK: &str = "lock";
/// Where they are in a container, each a file of its name.
pub const INSIDE: &str = "/run/secrets";

/// Where those of a service are.
pub fn path(labels: &Labels, service: &str) -> PathBuf {
    of_sandbox(labels).join(service)
}

/// Writes those of a service. Only the owner of the directory comes to it by its path here, whoever the service is.
pub fn keep(labels: &Labels, service: &str, secrets: &Secrets) -> io::Result<()> {
    let directory = path(labels, service);
    DirBuilder::new().recursive(true).mode(0o700).create(of_sandbox(labels))?;
    fs::write(of_owner(&labels.owner).join(LOCK), labels.lock.to_string_lossy().as_bytes())?;
    DirBuilder::new().mode(0o755).create(&directory)?;
    for (name, value) in secrets.variables() {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(directory.join(name));
        file?.write_all(value.as_bytes())?;
    }
    Ok(())
}

/// All of a sandbox's that can be read, by name.
pub fn kept(labels: &Labels) -> Vec<(String, String)> {
    let entries = |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries(of_sandbox(labels)).flat_map(|service| entries(service.path()));
    let read = |file: fs::DirEntry| {
        Some((file.file_name().into_string().ok()?, fs::read_to_string(file.path()).ok()?))
    };
    files.filter_map(read).collect()
}

/// Removes those of a sandbox.
pub fn forget(labels: &Labels) {
    let _ = remove_tree(&of_sandbox(labels));
    let owner = of_owner(&labels.owner);
    let is_empty = |owner: &Path| {
        fs::read_dir(owner).is_ok_and(|mut left| left.all(|one| one.is_ok_and(|one| one.file_name() == LOCK)))
    };
    if is_empty(&owner) {
        let _ = remove_tree(&owner);
    }
}

/// Removes all of an owner's.
pub fn forget_owner(owner: &str) {
    let _ = remove_tree(&of_owner(owner));
}

/// The directories of owners that are dead.
pub fn abandoned() -> Vec<PathBuf> {
    let is_abandoned = |directory: &PathBuf| {
        let is_ours = directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let lock = || fs::read_to_string(directory.join(LOCK));
        is_ours && lock().is_ok_and(|lock| standing(Path::new(&lock)) == Standing::Dead)
    };
    let all = fs::read_dir(MEMORY).into_iter().flatten();
    all.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(is_abandoned).collect()
}

pub fn remove_abandoned(directory: &Path) -> io::Result<()> {
    remove_tree(directory)
}

fn of_owner(owner: &str) -> PathBuf {
    Path::new(MEMORY).join(format!("{PREFIX}{owner}"))
}

fn of_sandbox(labels: &Labels) -> PathBuf {
    of_owner(&labels.owner).join(&labels.sandbox)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::labels::tests::labels;
    use super::super::owner::lock;
    use super::*;

    #[test]
    fn secrets_are_for_their_service_and_gone_with_their_owner() {
        if !Path::new(MEMORY).is_dir() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let owner = format!("test-{}", std::process::id());
        let labels = Labels { owner: owner.clone(), lock: directory.path().join("lock"), ..labels() };
        let source = directory.path().join("key");
        fs::write(&source, "hunter2\n").unwrap();
        let sources = [("KEY".to_owned(), format!("file:{}", source.display()).parse().unwrap())].into();
        let secrets = Secrets::find(&sources).unwrap();
        let guard = lock(&labels.lock).unwrap();
        keep(&labels, "pg", &secrets).unwrap();
        let file = path(&labels, "pg").join("KEY");
        assert_eq!(fs::read_to_string(&file).unwrap(), "hunter2");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&of_owner(&owner)), mode(&of_sandbox(&labels))), (0o444, 0o700, 0o700));
        assert!(!abandoned().contains(&of_owner(&owner)), "its guard lives");
        drop(guard);
        assert!(abandoned().contains(&of_owner(&owner)));
        forget(&labels);
        assert!(!of_owner(&owner).exists());
    }
}
