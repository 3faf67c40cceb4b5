//! What happens while a sandbox starts, and what is waited for by then.

use std::collections::BTreeMap;

use super::address::Address;

/// What happens while a sandbox starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Bytes that are here, of those that are known to be needed.
    Fetching {
        image: String,
        here: u64,
        all: u64,
    },
    Fetched {
        image: String,
    },
    Starting {
        service: String,
    },
    /// Why a service is not ready.
    Awaited {
        service: String,
        why: String,
    },
    Preparing {
        service: String,
    },
    /// It is prepared, and what it is is being saved.
    Saving {
        service: String,
    },
    /// A service can be used; it is reached there from this machine.
    Ready {
        service: String,
        address: Address,
    },
}

/// What goes on, from what is told.
#[derive(Debug, Default)]
pub struct Going {
    fetching: Option<String>,
    /// Services that are not ready, each with why.
    starting: BTreeMap<String, String>,
}

impl Going {
    pub fn take(&mut self, step: &Progress) {
        let (service, why) = match step {
            Progress::Fetching { image, here: 0, all: 0 } => {
                return self.fetching = Some(format!("fetching {image}"));
            }
            Progress::Fetching { image, here, all } => {
                let [here, all] = [here, all].map(|bytes| bytes / 1_000_000);
                return self.fetching = Some(format!("fetching {image}, {here} of {all} MB"));
            }
            Progress::Fetched { .. } => return self.fetching = None,
            Progress::Ready { service, .. } => return drop(self.starting.remove(service)),
            Progress::Starting { service } => (service, "it is being started"),
            Progress::Awaited { service, why } => (service, why.as_str()),
            Progress::Preparing { service } => (service, "it is being prepared"),
            Progress::Saving { service } => (service, "it is being saved as a template"),
        };
        self.starting.insert(service.clone(), why.to_owned());
    }

    /// What image is being fetched.
    pub fn fetching(&self) -> Option<&str> {
        self.fetching.as_deref()
    }

    /// The services that are not ready, each with why.
    pub fn starting(&self) -> impl Iterator<Item = (&str, &str)> {
        self.starting.iter().map(|(service, why)| (service.as_str(), why.as_str()))
    }
}
