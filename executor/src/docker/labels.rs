//! What every object on an engine says of itself, so that whoever finds it knows whose it is and for how long.

use std::collections::HashMap;
use std::path::PathBuf;

use seagull_domain::Definition;

const INSTALLATION: &str = "seagull.installation";
const OWNER: &str = "seagull.owner";
const SANDBOX: &str = "seagull.sandbox";
const LOCK: &str = "seagull.lock";
const LEASE: &str = "seagull.lease";
const ENVIRONMENT: &str = "seagull.environment";
const DEFINITION: &str = "seagull.definition";
const SERVICE: &str = "seagull.service";
/// Of an image that is a template, its key; and of whatever begins with it.
pub(super) const TEMPLATE: &str = "seagull.template";
/// What a template began with.
pub(super) const OF: &str = "seagull.of";

/// The labels that all objects of a sandbox have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The state directory that it is of.
    pub installation: String,
    /// Who sees to its end.
    pub owner: String,
    pub sandbox: String,
    /// The file that the owner's guard keeps locked while it lives.
    pub lock: PathBuf,
    /// When it is to be gone at the latest, in seconds since 1970.
    pub lease: u64,
    pub environment: String,
    /// The digest of what was written when it was made.
    pub definition: String,
}

impl Labels {
    /// As an engine takes them, with that of a service.
    pub fn on(&self, service: Option<&str>) -> HashMap<String, String> {
        let lock = self.lock.to_string_lossy();
        let lease = self.lease.to_string();
        let all = [
            (INSTALLATION, self.installation.as_str()),
            (OWNER, &self.owner),
            (SANDBOX, &self.sandbox),
            (LOCK, &lock),
            (LEASE, &lease),
            (ENVIRONMENT, &self.environment),
            (DEFINITION, &self.definition),
        ];
        let service = service.map(|service| (SERVICE, service));
        all.into_iter().chain(service).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// None where somebody else has made them: what is not understood is left alone.
    pub fn read(labels: &HashMap<String, String>) -> Option<Labels> {
        let text = |name| labels.get(name).cloned();
        // They become names of files, and anybody may write labels.
        let id = |name| text(name).filter(|id| is_id(id));
        Some(Labels {
            installation: id(INSTALLATION)?,
            owner: id(OWNER)?,
            sandbox: id(SANDBOX)?,
            lock: text(LOCK)?.into(),
            lease: text(LEASE)?.parse().ok()?,
            environment: id(ENVIRONMENT)?,
            definition: text(DEFINITION)?,
        })
    }

    /// The service that an object is of.
    pub fn service(labels: &HashMap<String, String>) -> Option<&str> {
        labels.get(SERVICE).map(String::as_str)
    }
}

/// Differs where anything that is written differs.
pub fn digest(definition: &Definition) -> String {
    let text = serde_json::to_string(definition).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

fn is_id(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=100).contains(&text.len()) && text.chars().all(is_part)
}

/// Which objects are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of this program's, whoever made them.
    Ours,
    Installation(String),
    Owner(String),
    Sandbox(String),
}

impl Filter {
    /// As an engine takes it.
    pub fn label(&self) -> String {
        match self {
            Filter::Ours => INSTALLATION.to_owned(),
            Filter::Installation(id) => format!("{INSTALLATION}={id}"),
            Filter::Owner(id) => format!("{OWNER}={id}"),
            Filter::Sandbox(id) => format!("{SANDBOX}={id}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use seagull_domain::{Environment, Service};

    use super::*;

    pub fn labels() -> Labels {
        Labels {
            installation: "i1".to_owned(),
            owner: "o1".to_owned(),
            sandbox: "s1".to_owned(),
            lock: "/state/lock".into(),
            lease: 1000,
            environment: "db".to_owned(),
            definition: "d1".to_owned(),
        }
    }

    #[test]
    fn a_change_changes_the_digest() {
        let of = |image: &str| {
            let service = Service { image: image.to_owned(), ..Service::default() };
            let environment = Environment { services: vec!["a".to_owned()], ..Environment::default() };
            digest(&Definition::of("env", &environment, &[("a".to_owned(), service)].into()).unwrap())
        };
        assert_eq!(of("x:1"), of("x:1"));
        assert_ne!(of("x:1"), of("x:2"));
    }

    #[test]
    fn labels_are_read_as_they_are_written_and_those_of_others_are_not() {
        let written = labels().on(Some("pg"));
        assert_eq!(Labels::read(&written), Some(labels()));
        assert_eq!(Labels::service(&written), Some("pg"));
        assert_eq!(Labels::service(&labels().on(None)), None);
        for name in written.keys().filter(|name| *name != SERVICE) {
            let mut lacking = written.clone();
            lacking.remove(name);
            assert_eq!(Labels::read(&lacking), None, "{name}");
        }
        let strange = [(LEASE, "soon"), (OWNER, "../../home"), (SANDBOX, ""), (INSTALLATION, "a/b")];
        for (name, value) in strange {
            let mut hostile = written.clone();
            hostile.insert(name.to_owned(), value.to_owned());
            assert_eq!(Labels::read(&hostile), None, "{name}={value}");
        }
    }
}
