//! `[services.NAME]` and `[environment.NAME]`: what tests need around them.

use std::collections::BTreeMap;
use std::path::Path;

use seagull_domain::{
    Definition, Environment, Impossible, Limits, Network, Rights, Scope, Service, is_file_name,
};
use seagull_executor::docker::{HOSTNAME, SECRETS};
use seagull_results::Selection;

use super::command::Words;
use super::reader::Reader;
use super::{ready, test_container};
use crate::memory::parse_kib;
use crate::nearest::nearest;

/// Engines start nothing with less memory.
const LEAST_KIB: u64 = 6 * 1024;
/// Nor with less of a core, in thousandths.
const LEAST_MILLICPUS: u32 = 10;

/// Every environment with the services that it needs, and what is to be asked for unknown keys.
pub fn read(
    services: Reader,
    environments: Reader,
    file: &Path,
) -> anyhow::Result<(BTreeMap<String, Definition>, Vec<Reader>)> {
    let directory = file.parent().unwrap_or(Path::new(""));
    let mut tables = services.tables("a service is a table of its own, [services.NAME]")?;
    let names: Vec<String> = tables.iter().map(|(name, _)| name.clone()).collect();
    let mut readers = Vec::new();
    let mut all = BTreeMap::new();
    for (name, table) in &mut tables {
        if name == HOSTNAME {
            return Err(table.refuse_all("this name is that of the container that tests run in"));
        }
        all.insert(name.clone(), service(table, &names, directory, &mut readers)?);
    }
    let everything = Environment { services: names.clone(), ..Environment::default() };
    if let Some((name, expected)) = Definition::of("", &everything, &all).err().and_then(impossible) {
        let table = tables.iter().find(|(other, _)| *other == name).map(|(_, table)| table);
        return Err(table.map_or_else(
            || anyhow::anyhow!(expected.clone()),
            |table| table.refuse("depends-on", &expected),
        ));
    }
    let mut definitions = BTreeMap::new();
    for (name, mut table) in environments
        .tables("an environment is a table of its own, [environment.NAME]; [env] sets variables")?
    {
        let services = table.texts_of("services", |wanted| are_services(wanted, &names))?;
        let env = table.table("env")?.texts()?;
        let tests = table.texts_of("tests", are_selections)?.unwrap_or_default();
        let (container, bounds) = test_container::read(&mut table)?;
        let services = services.unwrap_or_default();
        if services.is_empty() && container.is_none() && bounds.is_none() {
            return Err(
                table.lacks("services, image or memory", "seagull docs sandboxes shows what there is")
            );
        }
        let is_cut_off = container.as_ref().is_some_and(|container| container.network == Network::None);
        if is_cut_off && !services.is_empty() {
            return Err(table.refuse("network", "expected internal or egress, where there are services"));
        }
        let environment = Environment { services, env, tests, container, bounds };
        if let Ok(definition) = Definition::of(&name, &environment, &all) {
            definitions.insert(name, definition);
        }
        readers.push(table);
    }
    readers.extend(tables.into_iter().map(|(_, table)| table));
    Ok((definitions, readers))
}

/// The service that cannot be as it is written, and what is expected of what it depends on.
fn impossible(why: Impossible) -> Option<(String, String)> {
    match why {
        Impossible::Circle(circle) => {
            let round = circle.iter().chain(&circle[..1]).map(String::as_str).collect::<Vec<_>>().join(", ");
            let expected = format!("expected services that can start before it, and not a circle: {round}");
            Some((circle[0].clone(), expected))
        }
        Impossible::Outlives { service, needs } => {
            let expected =
                format!("expected services that live as long as it does; {needs} has another scope");
            Some((service, expected))
        }
        // Said where it stands.
        Impossible::Unknown { .. } => None,
    }
}

fn service(
    table: &mut Reader,
    names: &[String],
    directory: &Path,
    readers: &mut Vec<Reader>,
) -> anyhow::Result<Service> {
    let image = table.text("image")?;
    let command = table.words("command")?.map(words);
    let env = table.table("env")?.texts()?;
    let secrets = table.table("secrets")?.all(str::parse)?;
    if let Some(name) = secrets.keys().find(|name| !is_file_name(name)) {
        let expected = format!("{name:?} is to be the name of a file in /run/secrets: expected no path");
        return Err(table.refuse("secrets", &expected));
    }
    let files = table.table("files")?.paths()?;
    let outside = |path: String| directory.join(path).to_string_lossy().into_owned();
    let files = files.into_iter().map(|(inside, path)| (inside, outside(path))).collect();
    let tmpfs = table.texts_of("tmpfs", are_absolute)?.unwrap_or_default();
    if !secrets.is_empty() && tmpfs.iter().any(|path| path == SECRETS) {
        return Err(table.refuse("tmpfs", "expected another directory than the one that its secrets are in"));
    }
    let ports = table.ports("ports")?.unwrap_or_default();
    let url = table.parsed("url", url)?;
    let mut waited = table.table("ready")?;
    let ready = ready::read(&mut waited, &ports)?;
    let prepare = table.texts_of("prepare", |_| Ok(()))?.unwrap_or_default();
    let template = table.truth("template")?.unwrap_or(false);
    let depends_on = table.texts_of("depends-on", |wanted| are_services(wanted, names))?.unwrap_or_default();
    let limits = Limits {
        memory_kib: table.parsed("memory", memory)?,
        millicpus: table.parsed("cpus", cpus)?,
        pids: table.number("pids", 1..=4_194_304)?.unwrap_or(Limits::default().pids),
        disk_kib: table.parsed("disk", parse_kib)?,
    };
    let rights = Rights {
        user: table.text("user")?,
        capabilities: table.texts_of("capabilities", are_capabilities)?.unwrap_or_default(),
        read_only: table.truth("read-only")?.unwrap_or(false),
    };
    let scope = table.parsed("scope", scope)?.unwrap_or_default();
    let reset = table.texts_of("reset", |_| Ok(()))?.unwrap_or_default();
    if scope == Scope::Bundle && !reset.is_empty() {
        return Err(table.refuse("reset", "expected another scope than bundle, of which each is new"));
    }
    if template && (rights.read_only || !secrets.is_empty()) {
        let expected = "expected no secrets, which it would keep, and no read-only beside it";
        return Err(table.refuse("template", expected));
    }
    readers.push(waited);
    let Some(image) = image.filter(|image| !image.is_empty()) else {
        return Err(table.lacks("image", "seagull docs sandboxes shows every setting"));
    };
    Ok(Service {
        image,
        command,
        env,
        secrets,
        files,
        tmpfs,
        ports,
        url,
        ready,
        prepare,
        template,
        reset,
        depends_on,
        limits,
        rights,
        scope,
    })
}

pub(super) fn words(words: Words) -> Vec<String> {
    match words {
        Words::Program(words) => words,
        Words::Shell(line) => ["/bin/sh", "-c", &line].map(str::to_owned).to_vec(),
    }
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.replace("{host}", "").replace("{port}", "");
    match rest.contains(['{', '}']) || !text.contains("{host}") {
        true => Err("expected a text with {host} and {port}, and no other braces".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// As much as a container can begin with.
pub fn memory(text: &str) -> Result<u64, String> {
    match parse_kib(text)? {
        kib if kib < LEAST_KIB => Err("expected at least 6MiB".to_owned()),
        kib => Ok(kib),
    }
}

/// A number of cores, in thousandths: as few as an engine knows.
pub fn cpus(text: &str) -> Result<u32, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = format!("{part:0<3}");
    let digits = part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let cores = whole.parse::<u32>().ok().filter(|cores| digits && *cores <= 4096);
    let cores = cores.and_then(|cores| Some(cores * 1000 + part.parse::<u32>().ok()?));
    match cores {
        None => Err("expected a number of cores as a text, such as \"1.5\"".to_owned()),
        Some(0..LEAST_MILLICPUS) => Err("expected at least \"0.01\" cores".to_owned()),
        Some(cores) => Ok(cores),
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    match text {
        "bundle" => Ok(Scope::Bundle),
        "slot" => Ok(Scope::Slot),
        "run" => Ok(Scope::Run),
        "executor" => Ok(Scope::Executor),
        _ => Err("expected bundle, slot, run or executor".to_owned()),
    }
}

/// What tests are chosen by, whatever came of them before.
fn are_selections(texts: &[String]) -> Result<(), String> {
    let selection = Selection::parse(texts).map_err(|error| error.to_string())?;
    match selection.is_by_name() {
        true => Ok(()),
        false => Err("expected paths, ids and globs of tests".to_owned()),
    }
}

fn are_services(wanted: &[String], names: &[String]) -> Result<(), String> {
    let Some(unknown) = wanted.iter().find(|name| !names.contains(name)) else { return Ok(()) };
    let meant = nearest(unknown, names.iter().map(String::as_str));
    let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Err(format!("there is no [services.{unknown}]{meant}"))
}

pub fn are_absolute(paths: &[String]) -> Result<(), String> {
    match paths.iter().all(|path| path.starts_with('/') && path.len() > 1) {
        true => Ok(()),
        false => Err("expected paths in the container, from its root".to_owned()),
    }
}

/// All of them at once would be as good as a privileged container.
pub(super) fn are_capabilities(names: &[String]) -> Result<(), String> {
    let is_one =
        |name: &String| name != "ALL" && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    match names.iter().all(is_one) {
        true => Ok(()),
        false => Err("expected names of single capabilities, such as CHOWN".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Isolation, Probe, Ready};

    use super::super::Config;
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        Config::parse(Path::new("/suite/seagull.toml"), text)
    }

    #[test]
    fn an_environment_has_its_services_as_they_are_written() {
        let text = r#"
            [services.pg]
            image = "postgres:16"
            command = ["postgres", "-c", "fsync=off"]
            env = { POSTGRES_DB = "app" }
            secrets = { PASSWORD = "env:PG_PASSWORD" }
            files = { "/docker-entrypoint-initdb.d/schema.sql" = "db/schema.sql" }
            tmpfs = ["/var/lib/postgresql/data"]
            ports = [5432]
            url = "postgres://app@{host}:{port}/app"
            ready = { command = "pg_isready", within = "30s" }
            prepare = ["psql -f /schema.sql"]
            memory = "512MiB"
            cpus = "1.5"
            pids = 200
            disk = "2GiB"
            user = "postgres"
            capabilities = ["CHOWN"]
            read-only = true
            scope = "bundle"
            [services.api]
            image = "api:1"
            ports = [8080]
            ready.http = "8080/health"
            depends-on = ["pg"]
            [environment.db]
            services = ["api"]
            env = { MODE = "test" }
            tests = ["tests/db"]
        "#;
        let config = parse(text).unwrap();
        assert_eq!(config.warnings, [""; 0]);
        let db = &config.environments["db"];
        assert_eq!(db.environment.env["MODE"], "test");
        assert_eq!(
            (&db.environment.tests[..], db.isolation()),
            (&["tests/db".to_owned()][..], Isolation::Bundle)
        );
        assert_eq!(db.services.keys().collect::<Vec<_>>(), ["api", "pg"]);
        assert_eq!(db.services["api"].ready.probe, Probe::Http(8080, "/health".to_owned()));
        let command = ["postgres", "-c", "fsync=off"].map(str::to_owned).to_vec();
        let pg = Service {
            image: "postgres:16".to_owned(),
            command: Some(command),
            env: BTreeMap::from([("POSTGRES_DB".to_owned(), "app".to_owned())]),
            secrets: BTreeMap::from([("PASSWORD".to_owned(), "env:PG_PASSWORD".parse().unwrap())]),
            files: BTreeMap::from([(
                "/docker-entrypoint-initdb.d/schema.sql".to_owned(),
                "/suite/db/schema.sql".to_owned(),
            )]),
            tmpfs: vec!["/var/lib/postgresql/data".to_owned()],
            ports: vec![5432],
            url: Some("postgres://app@{host}:{port}/app".to_owned()),
            ready: Ready {
                probe: Probe::Command(["/bin/sh", "-c", "pg_isready"].map(str::to_owned).to_vec()),
                within_ms: 30_000,
            },
            prepare: vec!["psql -f /schema.sql".to_owned()],
            template: false,
            reset: Vec::new(),
            depends_on: Vec::new(),
            limits: Limits {
                memory_kib: Some(512 << 10),
                millicpus: Some(1500),
                pids: 200,
                disk_kib: Some(2 << 20),
            },
            rights: Rights {
                user: Some("postgres".to_owned()),
                capabilities: vec!["CHOWN".to_owned()],
                read_only: true,
            },
            scope: Scope::Bundle,
        };
        assert_eq!(db.services["pg"], pg);
    }

    #[track_caller]
    fn are_refused(table: &[(&str, &str)]) {
        for (text, expected) in table {
            let error = parse(text).unwrap_err();
            assert!(error.is::<crate::errors::Usage>());
            assert!(error.to_string().starts_with(&format!("/suite/seagull.toml:{expected}")), "{error}");
        }
    }

    #[test]
    fn what_no_container_can_be_is_refused_where_it_stands() {
        let table = [
            ("[services.tests]\nimage = 'x'", "1: services.tests: this name is that of the container"),
            (
                "[services.a]\nimage = 'x'\nsecrets = { '../K' = 'env:K' }",
                "3: services.a.secrets: \"../K\" is to be the name of a file",
            ),
            (
                "[services.a]\nimage = 'x'\nsecrets = { K = 'env:K' }\ntmpfs = ['/run/secrets']",
                "4: services.a.tmpfs = ['/run/secrets']: expected another directory",
            ),
            ("[services.a]\nmemory = '4MiB'", "2: services.a.memory = '4MiB': expected at least 6MiB\n"),
        ];
        are_refused(&table);
    }

    #[test]
    fn what_makes_no_sense_is_refused_where_it_stands() {
        let table = [
            ("[services.a]", "1: [services.a] needs image\n"),
            ("[services]\na = 'postgres'", "2: services.a: expected a table\nhint: a service is"),
            ("[environment]\nA = 'x'", "2: environment.A: expected a table\nhint: an environment is a table"),
            ("[services.A]\nimage = 'x'", "1: services.A: expected a name of small letters"),
            ("[services.localhost]\nimage = 'x'", "1: services.localhost: this name is everywhere"),
            ("[environment.e]", "1: [environment.e] needs services, image or memory\n"),
            (
                "[environment.e]\nservices = []\ndisk = '1GiB'",
                "3: environment.e.disk = '1GiB': expected image beside it",
            ),
            (
                "[environment.e]\nimage = 'x'\nnetwork = 'lan'",
                "3: environment.e.network = 'lan': expected none",
            ),
            (
                "[services.a]\nimage = 'x'\n[environment.e]\nimage = 'x'\nservices = ['a']\nnetwork = 'none'",
                "6: environment.e.network = 'none': expected internal or egress",
            ),
            (
                "[services.postgres]\nimage = 'x'\n[environment.e]\nservices = ['postgre']",
                "4: environment.e.services = ['postgre']: there is no [services.postgre]; did you mean postgres?",
            ),
            (
                "[services.a]\nimage = 'x'\ndepends-on = ['b']",
                "3: services.a.depends-on = ['b']: there is no [services.b]\n",
            ),
            (
                "[services.a]\nimage = 'x'\ndepends-on = ['b']\n[services.b]\nimage = 'x'\ndepends-on = ['a']",
                "3: services.a.depends-on = ['b']: expected services that can start before it, and not a circle: a, b, a",
            ),
            (
                "[services.a]\nscope = 'host'",
                "2: services.a.scope = 'host': expected bundle, slot, run or executor\n",
            ),
            (
                "[services.a]\nscope = 'bundle'\nreset = ['true']",
                "3: services.a.reset = ['true']: expected another scope than bundle",
            ),
            (
                "[services.a]\nimage = 'x'\nscope = 'executor'\ndepends-on = ['b']\n[services.b]\nimage = 'x'",
                "4: services.a.depends-on = ['b']: expected services that live as long as it does; b has another scope",
            ),
            (
                "[environment.e]\ntests = ['last-failed']",
                "2: environment.e.tests = ['last-failed']: expected paths",
            ),
            ("[services.a]\nports = ['80']", "2: services.a.ports = ['80']: expected a list of numbers"),
            ("[services.a]\ntmpfs = ['x']", "2: services.a.tmpfs = ['x']: expected paths in the container"),
            ("[services.a]\nfiles = { x = 'y' }", "2: services.a.files.x: expected paths in the container"),
            (
                "[services.a]\nsecrets = { A = 'hunter2' }",
                "2: services.a.secrets.A: expected env:NAME or file:/PATH",
            ),
            ("[services.a]\nurl = 'x'", "2: services.a.url = 'x': expected a text with {host} and {port}"),
            (
                "[services.a]\ntemplate = true\nread-only = true",
                "2: services.a.template = true: expected no secrets",
            ),
            (
                "[services.a]\ntemplate = true\nsecrets = { A = 'env:A' }",
                "2: services.a.template = true: expected no secrets",
            ),
            ("[services.a]\ncpus = 0", "2: services.a.cpus = 0: expected at least \"0.01\" cores"),
            (
                "[services.a]\ncpus = '0.001'",
                "2: services.a.cpus = '0.001': expected at least \"0.01\" cores",
            ),
            (
                "[environment.e]\nimage = 'x'\npids = 1",
                "3: environment.e.pids = 1: expected a number from 2 to",
            ),
            ("[services.a]\ncapabilities = ['ALL']", "2: services.a.capabilities = ['ALL']: expected names"),
        ];
        are_refused(&table);
    }

    #[test]
    fn what_stands_under_a_key_that_is_unknown_is_told_with_what_is_missing_there() {
        let error = parse("[service.a]\nimage = 'x'\n[environment.e]\nservices = ['a']").unwrap_err();
        assert!(error.is::<crate::errors::Usage>());
        let text = error.to_string();
        let missing = "/suite/seagull.toml:4: environment.e.services = ['a']: there is no [services.a]\n";
        let meant = "\nhint: /suite/seagull.toml:1: unknown key service; did you mean services?";
        assert!(text.starts_with(missing) && text.ends_with(meant), "{text}");
        let other = parse("[service.a]\nimage = 'x'\n[environment.e]\nimage = 'y'").unwrap();
        assert_eq!(other.warnings.len(), 1);
    }

    #[test]
    fn cores_are_read_as_thousandths() {
        let table = [("2", 2000), ("0.5", 500), ("1.25", 1250), ("0.01", 10)];
        for (text, expected) in table {
            assert_eq!(cpus(text), Ok(expected));
        }
        for text in ["0", "", "-1", "1.2345", "x", "0.0", "0.001", "5000"] {
            assert!(cpus(text).is_err(), "{text:?} was taken");
        }
    }
}
