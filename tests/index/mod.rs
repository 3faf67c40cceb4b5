//! Indices: every backend answers every question alike, whatever happens on the way to it.

mod conformance;
mod faults;
mod fleet;
mod measure;
mod story;

use std::sync::Arc;

use seagull_results::index::{self, Address, Fate, Index};

use crate::harness::Elasticsearch;
use story::Story;

/// A backend and what keeps it there.
struct Backend {
    index: Arc<dyn Index>,
    elastic: Option<Elasticsearch>,
    _directory: tempfile::TempDir,
}

impl Backend {
    fn sqlite() -> Option<Backend> {
        let directory = tempfile::tempdir().unwrap();
        let address = Address::Sqlite(directory.path().join("index.sqlite"));
        Some(Backend { index: index::open(&address).unwrap(), elastic: None, _directory: directory })
    }

    /// None where there can be no server, which is said.
    fn elastic() -> Option<Backend> {
        let server = Elasticsearch::get()?;
        let index = open(&server.url());
        Some(Backend { index, elastic: Some(server), _directory: tempfile::tempdir().unwrap() })
    }

    async fn tell(&self, story: &Story) {
        self.index.prepare().await.unwrap();
        write(&*self.index, story).await;
        self.refresh();
    }

    /// What was written is found from here on.
    fn refresh(&self) {
        self.elastic.iter().for_each(Elasticsearch::refresh);
    }
}

fn open(url: &str) -> Arc<dyn Index> {
    index::open(&url.parse().unwrap()).unwrap()
}

/// Writes documents on which there is nothing wrong.
async fn write(index: &dyn Index, story: &Story) {
    let mut rest = story.documents.as_slice();
    while !rest.is_empty() {
        let fates = index.write(rest).await.unwrap();
        assert!(!fates.is_empty() && fates.iter().all(|fate| *fate == Fate::Written), "{fates:?}");
        rest = &rest[fates.len()..];
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}
