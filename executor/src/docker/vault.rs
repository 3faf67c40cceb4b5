//! Secrets of services: files in this machine's memory that containers are shown. An engine knows where they are, and not
//! what is in them.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::labels::Labels;
use super::lease::Outlived;
use super::site::Site;
use crate::remove::remove_tree;
use crate::secrets::Secrets;

const MEMORY: &str = "/dev/shm";
const PREFIX: &str = "seagull-secrets-";
/// What the objects of a sandbox say of themselves, its secrets say too. No service has such a name.
const LABELS: &str = ".labels";
/// They are shorter.
const LABELS_BYTES: u64 = 1 << 16;
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
    // Services that begin at the same time write the same.
    fs::write(of_sandbox(labels).join(LABELS), serde_json::to_vec(&labels.on(None))?)?;
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
pub fn remove(labels: &Labels) -> io::Result<()> {
    remove_tree(&of_sandbox(labels))?;
    // It stays while another sandbox has some.
    let _ = fs::remove_dir(of_owner(&labels.owner));
    Ok(())
}

/// The same where nothing can be done about those that stay.
pub fn forget(labels: &Labels) {
    let _ = remove(labels);
}

/// Removes all of an owner's.
pub fn forget_owner(owner: &str) {
    let _ = remove_tree(&of_owner(owner));
}

/// Those on this machine that are to go, as objects with their labels would: a state directory that is gone has no file
/// that could be looked at, and they may be another container's. `now`: in seconds since 1970.
pub fn abandoned(site: Option<&Site>, now: u64) -> Vec<(Labels, Outlived)> {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let is_ours = |owner: &fs::DirEntry| owner.file_name().to_string_lossy().starts_with(PREFIX);
    let sandboxes = entries(Path::new(MEMORY)).filter(is_ours).flat_map(|owner| entries(&owner.path()));
    let labels = sandboxes.filter_map(|sandbox| labels_in(&sandbox.path()));
    labels.filter_map(|labels| Site::judge(site, &labels, now).map(|why| (labels, why))).collect()
}

/// Removes those of a state directory that are to go, but for those of whoever looks.
pub fn sweep(site: &Site, looks: Option<&str>, now: u64) {
    let is_left =
        |of: &Labels| of.installation == site.installation && looks.is_none_or(|owner| owner != of.owner);
    abandoned(Some(site), now).iter().filter(|(of, _)| is_left(of)).for_each(|(of, _)| forget(of));
}

/// None where they are of another place: anybody may write there, also a pipe, or what no memory has room for.
fn labels_in(sandbox: &Path) -> Option<Labels> {
    let path = sandbox.join(LABELS);
    let is_plain = |found: fs::Metadata| found.is_file() && found.len() < LABELS_BYTES;
    let text = path.metadata().is_ok_and(is_plain).then(|| fs::read(&path).ok())??;
    let labels: HashMap<String, String> = serde_json::from_slice(&text).ok()?;
    Labels::read(&labels).filter(|labels| of_sandbox(labels) == sandbox)
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

    /// Not over yet for whoever else looks at this machine's memory meanwhile.
    const LEASE: u64 = 1 << 40;

    /// A sandbox with a secret, and who sees to it, in a state directory.
    fn kept_in(state: &Path, owner: &str) -> (Site, Labels, fs::File) {
        let site = Site::open(state).unwrap();
        let (owner, installation) = (format!("{owner}-{}", std::process::id()), site.installation.clone());
        let labels = Labels { lock: site.lock(&owner), owner, installation, lease: LEASE, ..labels() };
        let source = state.join("key");
        fs::write(&source, "hunter2\n").unwrap();
        let sources = [("KEY".to_owned(), format!("file:{}", source.display()).parse().unwrap())].into();
        let guard = lock(&labels.lock).unwrap();
        keep(&labels, "pg", &Secrets::find(&sources).unwrap()).unwrap();
        (site, labels, guard)
    }

    fn why(site: Option<&Site>, labels: &Labels, now: u64) -> Option<Outlived> {
        abandoned(site, now).into_iter().find(|(found, _)| found == labels).map(|(_, why)| why)
    }

    #[test]
    fn secrets_are_for_their_service_and_gone_with_their_owner() {
        if !Path::new(MEMORY).is_dir() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (site, labels, guard) = kept_in(directory.path(), "test");
        let owner = of_owner(&labels.owner);
        let file = path(&labels, "pg").join("KEY");
        assert_eq!(fs::read_to_string(&file).unwrap(), "hunter2");
        assert_eq!(super::kept(&labels), [("KEY".to_owned(), "hunter2".to_owned())]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&owner), mode(&of_sandbox(&labels))), (0o444, 0o700, 0o700));
        assert_eq!(why(None, &labels, LEASE - 1), None, "its guard lives");
        sweep(&site, None, LEASE - 1);
        assert!(file.exists(), "its guard lives");
        drop(guard);
        assert_eq!(why(None, &labels, LEASE - 1), Some(Outlived::Owner));
        sweep(&site, Some(&labels.owner), LEASE - 1);
        assert!(file.exists(), "its owner knows better");
        let another = Site { installation: "another".to_owned(), ..site.clone() };
        sweep(&another, None, LEASE - 1);
        assert!(file.exists(), "it is another's");
        sweep(&site, None, LEASE - 1);
        assert!(!owner.exists());
    }

    #[test]
    fn secrets_of_a_state_directory_that_is_gone_go_when_their_lease_ends() {
        if !Path::new(MEMORY).is_dir() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let (site, labels, guard) = kept_in(directory.path(), "wiped");
        let beside = Labels { sandbox: "s2".to_owned(), lease: LEASE + 1000, ..labels.clone() };
        keep(&beside, "pg", &Secrets::default()).unwrap();
        drop(directory);
        // Whoever holds a file that is gone cannot be seen.
        assert_eq!(why(None, &labels, LEASE - 1), None);
        assert_eq!(why(None, &labels, LEASE + 7), Some(Outlived::Lease(7)));
        drop(guard);
        assert_eq!(why(None, &labels, LEASE - 1), None, "nor whether nobody does");
        assert_eq!(why(None, &beside, LEASE + 7), None, "its lease goes on");
        assert_eq!(
            why(Some(&site), &labels, LEASE - 1),
            Some(Outlived::Owner),
            "but it is known to be one's own"
        );
        remove(&labels).unwrap();
        assert!(!of_sandbox(&labels).exists() && of_sandbox(&beside).exists());
        remove(&beside).unwrap();
        assert!(!of_owner(&labels.owner).exists());
    }
}
