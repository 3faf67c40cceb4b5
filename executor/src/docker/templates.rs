//! Templates on an engine: made of a service that is prepared and has been stopped, listed, and removed.
//!
//! A template is an image: a commit of the container, with all that it has written. What is in volumes is none of that, so it
//! is put aside first, in a directory of the container from which an engine fills the volumes of those that begin with it.
#![expect(clippy::disallowed_methods, reason = "a shell: another process that makes the same is waited for")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::{ContainerConfig, ImageSummary};
use bollard::query_parameters::{
    CommitContainerOptions, DownloadFromContainerOptions, ListImagesOptions, RemoveImageOptions,
    StopContainerOptions, UploadToContainerOptions,
};
use bollard::{body_full, body_try_stream};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};

use super::container::{container_name, place_aside};
use super::engine::{Engine, is_busy, is_missing, refused};
use super::error::Error;
use super::labels::{Filter, Labels, OF, TEMPLATE};
use super::ready::KILLED;
use super::site::Site;
use super::template::{Template, image, name, record, spent};

/// How long a service may take to end by itself: what is killed may have written half of what it was to.
const STOP: Duration = Duration::from_secs(30);
/// How long an engine may take to copy what there is.
const COPY: Duration = Duration::from_secs(600);
/// What is read of a file at a time.
const PIECE: usize = 256 << 10;
/// How often it is looked whether another process is done.
const POLL: Duration = Duration::from_millis(100);

/// What is to be a template.
pub(super) struct Draft<'a> {
    pub key: &'a str,
    /// The image that it began with.
    pub of: &'a str,
    pub labels: &'a Labels,
    pub service: &'a str,
    /// What it has written to besides itself.
    pub volumes: &'a [&'a String],
}

impl Site {
    /// The right to make a template; whoever else makes it is waited for.
    pub(super) async fn turn(&self, key: &str) -> io::Result<File> {
        let path = record(&self.directory, key);
        fs::create_dir_all(path.parent().unwrap_or(&self.directory))?;
        let file = File::options().create(true).append(true).open(&path)?;
        while file.try_lock().is_err() {
            tokio::time::sleep(POLL).await;
        }
        Ok(file)
    }

    /// It is used now.
    pub(super) fn used(&self, key: &str) {
        let file = File::options().append(true).open(record(&self.directory, key));
        let _ = file.and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Removes what is spent of the templates here. `now`: in seconds since 1970.
    pub async fn tidy(&self, engine: &Engine, now: u64) -> Result<(), Error> {
        let templates = engine.templates(&Filter::Installation(self.installation.clone())).await?;
        for template in spent(templates, now) {
            engine.remove_template(&template).await?;
        }
        Ok(())
    }
}

impl Engine {
    /// The templates that are here.
    pub async fn templates(&self, filter: &Filter) -> Result<Vec<Template>, Error> {
        // One label: of two, Podman 4 finds nothing.
        let filters = HashMap::from([("label".to_owned(), vec![filter.label()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let images = self.docker.list_images(Some(options)).await.map_err(refused("list images"))?;
        let mut templates: Vec<Template> = Vec::new();
        for found in images {
            let base = self.docker.inspect_image(&found.parent_id).await;
            let base = base.ok().and_then(|base| base.size).unwrap_or(0);
            templates.extend(read(found, base));
        }
        Ok(templates)
    }

    /// Whether it is gone: one that something begins with stays.
    pub async fn remove_template(&self, template: &Template) -> Result<bool, Error> {
        let removed = self.docker.remove_image(&template.image, None::<RemoveImageOptions>, None).await;
        match removed {
            Err(error) if is_busy(&error) => return Ok(false),
            Err(error) if !is_missing(&error) => {
                return Err(refused(&format!("remove the template {}", template.key))(error));
            }
            _ => {}
        }
        if let Some(site) = template.labels.lock.parent().filter(|_| !template.stale) {
            let _ = fs::remove_file(record(site, &template.key));
        }
        Ok(true)
    }

    /// Makes a template of a service that is ready and prepared, which has ended then.
    pub(super) async fn save(&self, draft: &Draft<'_>) -> Result<(), Error> {
        let Draft { key, of, labels, service, volumes } = draft;
        let container = container_name(labels, service);
        self.stop(&container, service).await?;
        for (number, path) in volumes.iter().enumerate() {
            self.put_aside(&container, number, path).await?;
        }
        let [repository, tag] = name(&labels.installation, key);
        // Podman takes labels from here only.
        let labelled = [(TEMPLATE, key), (OF, of)].map(|(name, value)| format!("LABEL {name}=\"{value}\""));
        let options = CommitContainerOptions {
            container: Some(container),
            repo: Some(repository),
            tag: Some(tag),
            changes: Some(labelled.join("\n")),
            ..Default::default()
        };
        let docker = self.docker.clone().with_timeout(COPY);
        let nothing = ContainerConfig::default();
        let committed = self.make(async move { docker.commit_container(options, nothing).await.map(drop) });
        committed.await.map_err(refused(&format!("save {service} as a template")))
    }

    async fn stop(&self, container: &str, service: &str) -> Result<(), Error> {
        let options = StopContainerOptions { t: i32::try_from(STOP.as_secs()).ok(), ..Default::default() };
        let docker = self.docker.clone().with_timeout(STOP * 2);
        let stopped = docker.stop_container(container, Some(options)).await;
        stopped.map_err(refused(&format!("stop the container {container}")))?;
        match self.inspect(container).await?.code {
            Some(KILLED) => Err(Error::Template {
                service: service.to_owned(),
                why: format!("told to end, by SIGTERM, it has not within {} s", STOP.as_secs()),
            }),
            _ => Ok(()),
        }
    }

    /// Copies what is in a volume to where it is committed.
    async fn put_aside(&self, container: &str, number: usize, path: &str) -> Result<(), Error> {
        let what = refused(&format!("put aside what is in {path} of the container {container}"));
        let docker = self.docker.clone().with_timeout(COPY);
        let at = |path: &str| Some(UploadToContainerOptions { path: path.to_owned(), ..Default::default() });
        let place = place_aside(number);
        let made = docker.upload_to_container(container, at("/"), body_full(directories(&place).into()));
        made.await.map_err(&what)?;
        let from = DownloadFromContainerOptions { path: path.to_owned() };
        // An engine does one of both at a time, so it is all here in between.
        let mut spool = tempfile::tempfile().map_err(|error| what(error.into()))?;
        let mut pieces = std::pin::pin!(docker.download_from_container(container, Some(from)));
        while let Some(piece) = pieces.next().await {
            spool.write_all(&piece.map_err(&what)?).map_err(|error| what(error.into()))?;
        }
        spool.rewind().map_err(|error| what(error.into()))?;
        let copied = docker.upload_to_container(container, at(&place), body_try_stream(pieces_of(spool)));
        copied.await.map_err(&what)
    }
}

/// None where it is no template. `base`: the size of what it began with.
fn read(found: ImageSummary, base: i64) -> Option<Template> {
    let labels = Labels::read(&found.labels)?;
    let text = |name: &str| found.labels.get(name).cloned();
    let key = text(TEMPLATE).filter(|key| key.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let name = image(&labels.installation, &key);
    // Podman tells names in full.
    let is_so_named = |tag: &String| tag.strip_prefix("docker.io/library/").unwrap_or(tag) == name;
    let stale = !found.repo_tags.iter().any(is_so_named);
    let made = u64::try_from(found.created).unwrap_or(0);
    let record = labels.lock.parent().map(|site| record(site, &key));
    let used = record.and_then(|record| fs::metadata(record).ok()?.modified().ok());
    let used = used.and_then(|used| used.duration_since(UNIX_EPOCH).ok()).map_or(0, |used| used.as_secs());
    Some(Template {
        image: if stale { found.id } else { name },
        of: text(OF)?,
        service: Labels::service(&found.labels)?.to_owned(),
        bytes: u64::try_from(found.size - base).unwrap_or(0),
        used: used.max(made),
        key,
        labels,
        made,
        stale,
    })
}

fn pieces_of(mut file: File) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (pieces, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece);
            let is_last = !matches!(read, Ok(1..));
            let piece = read.map(|length| Bytes::from(piece).slice(..length));
            // Nobody may wait for it any more.
            if pieces.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// An archive that has a directory, and those above it.
fn directories(path: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut whole = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        whole = format!("{whole}{name}/");
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o700);
        header.set_size(0);
        let appended = archive.append_data(&mut header, &whole, io::empty());
        debug_assert!(appended.is_ok(), "it is written to memory");
    }
    archive.into_inner().unwrap_or_default()
}
