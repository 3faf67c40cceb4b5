//! The names of services for tests on this machine, by which services find each other: an `/etc/hosts` that has them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::address::Address;

/// What this machine has.
const MACHINE: &str = "/etc/hosts";
/// Any port will do to ask for a way.
const SOME_PORT: u16 = 9;

/// Whether this machine is in a network whose gateway has this address: then its way to all that is there begins at that. It is
/// not in those of an engine that is on another machine, or in a network of its own.
pub fn is_in(network: IpAddr, gateway: IpAddr) -> bool {
    let any: IpAddr = match network {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // The kernel chooses the way; nothing is sent.
    let begins = UdpSocket::bind(SocketAddr::new(any, 0)).and_then(|socket| {
        socket.connect(SocketAddr::new(network, SOME_PORT))?;
        socket.local_addr()
    });
    begins.is_ok_and(|begins| begins.ip() == gateway)
}

/// Writes it for who uses these services, into a directory of theirs alone; None where no service is reached by its name.
pub fn write(addresses: &BTreeMap<String, Address>, directory: &Path) -> io::Result<Option<PathBuf>> {
    let Some(text) = text(addresses, &fs::read_to_string(MACHINE).unwrap_or_default()) else {
        return Ok(None);
    };
    let path = directory.join("hosts");
    fs::write(&path, text)?;
    // Whoever tests become there reads it.
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    Ok(Some(path))
}

/// Names of services mean these and nothing else, also where the machine has such a name.
fn text(addresses: &BTreeMap<String, Address>, machine: &str) -> Option<String> {
    let named = addresses.iter().filter_map(|(name, address)| Some((name.as_str(), address.own?)));
    let named: BTreeMap<&str, IpAddr> = named.collect();
    if named.is_empty() {
        return None;
    }
    let own = named.iter().map(|(name, address)| format!("{address}\t{name}\n"));
    let kept = machine.lines().filter_map(|line| {
        let written = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = written.split_whitespace().filter(|word| !named.contains_key(word)).collect();
        (words.len() > 1).then(|| words.join("\t") + "\n")
    });
    Some(own.chain(kept).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_have_their_names_and_the_machine_has_all_others() {
        let address =
            |own: Option<[u8; 4]>| Address { host: None, ports: Vec::new(), own: own.map(IpAddr::from) };
        let machine = "127.0.0.1 localhost # here\n\n# 10.0.0.1 gone\n::1 db\n127.0.1.1\tvm db db.example\n";
        let unreached = BTreeMap::from([("db".to_owned(), address(None))]);
        assert_eq!(text(&unreached, machine), None);
        let reached = [("db", Some([172, 18, 0, 2])), ("cache", None), ("app", Some([172, 18, 0, 3]))];
        let reached = reached.map(|(name, own)| (name.to_owned(), address(own))).into();
        let expected = "172.18.0.3\tapp\n172.18.0.2\tdb\n127.0.0.1\tlocalhost\n127.0.1.1\tvm\tdb.example\n";
        assert_eq!(text(&reached, machine).unwrap(), expected);
    }

    #[test]
    fn a_network_is_this_machines_where_the_way_to_it_begins_at_its_gateway() {
        let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        assert!(is_in(here, here) && !is_in(here, there));
        assert!(!is_in(IpAddr::from([203, 0, 113, 2]), IpAddr::from([203, 0, 113, 1])));
    }
}
