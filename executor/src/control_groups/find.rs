//! Where this process may make control groups: beside its own group, or below it where that is all its own. Of the second
//! version what has processes has no groups with controllers, but for the hierarchy's top.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Group, PREFIX};

/// What is bounded, or counted. There is nothing without the first.
const CONTROLLERS: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];
/// Where this process goes to make room for groups beside it.
const OWN: &str = "executor";

/// A hierarchy that is mounted.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// What of the hierarchy is seen there.
    root: PathBuf,
    at: PathBuf,
    /// Those of the first version have controllers for their options.
    is_second: bool,
    options: Vec<String>,
}

pub(super) fn bases() -> Vec<PathBuf> {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (mounts, own) = (mounts(&read("mountinfo")), read("cgroup"));
    let second: Vec<PathBuf> = second(&mounts, &own).into_iter().collect();
    if works(&second) {
        return second;
    }
    let first = first(&mounts, &own);
    if works(&first) { first } else { Vec::new() }
}

/// The group that a process is in, with this in its name: the number may be another process's here.
pub(crate) fn group_of(pid: i64, named: &str) -> Option<Group> {
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    if named.is_empty() || !own.contains(named) {
        return None;
    }
    let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo").ok()?);
    let second = place(&mounts, &own).map(|(_, group)| Group::new(vec![group]));
    let first = || Group::new(first(&mounts, &own));
    second.filter(Group::counts_memory).or_else(|| Some(first()).filter(Group::counts_memory))
}

/// Whether a group can be made there that counts memory, and a process of this one's be in it.
fn works(bases: &[PathBuf]) -> bool {
    let name = format!("{PREFIX}trial-{}", std::process::id());
    let group = Group::new(bases.iter().map(|base| base.join(&name)).collect());
    let works = group.make(None).is_ok() && group.counts_memory() && enters(&group);
    group.remove();
    works
}

fn enters(group: &Group) -> bool {
    let line = "for group; do echo 0 >\"$group/cgroup.procs\" || exit 1; done";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", line, "sh"]).args(group.directories());
    let shell = shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS [TAGS] - TYPE SOURCE OPTIONS`, of those that are control groups.
fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (of, kind) = line.split_once(" - ")?;
        let mut of = of.split(' ').skip(3);
        let (root, at) = (of.next()?, of.next()?);
        let mut kind = kind.split(' ');
        let is_second = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let options = kind.nth(1)?.split(',').map(str::to_owned).collect();
        Some(Mount { root: root.into(), at: at.into(), is_second, options })
    };
    text.lines().filter_map(mount).collect()
}

/// Where a group is seen.
fn seen(mount: &Mount, group: &str) -> Option<PathBuf> {
    let below = Path::new(group).strip_prefix(&mount.root).ok()?;
    Some(if below.as_os_str().is_empty() { mount.at.clone() } else { mount.at.join(below) })
}

/// One directory for each of the controllers' hierarchies, that of memory first; nothing without it.
fn first(mounts: &[Mount], own: &str) -> Vec<PathBuf> {
    let base = |controller: &&str| {
        let has = |names: &str| names.split(',').any(|name| name == *controller);
        let group = own.lines().find_map(|line| {
            let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
            has(controllers).then_some(group)
        })?;
        let has = |mount: &&Mount| mount.options.iter().any(|option| option == *controller);
        seen(mounts.iter().filter(|mount| !mount.is_second).find(has)?, group)
    };
    if base(&CONTROLLERS[0]).is_none() {
        return Vec::new();
    }
    let mut bases = Vec::new();
    for found in CONTROLLERS.iter().filter_map(base) {
        if !bases.contains(&found) {
            bases.push(found);
        }
    }
    bases
}

/// Where a group of the second version is seen.
fn place<'m>(mounts: &'m [Mount], own: &str) -> Option<(&'m Mount, PathBuf)> {
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.iter().filter(|mount| mount.is_second).find_map(|mount| Some((mount, seen(mount, group)?)))
}

fn second(mounts: &[Mount], own: &str) -> Option<PathBuf> {
    let (mount, own) = place(mounts, own)?;
    let above = own.parent().filter(|_| own != mount.at).map(Path::to_owned);
    // One that has gone aside does so no further.
    let alone = !own.ends_with(OWN) && move_aside(&own).is_ok();
    [Some(own).filter(|_| alone), above].into_iter().flatten().find(|base| give(base).is_ok())
}

/// Leaves the own group to others, where nobody else is in it. A hierarchy's top has no need of that.
fn move_aside(own: &Path) -> io::Result<()> {
    if !own.join("cgroup.type").exists() {
        return Ok(());
    }
    let there = fs::read_to_string(own.join("cgroup.procs"))?;
    if there.trim() != std::process::id().to_string() {
        return Err(io::Error::other("others are in it"));
    }
    let aside = own.join(OWN);
    match fs::create_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(aside.join("cgroup.procs"), "0")
}

/// Has groups below it have the controllers that there are.
fn give(base: &Path) -> io::Result<()> {
    let given = base.join("cgroup.subtree_control");
    let is_there = |text: &str, controller: &str| text.split_whitespace().any(|name| name == controller);
    let there = fs::read_to_string(base.join("cgroup.controllers"))?;
    for controller in CONTROLLERS.iter().filter(|controller| is_there(&there, controller)) {
        if !is_there(&fs::read_to_string(&given)?, controller) {
            // Without what is not given nothing is bounded by it, which is said where somebody wants it.
            let _ = fs::write(&given, format!("+{controller}"));
        }
    }
    match is_there(&fs::read_to_string(&given)?, CONTROLLERS[0]) {
        true => Ok(()),
        false => Err(io::Error::other("memory is not counted there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct
31 25 0:27 /docker/c1 /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
33 1 8:1 / / rw - ext4 /dev/sda rw";

    #[test]
    fn a_group_of_the_first_version_is_found_in_each_hierarchy() {
        let mounts = mounts(FIRST);
        assert_eq!(mounts.len(), 3);
        let own = "4:memory:/docker/c1/inner\n3:cpu,cpuacct:/u\n2:pids:/p\n0::/x\n";
        let expected = ["/sys/fs/cgroup/memory/inner", "/sys/fs/cgroup/cpu,cpuacct/u"].map(PathBuf::from);
        assert_eq!(first(&mounts, own), expected, "pids are mounted nowhere");
        assert_eq!(first(&mounts, "4:memory:/docker/c2\n3:cpu:/u\n"), Vec::<PathBuf>::new(), "not seen");
        assert_eq!(first(&mounts, "4:memory:/docker/c1\n"), [PathBuf::from("/sys/fs/cgroup/memory")]);
        assert_eq!(first(&[], own), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_group_of_the_second_version_is_found_where_it_is_seen() {
        let mounts = mounts(FIRST);
        let seen = |group| seen(&mounts[2], group);
        assert_eq!(seen("/a/b"), Some("/sys/fs/cgroup/unified/a/b".into()));
        assert_eq!(seen("/"), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mounts[2].options, ["rw", "nsdelegate"]);
    }
}
