//! `ready` of `[services.NAME]`: how it is seen that a service can be used.

use seagull_domain::{Probe, Ready};

use super::reader::Reader;
use super::services::words;
use crate::duration;

const WAYS: &str = "tcp, http, command, log and health";

/// At most one way to see that a service is ready; without one, its first port takes connections.
pub fn read(table: &mut Reader, ports: &[u16]) -> anyhow::Result<Ready> {
    let within = table.parsed("within", duration::parse_some)?;
    let within_ms = within.map_or(Ready::default().within_ms, duration::millis);
    let known = |port: u16| ports.contains(&port);
    let tcp = table.number("tcp", 1..=u16::MAX)?;
    if tcp.is_some_and(|port| !known(port)) {
        return Err(table.refuse("tcp", "expected one of the service's ports"));
    }
    let http = table.parsed("http", |text| match http(text) {
        Some((port, path)) if known(port) => Ok((port, path)),
        Some(_) => Err("expected one of the service's ports".to_owned()),
        None => Err("expected PORT/PATH, such as 8080/health".to_owned()),
    })?;
    let command = table.words("command")?.map(words);
    let log = table.text("log")?.filter(|text| !text.is_empty());
    let health = table.truth("health")?.unwrap_or(false);
    let asked = [
        tcp.map(Probe::Tcp),
        http.map(|(port, path)| Probe::Http(port, path)),
        command.map(Probe::Command),
        log.map(Probe::Log),
        health.then_some(Probe::Health),
    ];
    let mut asked = asked.into_iter().flatten();
    let probe = asked.next();
    if asked.next().is_some() {
        return Err(table.refuse_all(&format!("expected one of {WAYS}")));
    }
    // What is meant for a way would go unheard, and the service be taken for ready too soon.
    if probe.is_none()
        && let Some(key) = table.stranger()
    {
        return Err(table.refuse(key, &format!("expected one of {WAYS}, and within")));
    }
    let first = ports.first().map_or(Probe::Started, |port| Probe::Tcp(*port));
    Ok(Ready { probe: probe.unwrap_or(first), within_ms })
}

fn http(text: &str) -> Option<(u16, String)> {
    let (port, path) = text.split_once('/')?;
    let clean = !path.contains(|c: char| c.is_whitespace() || c.is_control());
    Some((port.parse().ok()?, format!("/{path}"))).filter(|_| clean)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        Config::parse(Path::new("/suite/seagull.toml"), text)
    }

    #[test]
    fn what_is_not_written_is_the_least() {
        let probe = |more: &str| {
            let text = format!("[services.a]\nimage = 'x'\n{more}\n[environment.e]\nservices = ['a']");
            parse(&text).unwrap().environments["e"].services["a"].ready.probe.clone()
        };
        assert_eq!(probe(""), Probe::Started);
        assert_eq!(probe("ports = [80, 81]"), Probe::Tcp(80));
        assert_eq!(probe("ports = [80, 81]\nready.tcp = 81"), Probe::Tcp(81));
        assert_eq!(probe("ready.log = 'up'"), Probe::Log("up".to_owned()));
        assert_eq!(probe("ready.health = true"), Probe::Health);
    }

    #[test]
    fn a_way_that_makes_no_sense_is_refused_where_it_stands() {
        let table = [
            ("ready.tcp = 80", "ready.tcp = 80: expected one of the service's"),
            ("ready.http = 'x'", "ready.http = 'x': expected PORT/PATH"),
            (
                "ready = { log = 'x', health = true }",
                "ready: expected one of tcp, http, command, log and health\n",
            ),
            ("ready.within = 3", "ready.within = 3: expected a duration"),
            (
                "ready.tpc = 80",
                "ready.tpc = 80: expected one of tcp, http, command, log and health, and within\n",
            ),
        ];
        for (text, expected) in table {
            let error = parse(&format!("[services.a]\n{text}")).unwrap_err();
            assert!(error.is::<crate::errors::Usage>());
            assert!(
                error.to_string().starts_with(&format!("/suite/seagull.toml:2: services.a.{expected}")),
                "{error}"
            );
        }
        let more = parse("[services.a]\nimage = 'x'\nready = { log = 'x', withn = '3s' }").unwrap();
        assert!(
            more.warnings[0]
                .ends_with("unknown key services.a.ready.withn; did you mean services.a.ready.within?")
        );
    }
}
