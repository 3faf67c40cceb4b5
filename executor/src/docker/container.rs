//! A service as an engine is asked for it: limits, rights, mounts, ports.

use std::collections::HashMap;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount, MountType,
    MountVolumeOptions, NetworkingConfig, PortBinding, PortMap,
};
use seagull_domain::{Limits, Service};

use super::labels::Labels;
use super::vault;

/// What a service may say before its oldest words are dropped: two files of so much.
const LOG_SIZE: &str = "20m";
/// Ports are published here only.
const LOOPBACK: &str = "127.0.0.1";

/// What a service begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Base {
    pub image: String,
    /// Paths that the image declares as volumes. They become volumes with labels, for those that an engine makes by itself
    /// have none and could not be found again.
    pub volumes: Vec<String>,
    /// Whether it is a template, which has what is in the volumes aside.
    pub template: bool,
}

/// `published`: ports that are reached from this machine.
pub fn body(
    name: &str,
    service: &Service,
    labels: &Labels,
    base: &Base,
    published: &[u16],
) -> ContainerCreateBody {
    let network = network_name(labels);
    ContainerCreateBody {
        image: Some(base.image.clone()),
        cmd: service.command.clone(),
        user: service.rights.user.clone(),
        env: Some(service.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        hostname: Some(name.to_owned()),
        exposed_ports: Some(service.ports.iter().map(|port| key(*port)).collect()),
        labels: Some(labels.on(Some(name))),
        host_config: Some(HostConfig {
            network_mode: Some(network.clone()),
            mounts: Some([secrets(name, service, labels), mounts(name, service, labels, base)].concat()),
            readonly_rootfs: Some(service.rights.read_only),
            port_bindings: Some(bindings(published)),
            ..bounded(&service.limits, &service.rights.capabilities, &service.tmpfs)
        }),
        networking_config: Some(in_network(network, name)),
        ..Default::default()
    }
}

/// In a network by this name.
pub fn in_network(network: String, name: &str) -> NetworkingConfig {
    let endpoint = EndpointSettings { aliases: Some(vec![name.to_owned()]), ..Default::default() };
    NetworkingConfig { endpoints_config: Some(HashMap::from([(network, endpoint)])) }
}

/// What any container is bounded by.
pub fn bounded(limits: &Limits, capabilities: &[String], tmpfs: &[String]) -> HostConfig {
    let memory = limits.memory_kib.and_then(|kib| i64::try_from(kib * 1024).ok());
    let log = HashMap::from([
        ("max-size".to_owned(), LOG_SIZE.to_owned()),
        ("max-file".to_owned(), "2".to_owned()),
    ]);
    HostConfig {
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities.to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(limits.pids.into()),
        memory,
        // No swap on top of it.
        memory_swap: memory,
        nano_cpus: limits.millicpus.map(|cpus| i64::from(cpus) * 1_000_000),
        tmpfs: Some(tmpfs.iter().map(|path| (path.clone(), String::new())).collect()),
        log_config: Some(HostConfigLogConfig { typ: Some("json-file".to_owned()), config: Some(log) }),
        ..Default::default()
    }
}

/// Each at a free port, so that two sandboxes never collide.
fn bindings(ports: &[u16]) -> PortMap {
    let free = || PortBinding { host_ip: Some(LOOPBACK.to_owned()), host_port: Some(String::new()) };
    ports.iter().map(|port| (key(*port), Some(vec![free()]))).collect()
}

/// The engine is told where secrets are, and not what they are.
fn secrets(name: &str, service: &Service, labels: &Labels) -> Vec<Mount> {
    match service.secrets.is_empty() {
        true => Vec::new(),
        false => vec![shown(&vault::path(labels, name), vault::INSIDE, true)],
    }
}

/// What of this machine is shown in a container.
pub fn shown(outside: &Path, inside: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(outside.to_string_lossy().into_owned()),
        target: Some(inside.to_owned()),
        read_only: Some(read_only),
        ..Default::default()
    }
}

fn mounts(name: &str, service: &Service, labels: &Labels, base: &Base) -> Vec<Mount> {
    let own = labels.on(Some(name));
    let files = service.files.iter().map(|(inside, outside)| shown(Path::new(outside), inside, true));
    let volumes = kept(service, &base.volumes).enumerate().flat_map(|(number, path)| {
        if !base.template {
            return vec![volume(None, path, &own, true)];
        }
        // An engine fills a new volume with what the image has where it is mounted: once aside, for that.
        let name = Some(format!("{}_{number}", container_name(labels, name)));
        vec![volume(name.clone(), &aside(number, path), &own, true), volume(name, path, &own, false)]
    });
    files.chain(volumes).collect()
}

/// The volumes of an image that hold what a service writes there.
pub fn kept<'a>(service: &'a Service, volumes: &'a [String]) -> impl Iterator<Item = &'a String> {
    volumes.iter().filter(|path| !service.tmpfs.contains(path) && !service.files.contains_key(*path))
}

/// Where a template has what is in a volume.
pub fn aside(number: usize, path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default();
    format!("{}/{}", place_aside(number), name.to_string_lossy())
}

/// The directory of it, which has nothing else.
pub fn place_aside(number: usize) -> String {
    format!("/.seagull/{number}")
}

/// A volume, by its name if it has one. `filled`: with what the image has there, if it is empty.
pub fn volume(name: Option<String>, inside: &str, labels: &HashMap<String, String>, filled: bool) -> Mount {
    let options =
        MountVolumeOptions { labels: Some(labels.clone()), no_copy: Some(!filled), ..Default::default() };
    Mount {
        typ: Some(MountType::VOLUME),
        source: name,
        target: Some(inside.to_owned()),
        volume_options: Some(options),
        ..Default::default()
    }
}

/// The names of a sandbox's network and containers. Services find each other by aliases; these are for people.
pub fn network_name(labels: &Labels) -> String {
    format!("seagull-{}-{}", labels.environment, labels.sandbox)
}

pub fn container_name(labels: &Labels, service: &str) -> String {
    format!("{}-{service}", network_name(labels))
}

/// A port as an engine writes it.
pub fn key(port: u16) -> String {
    format!("{port}/tcp")
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Limits, Rights};

    use super::super::labels::tests::labels;
    use super::*;

    #[test]
    fn a_container_may_do_no_more_than_is_written() {
        let host = body("pg", &Service::default(), &labels(), &Base::default(), &[]).host_config.unwrap();
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.cap_add, Some(Vec::new()));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!((host.pids_limit, host.memory, host.nano_cpus), (Some(1024), None, None));
        let limits = Limits { memory_kib: Some(2048), millicpus: Some(1500), pids: 9, disk_kib: None };
        let rights = Rights { capabilities: vec!["CHOWN".to_owned()], read_only: true, user: None };
        let service = Service { limits, rights, ..Service::default() };
        let host = body("pg", &service, &labels(), &Base::default(), &[]).host_config.unwrap();
        assert_eq!(host.cap_add, Some(vec!["CHOWN".to_owned()]));
        assert_eq!((host.memory, host.memory_swap), (Some(2 << 20), Some(2 << 20)));
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_500_000_000), Some(9)));
        assert_eq!(host.readonly_rootfs, Some(true));
    }

    #[test]
    fn a_service_is_found_by_its_name_inside_and_on_loopback_outside() {
        let service = Service { ports: vec![5432], ..Service::default() };
        let body = body("pg", &service, &labels(), &Base::default(), &service.ports);
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(endpoints["seagull-db-s1"].aliases, Some(vec!["pg".to_owned()]));
        let bindings = body.host_config.unwrap().port_bindings.unwrap();
        let binding = &bindings["5432/tcp"].as_ref().unwrap()[0];
        assert_eq!(binding.host_ip.as_deref(), Some("127.0.0.1"));
    }

    #[test]
    fn every_object_is_labelled_the_volumes_of_an_image_too() {
        let service = Service { tmpfs: vec!["/cache".to_owned()], ..Service::default() };
        let volumes = vec!["/data".to_owned(), "/cache".to_owned()];
        let base = Base { volumes, ..Base::default() };
        let body = body("pg", &service, &labels(), &base, &[]);
        assert_eq!(Labels::read(&body.labels.unwrap()), Some(labels()));
        let mounts = body.host_config.unwrap().mounts.unwrap();
        assert_eq!(mounts.iter().map(|mount| mount.target.as_deref()).collect::<Vec<_>>(), [Some("/data")]);
        let volume = mounts[0].volume_options.as_ref().unwrap().labels.as_ref().unwrap();
        assert_eq!(Labels::read(volume), Some(labels()));
    }

    #[test]
    fn a_volume_is_filled_with_what_a_template_has_aside() {
        let volumes = vec!["/var/lib/pg".to_owned()];
        let base = Base { volumes, template: true, ..Base::default() };
        let mounts = mounts("pg", &Service::default(), &labels(), &base);
        let told = mounts.iter().map(|mount| {
            let no_copy = mount.volume_options.as_ref().unwrap().no_copy.unwrap();
            (mount.source.as_deref().unwrap(), mount.target.as_deref().unwrap(), no_copy)
        });
        let name = "seagull-db-s1-pg_0";
        assert_eq!(told.collect::<Vec<_>>(), [(name, "/.seagull/0/pg", false), (name, "/var/lib/pg", true)]);
    }
}
