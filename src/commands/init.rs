//! `seagull init`: writes a commented `seagull.toml`, and says what to do next.

use std::env;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Context;

use crate::cli;
use crate::commands::print;
use crate::config::{Config, FILE};
use crate::errors::{say, usage};
use crate::framework::{self, Name};
use crate::place::{self, Place};

const TEMPLATE: &str = include_str!("init.toml");
const SCHEMA: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/seagull.schema.json"));

pub fn run(args: &cli::Init) -> anyhow::Result<u8> {
    if args.schema {
        print(|out| out.write_all(SCHEMA.as_bytes()))?;
        return Ok(0);
    }
    let directory = env::current_dir().context("the working directory cannot be found")?;
    write(&directory, args.force)?;
    match framework::shown(&directory, place::repository(&directory).as_deref()) {
        Some((name, sign)) => say!("wrote {FILE} for {name}, by {sign}"),
        None => match framework::other_sign(&directory) {
            None => say!("wrote {FILE}; nothing here shows which framework runs the tests, so pytest will"),
            Some(sign) => {
                let hint = framework::BY_COMMAND;
                say!("wrote {FILE}; nothing here is of pytest or cargo, but there is a {sign}\nhint: {hint}");
            }
        },
    }
    say!("next: seagull doctor   looks step by step at whether all is in place");
    say!("      seagull run      runs the suite on all cores");
    Ok(0)
}

/// Never overwrites what somebody wrote, unless told to.
fn write(directory: &Path, force: bool) -> anyhow::Result<()> {
    let path = directory.join(FILE);
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(&path).and_then(|mut file| file.write_all(text(directory).as_bytes()));
    match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(usage(format!("{} is there already\nhint: --force overwrites it", path.display())))
        }
        written => written.with_context(|| format!("cannot write {}", path.display())),
    }
}

fn text(directory: &Path) -> String {
    let config = Config::default();
    let place = Place { directory: directory.to_owned(), repository: place::repository(directory), config };
    let project = toml::Value::String(place.project()).to_string();
    let text = TEMPLATE.replace("{project}", &project);
    let name =
        framework::shown(directory, place.repository.as_deref()).map_or(Name::Pytest, |(name, _)| name);
    text.replace("{framework}", &name.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What stands behind a `#` without a space is a setting.
    fn uncommented(text: &str) -> String {
        let setting = |line: &&str| line.strip_prefix('#').is_none_or(|rest| !rest.starts_with(' '));
        text.lines().filter(setting).map(|line| format!("{}\n", line.trim_start_matches('#'))).collect()
    }

    #[test]
    fn it_has_every_setting_and_changes_none() {
        let directory = tempfile::tempdir().unwrap();
        let suite = directory.path().join("odd \"name\"");
        fs::create_dir(&suite).unwrap();
        let as_written = text(&suite);
        fs::write(suite.join(FILE), &as_written).unwrap();
        let config = Place::at(suite.clone()).unwrap().config;
        assert_eq!(config.warnings, Vec::<String>::new());
        let nothing = Config { file: config.file.clone(), known: config.known.clone(), ..Config::default() };
        assert_eq!(config, nothing);

        fs::write(suite.join(FILE), uncommented(&as_written)).unwrap();
        let all = Place::at(suite).unwrap().config;
        assert_eq!(all.warnings, Vec::<String>::new());
        assert_eq!(all.project.as_deref(), Some("odd \"name\""));
        let table: toml::Table = uncommented(&as_written).parse().unwrap();
        let has = |key: &str| {
            let mut part = Some(toml::Value::Table(table.clone()));
            for name in key.split('.') {
                part = part.and_then(|part| part.get(name).cloned());
            }
            part.is_some()
        };
        // A service has one of them.
        let is_probe = |key: &str| key.starts_with("services.postgres.ready.");
        let missing: Vec<_> = all.known.iter().filter(|key| !has(key) && !is_probe(key)).collect();
        assert!(missing.is_empty(), "init.toml lacks {missing:?}");
    }

    #[test]
    fn what_is_there_is_overwritten_only_by_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "broken = = 1, and much longer than what is written over it\n".repeat(200)).unwrap();
        let error = write(directory.path(), false).unwrap_err();
        assert!(error.is::<crate::errors::Usage>() && error.to_string().contains("--force"));
        write(directory.path(), true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text(directory.path()));
    }
}
