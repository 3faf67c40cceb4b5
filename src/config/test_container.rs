//! What of `[environment.NAME]` is about the container that its tests run in.

use seagull_domain::{Limits, Network, TestContainer};
use seagull_executor::control_groups::ALL_PIDS;

use super::reader::Reader;
use super::services::{are_absolute, are_capabilities, cpus, memory};

/// The interpreter of an image that names none.
const PYTHON: &str = "python3";

/// What tests run in, where that is an image; else what a worker may take on its executor's machine, if anything says so.
pub fn read(table: &mut Reader) -> anyhow::Result<(Option<TestContainer>, Option<Limits>)> {
    const NEEDS_IMAGE: &str = "expected image beside it, which it is about";
    let image = table.text("image")?.filter(|image| !image.is_empty());
    let python = table.text("python")?.filter(|python| !python.is_empty());
    let network = table.parsed("network", network)?;
    let tmpfs = table.texts_of("tmpfs", are_absolute)?;
    let capabilities = table.texts_of("capabilities", are_capabilities)?;
    let read_only = table.truth("read-only")?;
    let (memory_kib, millicpus) = (table.parsed("memory", memory)?, table.parsed("cpus", cpus)?);
    // The first process has nothing to do but the worker, which is another.
    let pids = table.number("pids", 2..=4_194_304)?;
    let disk_kib = table.parsed("disk", crate::memory::parse_kib)?;
    let is_bounded = memory_kib.is_some() || millicpus.is_some() || pids.is_some();
    let limits = |most: u32| Limits { memory_kib, millicpus, pids: pids.unwrap_or(most), disk_kib };
    let Some(image) = image else {
        let given = [
            ("python", python.is_some()),
            ("network", network.is_some()),
            ("tmpfs", tmpfs.is_some()),
            ("capabilities", capabilities.is_some()),
            ("read-only", read_only.is_some()),
            ("disk", disk_kib.is_some()),
        ];
        return match given.iter().find(|(_, is_given)| *is_given) {
            Some((key, _)) => Err(table.refuse(key, NEEDS_IMAGE)),
            None => Ok((None, Some(limits(ALL_PIDS)).filter(|_| is_bounded))),
        };
    };
    let container = TestContainer {
        image,
        python: python.unwrap_or_else(|| PYTHON.to_owned()),
        tmpfs: tmpfs.unwrap_or_default(),
        network: network.unwrap_or_default(),
        limits: limits(Limits::default().pids),
        capabilities: capabilities.unwrap_or_default(),
        read_only: read_only.unwrap_or(false),
    };
    Ok((Some(container), None))
}

fn network(text: &str) -> Result<Network, String> {
    match text {
        "none" => Ok(Network::None),
        "internal" => Ok(Network::Internal),
        "egress" => Ok(Network::Egress),
        _ => Err("expected none, internal or egress".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use seagull_domain::Environment;

    use super::super::Config;
    use super::*;

    #[test]
    fn tests_on_a_machine_may_have_bounds() {
        let text = "[environment.e]\nmemory = '1GiB'\ncpus = '2'";
        let config = Config::parse(Path::new("/suite/seagull.toml"), text).unwrap();
        assert_eq!(config.warnings, [""; 0]);
        let Environment { container, bounds, .. } = &config.environments["e"].environment;
        let (memory_kib, millicpus) = (Some(1 << 20), Some(2000));
        let expected = Limits { memory_kib, millicpus, pids: ALL_PIDS, disk_kib: None };
        assert_eq!((container, bounds), (&None, &Some(expected)));
    }

    #[test]
    fn tests_may_have_an_image_of_their_own() {
        let container = |more: &str| {
            let text = format!("[environment.e]\nimage = 'shop:1'\n{more}");
            let config = Config::parse(Path::new("/suite/seagull.toml"), &text).unwrap();
            assert_eq!(config.warnings, [""; 0]);
            config.environments["e"].environment.container.clone().unwrap()
        };
        let least = TestContainer {
            image: "shop:1".to_owned(),
            python: "python3".to_owned(),
            ..TestContainer::default()
        };
        assert_eq!(container(""), least);
        let more = "python = '/opt/bin/python'\nnetwork = 'egress'\ntmpfs = ['/tmp']\nmemory = '1GiB'\n\
                    cpus = '2'\npids = 50\ndisk = '2GiB'\ncapabilities = ['SYS_PTRACE']\nread-only = true";
        let all = TestContainer {
            image: "shop:1".to_owned(),
            python: "/opt/bin/python".to_owned(),
            tmpfs: vec!["/tmp".to_owned()],
            network: Network::Egress,
            limits: Limits {
                memory_kib: Some(1 << 20),
                millicpus: Some(2000),
                pids: 50,
                disk_kib: Some(2 << 20),
            },
            capabilities: vec!["SYS_PTRACE".to_owned()],
            read_only: true,
        };
        assert_eq!(container(more), all);
    }
}
