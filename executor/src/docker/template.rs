//! Templates: services as they are once they are prepared, each known by what it came of. Which are kept, and how long.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use seagull_domain::{Definition, Service};

use super::engine::Image;
use super::labels::Labels;

/// One that was not used for so many seconds goes.
const UNUSED: u64 = 14 * 24 * 3600;
/// Bytes that those of an installation come to at most, beside the images that they began with.
const BYTES: u64 = 10 << 30;
/// Hexadecimal digits of a key.
const KEY: usize = 24;
const REPOSITORY: &str = "seagull-template";

/// One that is on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub key: String,
    /// What the engine knows its image by.
    pub image: String,
    /// What the image was that it began with, as it is written.
    pub of: String,
    pub service: String,
    /// Those of the sandbox that it was made in.
    pub labels: Labels,
    /// What it takes beside the image that it began with.
    pub bytes: u64,
    /// When it was made and used last, in seconds since 1970.
    pub made: u64,
    pub used: u64,
    /// Whether another has taken its place, or it was not quite made.
    pub stale: bool,
}

impl Template {
    /// Since when nobody has used it for long, in seconds; none while it may still be used.
    pub fn expired(&self, now: u64) -> Option<u64> {
        Some(now.saturating_sub(self.used)).filter(|unused| self.stale || *unused >= UNUSED)
    }
}

/// The image of a template, by its repository and its tag.
pub fn name(installation: &str, key: &str) -> [String; 2] {
    [REPOSITORY.to_owned(), format!("{installation}-{key}")]
}

pub fn image(installation: &str, key: &str) -> String {
    name(installation, key).join(":")
}

/// The file that is locked by whoever makes a template, in the directory of a site; its time is that of the last use.
pub fn record(site: &Path, key: &str) -> PathBuf {
    site.join("templates").join(key)
}

/// What is to go: what was not used for long, and of the rest what was used longest ago, until it is within the bound. The
/// one that was used last stays.
pub fn spent(mut templates: Vec<Template>, now: u64) -> Vec<Template> {
    templates.sort_by_key(|template| std::cmp::Reverse(template.used));
    let mut kept = 0;
    templates.retain(|template| {
        let fits = kept == 0 || kept + template.bytes <= BYTES;
        let stays = template.expired(now).is_none() && fits;
        kept += if stays { template.bytes } else { 0 };
        !stays
    });
    templates
}

/// The same for what comes to the same: the service and all that is up before it, as they are written, with their images
/// and what is in their files.
pub fn key(definition: &Definition, name: &str, images: &BTreeMap<String, Image>) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("seagull template of a service, 1");
    let mut text = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    text(name);
    for (name, service) in definition.with_its_needs(name) {
        let service = with_contents(service)?;
        text(name);
        text(images.get(&service.image).map_or("", |image| &image.id));
        text(&serde_json::to_string(&service).map_err(io::Error::other)?);
    }
    Ok(hasher.finalize().to_hex()[..KEY].to_owned())
}

/// A service with what is in its files instead of where they are.
pub fn with_contents(service: &Service) -> io::Result<Service> {
    let mut service = service.clone();
    for path in service.files.values_mut() {
        let found = contents(Path::new(path));
        let found = found.map_err(|error| io::Error::other(format!("{path}: {error}")))?;
        *path = found.to_hex().to_string();
    }
    Ok(service)
}

/// Of a file, or of all that is in a directory.
fn contents(path: &Path) -> io::Result<blake3::Hash> {
    let metadata = fs::metadata(path)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(metadata.permissions().mode() & 0o777).to_le_bytes());
    if metadata.is_file() {
        hasher.update_reader(File::open(path)?)?;
    } else if metadata.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let found = match fs::read_link(entry.path()) {
                Ok(leads) => blake3::hash(leads.as_os_str().as_encoded_bytes()),
                Err(_) => contents(&entry.path())?,
            };
            hasher.update(blake3::hash(entry.file_name().as_encoded_bytes()).as_bytes());
            hasher.update(found.as_bytes());
        }
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use seagull_domain::Environment;

    use super::super::labels::tests::labels;
    use super::*;

    #[test]
    fn what_it_comes_of_is_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let [here, there] = ["here", "there"].map(|name| directory.path().join(name));
        for place in [&here, &there] {
            fs::create_dir_all(place.join("schema")).unwrap();
            fs::write(place.join("schema/1.sql"), "create table").unwrap();
        }
        let of = |place: &Path, image: &str, prepare: &str| {
            let shown = place.join("schema").to_string_lossy().into_owned();
            let pg = Service {
                image: "pg".to_owned(),
                prepare: vec![prepare.to_owned()],
                files: [("/schema".to_owned(), shown)].into(),
                depends_on: vec!["web".to_owned()],
                ..Service::default()
            };
            let web = Service { image: "web".to_owned(), ..Service::default() };
            let services = [("pg".to_owned(), pg), ("web".to_owned(), web)].into();
            let named = Environment { services: vec!["pg".to_owned()], ..Environment::default() };
            let definition = Definition::of("e", &named, &services).unwrap();
            let web = Image { digests: Vec::new(), id: image.to_owned(), volumes: Vec::new(), bytes: 0 };
            key(&definition, "pg", &[("web".to_owned(), web)].into()).unwrap()
        };
        let first = of(&here, "1", "psql");
        assert_eq!(first, of(&there, "1", "psql"), "where its files are does not matter");
        assert_ne!(first, of(&here, "2", "psql"), "the image of what it needs");
        assert_ne!(first, of(&here, "1", "psql -q"));
        fs::write(here.join("schema/2.sql"), "").unwrap();
        assert_ne!(first, of(&here, "1", "psql"));
    }

    #[test]
    fn what_was_not_used_for_long_goes_and_what_is_too_much() {
        let template = |key: &str, bytes, used, stale| {
            let [image, of, service] = ["i", "o", "s"].map(str::to_owned);
            Template {
                key: key.to_owned(),
                image,
                of,
                service,
                labels: labels(),
                bytes,
                made: 1,
                used,
                stale,
            }
        };
        let now = UNUSED + 100;
        let templates = vec![
            template("huge", BYTES, 1000, false),
            template("old", 1, 100, false),
            template("newest", BYTES + 1, 2000, false),
            template("stale", 1, 2001, true),
        ];
        let keys = |templates: Vec<Template>| {
            let gone = spent(templates, now).into_iter().map(|template| template.key);
            gone.collect::<Vec<_>>()
        };
        assert_eq!(keys(templates), ["stale", "huge", "old"]);
        let templates = vec![template("a", BYTES - 1, 1000, false), template("b", 1, 999, false)];
        assert_eq!(keys(templates), [""; 0]);
    }
}
