//! The container that tests run in, as an engine is asked for it. It shows the files of the run, of which what is written there
//! is its own: an overlay of them, a volume that goes with the sandbox, so that an engine mounts it whoever the executor is. What
//! is written is in the sandbox's directory.

use std::path::{Path, PathBuf};

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, Mount, MountType, VolumeCreateRequest};
use seagull_domain::TestContainer;

use super::container::{bounded, container_name, in_network, network_name, shown, volume};
use super::labels::Labels;
use super::vault;
use crate::sandbox::Spec;

/// What no service is called: names of these have no underscore.
pub const TESTS: &str = "_tests";
const TREE: &str = "_tree";
/// What is written to the tree, in a sandbox's directory.
pub const UPPER: &str = "upper";
/// What tests find by the name of their own machine.
pub const HOSTNAME: &str = "tests";

/// What a test container is beside what is written of it.
pub struct Given<'a> {
    pub labels: &'a Labels,
    /// What the image declares as volumes.
    pub volumes: &'a [String],
    /// Whether its sandbox has a network.
    pub networked: bool,
    pub has_secrets: bool,
    /// A directory of the tree that is empty there.
    pub hidden: Option<&'a Path>,
    /// Of whoever it runs as, who is whoever this is: then both may remove what either makes.
    pub user: (u32, u32),
}

pub fn body(container: &TestContainer, spec: &Spec, given: &Given) -> ContainerCreateBody {
    let text = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
    let (program, arguments) =
        spec.command.split_first().map_or((String::new(), &[][..]), |(first, rest)| (text(first), rest));
    let env = spec.env.iter().map(|(name, value)| format!("{}={}", text(name), text(value)));
    let network = given.networked.then(|| network_name(given.labels));
    let (user, group) = given.user;
    ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint: Some(vec![program]),
        cmd: Some(arguments.iter().map(text).collect()),
        user: Some(format!("{user}:{group}")),
        env: Some(env.collect()),
        hostname: Some(HOSTNAME.to_owned()),
        working_dir: Some(spec.cwd.to_string_lossy().into_owned()),
        labels: Some(given.labels.on(None)),
        // Nobody asks how it is.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
        host_config: Some(HostConfig {
            network_mode: Some(network.clone().unwrap_or_else(|| "none".to_owned())),
            mounts: Some(mounts(container, spec, given)),
            readonly_rootfs: Some(container.read_only),
            ..bounded(&container.limits, &container.capabilities, &container.tmpfs)
        }),
        networking_config: network.map(|network| in_network(network, HOSTNAME)),
        ..Default::default()
    }
}

/// All at the paths that they have on this machine.
fn mounts(container: &TestContainer, spec: &Spec, given: &Given) -> Vec<Mount> {
    let own = given.labels.on(None);
    let at = |path: &Path, read_only| shown(path, &path.to_string_lossy(), read_only);
    let secrets = vault::path(given.labels, TESTS);
    let secrets = given.has_secrets.then(|| shown(&secrets, vault::INSIDE, true));
    let tree = volume(Some(container_name(given.labels, TREE)), &spec.tree.to_string_lossy(), &own, false);
    let fixed = [tree, at(&spec.directories[0], true), at(&spec.log, false)];
    let fixed = fixed.into_iter().chain(given.hidden.map(empty));
    let fixed = fixed.chain(spec.shared.iter().map(|path| at(path, false)));
    declared(container, given.volumes)
        .map(|path| volume(None, path, &own, true))
        .chain(fixed)
        .chain(secrets)
        .collect()
}

/// The volumes of its image that are volumes there too.
pub fn declared<'a>(container: &TestContainer, volumes: &'a [String]) -> impl Iterator<Item = &'a String> {
    volumes.iter().filter(|path| !container.tmpfs.contains(path))
}

/// In memory, and nothing is ever there.
fn empty(path: &Path) -> Mount {
    Mount {
        typ: Some(MountType::TMPFS),
        target: Some(path.to_string_lossy().into_owned()),
        read_only: Some(true),
        ..Default::default()
    }
}

/// The directories for what is written to the tree: what it comes to, whose owner and mode are those of the tree's top, and
/// where the kernel works.
pub fn writable(spec: &Spec) -> [PathBuf; 2] {
    let temporary = spec.directories.last().unwrap_or(&spec.tree);
    [UPPER, "work"].map(|name| temporary.join(name))
}

/// The tree with these.
pub fn overlay(labels: &Labels, spec: &Spec) -> VolumeCreateRequest {
    let [upper, work] = writable(spec);
    let [lower, upper, work] = [&spec.tree, &upper, &work].map(|path| escaped(&path.to_string_lossy()));
    let options = [
        ("type", "overlay".to_owned()),
        ("device", "overlay".to_owned()),
        ("o", format!("lowerdir={lower},upperdir={upper},workdir={work}")),
    ];
    VolumeCreateRequest {
        name: Some(container_name(labels, TREE)),
        driver: Some("local".to_owned()),
        driver_opts: Some(options.map(|(name, value)| (name.to_owned(), value)).into()),
        labels: Some(labels.on(None)),
        ..Default::default()
    }
}

/// A path among a mount's options.
fn escaped(path: &str) -> String {
    path.chars().flat_map(|c| matches!(c, '\\' | ',' | ':').then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use seagull_domain::Limits;

    use super::super::labels::tests::labels;
    use super::*;

    fn spec() -> Spec {
        Spec {
            command: ["python3", "-c", "pass"].map(Into::into).to_vec(),
            env: vec![("MODE".into(), "a b".into())],
            cwd: "/src/tests".into(),
            directories: vec!["/tmp/s/gw0".into(), "/var/tmp/s/gw0".into()],
            log: "/tmp/s/gw0.log".into(),
            shared: Some("/tmp/s/gw0.left".into()),
            tree: "/src".into(),
            bounds: None,
            hosts: None,
        }
    }

    fn given(labels: &Labels) -> Given<'_> {
        let hidden = None;
        Given { labels, volumes: &[], networked: true, has_secrets: false, hidden, user: (1000, 100) }
    }

    #[test]
    fn it_may_do_no_more_than_is_written_and_is_whoever_its_executor_is() {
        let limits = Limits { memory_kib: Some(2048), millicpus: Some(1500), pids: 9, disk_kib: None };
        let container = TestContainer { limits, read_only: true, ..TestContainer::default() };
        let labels = labels();
        let asked = body(&container, &spec(), &given(&labels));
        assert_eq!(
            (asked.user.as_deref(), asked.working_dir.as_deref()),
            (Some("1000:100"), Some("/src/tests"))
        );
        assert_eq!(
            (asked.entrypoint.unwrap(), asked.cmd.unwrap()),
            (vec!["python3".to_owned()], vec!["-c".to_owned(), "pass".to_owned()])
        );
        assert_eq!(asked.env.unwrap(), ["MODE=a b"]);
        let host = asked.host_config.unwrap();
        assert_eq!((host.privileged, host.readonly_rootfs), (Some(false), Some(true)));
        assert_eq!((host.cap_drop, host.cap_add), (Some(vec!["ALL".to_owned()]), Some(Vec::new())));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!((host.memory, host.memory_swap, host.pids_limit), (Some(2 << 20), Some(2 << 20), Some(9)));
        assert_eq!(host.network_mode.as_deref(), Some("seagull-db-s1"));
        let cut_off = body(&container, &spec(), &Given { networked: false, ..given(&labels) });
        assert_eq!(cut_off.host_config.unwrap().network_mode.as_deref(), Some("none"));
        assert_eq!(cut_off.networking_config, None);
    }

    #[test]
    fn it_writes_to_its_log_and_to_an_overlay_of_the_tree() {
        let labels = labels();
        let mounts = mounts(&TestContainer::default(), &spec(), &given(&labels));
        let targets: Vec<_> =
            mounts.iter().map(|mount| (mount.target.as_deref().unwrap(), mount.read_only)).collect();
        let written = [("/tmp/s/gw0.log", Some(false)), ("/tmp/s/gw0.left", Some(false))];
        assert_eq!(targets, [[("/src", None), ("/tmp/s/gw0", Some(true))], written].concat());
        let directories = vec!["/tmp/s/gw0".into(), "/t,\\/gw0".into()];
        let overlay = overlay(&labels, &Spec { tree: "/a:b".into(), directories, ..spec() });
        assert_eq!(overlay.name.as_ref(), mounts[0].source.as_ref());
        assert_eq!(
            overlay.driver_opts.unwrap()["o"],
            r"lowerdir=/a\:b,upperdir=/t\,\\/gw0/upper,workdir=/t\,\\/gw0/work"
        );
        assert_eq!(Labels::read(&overlay.labels.unwrap()), Some(labels));
    }
}
