//! Control groups of processes on this machine, where the kernel has them and this process may make some, of either version.
//! What lives in one is counted, and bounded, together. A group that nothing lives in can be removed by anybody, and no other
//! can: so what a killed executor has left of them goes with the next one that looks.
#![expect(clippy::disallowed_methods, reason = "a shell: what is old is left")]

mod find;
mod group;
mod log;

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use find::group_of;
pub(crate) use group::Group;
use seagull_domain::Limits;

/// What the names of all groups begin with.
const PREFIX: &str = "seagull-";
/// Far longer than from the making of one until something is in it.
const MOMENT: Duration = Duration::from_secs(10);
/// What a supervisor's arguments call a group's directory, and its bounds: `Limits` as JSON.
pub(crate) const GROUP: &str = "--group";
pub(crate) const BOUNDS: &str = "--bounds";

/// As many processes as there may be are no bound.
pub const ALL_PIDS: u32 = 4_194_304;

/// Where this process may make groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlGroups {
    /// One directory, or one for each controller that has a hierarchy of its own.
    bases: Vec<PathBuf>,
}

impl ControlGroups {
    /// Looks for them, and removes the groups there that nobody is in. They are nowhere where there is none to be made.
    pub fn find() -> ControlGroups {
        let groups = ControlGroups { bases: find::bases() };
        for base in &groups.bases {
            let entries = fs::read_dir(base).into_iter().flatten().flatten();
            let left = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
            // The kernel refuses where somebody is in it.
            left.filter(is_old).for_each(|entry| drop(group::remove(&entry.path())));
        }
        groups
    }

    pub fn are_there(&self) -> bool {
        !self.bases.is_empty()
    }

    /// Tries whether what is in one can be bounded so.
    pub fn bound(&self, limits: &Limits) -> io::Result<()> {
        self.bounded(Path::new(&format!("/trial/{}", std::process::id())), limits).map(drop)
    }

    /// A group for what is started with [`crate::supervisor::within`], named after a directory of its own.
    pub fn bounded(&self, directory: &Path, limits: &Limits) -> io::Result<Bounded> {
        let bounded = Bounded(Group::new(self.of(directory)));
        bounded.0.make(Some(limits)).map(|()| bounded)
    }

    /// The directories that have a directory of each group.
    pub fn bases(&self) -> &[PathBuf] {
        &self.bases
    }

    /// The directories of the group of what has such a directory of its own.
    pub(crate) fn of(&self, directory: &Path) -> Vec<PathBuf> {
        let hash = blake3::hash(directory.as_os_str().as_encoded_bytes()).to_hex();
        self.bases.iter().map(|base| base.join(format!("{PREFIX}{}", &hash[..16]))).collect()
    }
}

/// A group that goes when it is dropped.
#[derive(Debug)]
pub struct Bounded(pub(crate) Group);

impl Bounded {
    /// Whether the kernel has killed something in it for want of memory.
    pub fn was_out_of_memory(&self) -> bool {
        self.0.was_out_of_memory()
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        self.0.remove();
    }
}

/// Whether whoever made it is in it by now, or has died.
fn is_old(group: &DirEntry) -> bool {
    let made = group.metadata().and_then(|metadata| metadata.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > MOMENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sandbox_has_a_group_of_its_own_in_each_hierarchy() {
        let groups = ControlGroups { bases: vec!["/m".into(), "/p".into()] };
        let [one, other] = ["/s/gw0", "/s/gw1"].map(|path| groups.of(Path::new(path)));
        assert_eq!((one.len(), one[0].parent()), (2, Some(Path::new("/m"))));
        assert_eq!(one[0].file_name(), one[1].file_name());
        assert_ne!(one, other);
        assert_eq!(ControlGroups::default().of(Path::new("/s/gw0")), [""; 0].map(PathBuf::from));
    }
}
