//! Stores of blobs, and indices: whether what a scheduler does there can be done, by doing it.
#![expect(clippy::disallowed_methods, reason = "a shell: it takes the time, and stores block")]

use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use seagull_results::index::{self, Address};
use seagull_results::{Error, Key, Put, Store, StoreUrl, When, Why, digest, open_store};

use super::finding::{Finding, Findings};
use crate::commands::{index_address, store_url};
use crate::errors::usage;

/// What is written: as much as an attempt's log may have.
const BYTES: usize = 1 << 20;
/// The longest that a step may take before it is worth a word.
const SLOW: Duration = Duration::from_secs(2);

const FORMS: &str = "a store is file:/absolute/path or s3://BUCKET/PREFIX, an index sqlite:PATH or es+https://HOST:PORT/PREFIX; \
                     seagull docs storage has all of it";

type Step = fn(&dyn Store, &Trial) -> Result<(), anyhow::Error>;

/// The steps, each with the permission that it takes.
const STEPS: [(&str, &str, Step); 5] = [
    (
        "absent",
        "s3:GetObject, and s3:ListBucket, without which all that is not there is called forbidden",
        absent,
    ),
    ("write", "s3:PutObject", write),
    ("read", "s3:GetObject", read),
    ("delete", "s3:DeleteObject", delete),
    ("gone", "s3:ListBucket", absent),
];

/// Where a scheduler keeps something, by the URL of it.
#[derive(Debug)]
pub enum Place {
    Store(StoreUrl),
    Index(Address),
}

impl Place {
    /// What is wrong is said without the text: there may be a secret in it.
    pub fn of(text: &str) -> anyhow::Result<Place> {
        const OPTION: &str = "--stores";
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        match scheme {
            "sqlite" | "es+http" | "es+https" => index_address(OPTION, text).map(Place::Index),
            "file" | "s3" => store_url(OPTION, text).map(Place::Store),
            "http" | "https" => Err(usage(format!(
                "{OPTION}: {scheme}:// is neither a store's nor an index's\n\
                 hint: an index there is es+{scheme}://HOST:PORT/PREFIX, a bucket s3://BUCKET?endpoint={scheme}://HOST:PORT"
            ))),
            "es" | "elasticsearch" | "opensearch" => Err(usage(format!(
                "{OPTION}: an index is not named by {scheme}:\n\
                 hint: es+https://HOST:PORT/PREFIX, or es+http://HOST:PORT/PREFIX, is an index of Elasticsearch or OpenSearch"
            ))),
            _ => Err(usage(format!("{OPTION}: that is no URL of a store or an index\nhint: {FORMS}"))),
        }
    }
}

pub async fn examine(places: &[Place], findings: &mut Findings) -> anyhow::Result<()> {
    for place in places {
        match place {
            Place::Store(url) => store(url, findings).await?,
            Place::Index(address) => index(address, findings).await?,
        }
    }
    Ok(())
}

async fn index(address: &Address, findings: &mut Findings) -> anyhow::Result<()> {
    if let Address::Sqlite(file) = address
        && let Some(folder) = file.parent().filter(|folder| *folder != Path::new("") && !folder.is_dir())
    {
        let said = format!("{address}: there is no directory {}", folder.display());
        let hint = "make it, or name a file in one that is there: it is not made with the file";
        return findings.tell(Finding::problem("index", said).hint(hint));
    }
    let index = match index::open(address) {
        Ok(index) => index,
        Err(error) => return findings.tell(Finding::error("index", &error.into())),
    };
    findings.tell(Finding::ok("index", address.to_string()))?;
    let work = tokio::spawn(async move {
        let began = Instant::now();
        index.try_out().await.map(|()| began.elapsed())
    });
    let done = findings.during("tried", work).await?;
    findings.tell(match done {
        Ok(took) => Finding::ok("tried", format!("{} ms: written, found and deleted", took.as_millis())),
        Err(error @ index::Error::Unavailable { .. }) => Finding::error("tried", &error.into())
            .hint("is the address right, and can this machine reach and write to it?"),
        Err(error) => Finding::error("tried", &error.into()),
    })
}

async fn store(url: &StoreUrl, findings: &mut Findings) -> anyhow::Result<()> {
    let name = url.to_string();
    if let StoreUrl::File(directory) = url
        && !directory.exists()
    {
        let finding = match can_be_made(directory) {
            Ok(()) => Finding::warning("store", format!("{name} is not there"))
                .hint("a scheduler makes the directory when it starts"),
            Err(error) => {
                Finding::problem("store", format!("{name} is not there, and cannot be made: {error}"))
                    .hint("name a directory on a disk that this user may write to")
            }
        };
        return findings.tell(finding);
    }
    let store = match open_store(url) {
        Ok(store) => store,
        Err(error) => return findings.tell(Finding::error("store", &error.into())),
    };
    findings.tell(Finding::ok("store", name))?;
    let trial = Arc::new(Trial::new());
    let mut written = false;
    for (check, permission, step) in STEPS {
        let (of, with) = (store.clone(), trial.clone());
        let work = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            step(&*of, &with).map(|()| began.elapsed())
        });
        let done = findings.during(check, work).await?;
        let is_over = done.is_err() && check != "read";
        written = (written || (check == "write" && done.is_ok())) && check != "gone";
        findings.tell(finding(check, permission, done))?;
        if is_over {
            break;
        }
    }
    if written {
        findings.tell(Finding::warning("left", format!("{} is still there", trial.key)))?;
    }
    Ok(())
}

/// Whether something can be written where a directory is to be.
fn can_be_made(directory: &Path) -> std::io::Result<()> {
    let above = directory.ancestors().find(|above| above.exists()).unwrap_or(directory);
    tempfile::tempdir_in(above).map(drop)
}

fn finding(check: &'static str, permission: &str, done: anyhow::Result<Duration>) -> Finding {
    match done {
        Ok(took) if took > SLOW => Finding::warning(check, format!("{} ms, which is slow", took.as_millis()))
            .hint("logs and artifacts go up in the background, but what is read from there takes as long"),
        Ok(took) => Finding::ok(check, format!("{} ms", took.as_millis())),
        Err(error) => {
            let denied =
                |error: &Error| matches!(error, Error::Store { trouble, .. } if trouble.why == Why::Denied);
            let finding = Finding::error(check, &error);
            if error.downcast_ref().is_some_and(denied) {
                return finding
                    .hint(format!("its policy must allow {permission}; seagull docs storage lists all"));
            }
            finding
        }
    }
}

/// A blob that nobody else has.
struct Trial {
    bytes: Vec<u8>,
    key: Key,
}

impl Trial {
    fn new() -> Trial {
        let chance = RandomState::new();
        let bytes: Vec<u8> = (0..BYTES / 8).flat_map(|i| chance.hash_one(i).to_le_bytes()).collect();
        let key = Key::Blob(digest(&bytes));
        Trial { bytes, key }
    }
}

fn absent(store: &dyn Store, trial: &Trial) -> anyhow::Result<()> {
    ensure!(
        store.head(&trial.key)?.is_none(),
        "{} is there, though nobody has written it, or it was deleted\nhint: is what answers there a store?",
        trial.key
    );
    Ok(())
}

fn write(store: &dyn Store, trial: &Trial) -> anyhow::Result<()> {
    let once = || store.put(&trial.key, &mut &trial.bytes[..], trial.bytes.len() as u64, When::Absent);
    once()?;
    let again = once()?;
    ensure!(
        again == Put::Existed,
        "it writes what is there already though it is asked not to\n\
         hint: it must know If-None-Match: a newer release of the server may"
    );
    Ok(())
}

fn read(store: &dyn Store, trial: &Trial) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let mut read = |range| -> anyhow::Result<Vec<u8>> {
        bytes.clear();
        store.get(&trial.key, range)?.context("what was written is not there")?.read_to_end(&mut bytes)?;
        Ok(std::mem::take(&mut bytes))
    };
    ensure!(read(0..u64::MAX)? == trial.bytes, "what is read is not what was written");
    ensure!(read(7..99)? == trial.bytes[7..99], "a piece that is read is not what was written there");
    Ok(())
}

fn delete(store: &dyn Store, trial: &Trial) -> anyhow::Result<()> {
    Ok(store.delete(&trial.key)?)
}
