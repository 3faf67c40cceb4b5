//! Where services are reached, and the variables that say so.

use std::collections::BTreeMap;
use std::net::IpAddr;

use seagull_domain::Service;

/// Where a service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// None where nothing of it is reached from there.
    pub host: Option<String>,
    /// Ports inside, and where each is; in the order in which they are written.
    pub ports: Vec<(u16, u16)>,
    /// Its own, with all ports as they are inside; None where this machine is not in its network.
    pub own: Option<IpAddr>,
}

impl Address {
    /// As tests want it, by the service's first port.
    pub fn url(&self, service: &Service) -> Option<String> {
        let ((_, port), host) = (self.ports.first()?, self.host.as_ref()?);
        let pattern = service.url.as_deref().unwrap_or("tcp://{host}:{port}");
        Some(pattern.replace("{host}", host).replace("{port}", &port.to_string()))
    }
}

/// `SEAGULL_SERVICE_<NAME>_HOST`, `_PORT`, `_URL`, and of several ports `_PORT_<PORT INSIDE>`.
pub fn variables(name: &str, service: &Service, address: &Address) -> BTreeMap<String, String> {
    let prefix = format!("SEAGULL_SERVICE_{}", variable(name));
    let host = address.host.iter().map(|host| (format!("{prefix}_HOST"), host.clone()));
    let mut variables: BTreeMap<String, String> = host.collect();
    if let Some((_, port)) = address.ports.first() {
        variables.insert(format!("{prefix}_PORT"), port.to_string());
    }
    if address.ports.len() > 1 {
        let several = address.ports.iter();
        variables.extend(several.map(|(inside, port)| (format!("{prefix}_PORT_{inside}"), port.to_string())));
    }
    variables.extend(address.url(service).map(|url| (format!("{prefix}_URL"), url)));
    variables
}

/// A service's name as it stands in a variable. Names are made of small letters, digits and hyphens, so no two become one.
fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_where_a_service_is() {
        let address = |ports: &[(u16, u16)]| Address {
            host: Some("127.0.0.1".to_owned()),
            ports: ports.to_vec(),
            own: None,
        };
        let said = |service: &Service, ports: &[(u16, u16)]| {
            let variables = variables("main-db", service, &address(ports));
            variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let plain = Service::default();
        assert_eq!(said(&plain, &[]), ["SEAGULL_SERVICE_MAIN_DB_HOST=127.0.0.1"]);
        assert!(
            variables("main-db", &plain, &Address { host: None, ports: Vec::new(), own: None }).is_empty()
        );
        let expected = [
            "SEAGULL_SERVICE_MAIN_DB_HOST=127.0.0.1",
            "SEAGULL_SERVICE_MAIN_DB_PORT=4001",
            "SEAGULL_SERVICE_MAIN_DB_URL=tcp://127.0.0.1:4001",
        ];
        assert_eq!(said(&plain, &[(5432, 4001)]), expected);
        let postgres = Service { url: Some("postgres://me@{host}:{port}/app".to_owned()), ..plain };
        let expected = [
            "SEAGULL_SERVICE_MAIN_DB_HOST=127.0.0.1",
            "SEAGULL_SERVICE_MAIN_DB_PORT=4001",
            "SEAGULL_SERVICE_MAIN_DB_PORT_5432=4001",
            "SEAGULL_SERVICE_MAIN_DB_PORT_80=4002",
            "SEAGULL_SERVICE_MAIN_DB_URL=postgres://me@127.0.0.1:4001/app",
        ];
        assert_eq!(said(&postgres, &[(5432, 4001), (80, 4002)]), expected);
    }
}
