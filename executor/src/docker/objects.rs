//! Objects on an engine, as the engine lists them, and their removal.
#![expect(clippy::disallowed_methods, reason = "a shell: what is being removed takes a moment")]

use std::collections::HashMap;
use std::time::Duration;

use bollard::errors::Error as Answer;
use bollard::models::NetworkDisconnectRequest;
use bollard::query_parameters::{
    InspectNetworkOptions, ListContainersOptions, ListNetworksOptions, ListVolumesOptions,
    RemoveContainerOptions, RemoveVolumeOptions,
};

use super::engine::{Engine, is_busy, is_missing, refused};
use super::error::Error;
use super::labels::{Filter, Labels};
use super::vault;

/// How often it is tried to remove what others still use or remove, and how long after the last time.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Container,
    Network,
    Volume,
}

/// Something on an engine that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: Kind,
    pub id: String,
    pub name: String,
    pub labels: Labels,
    pub service: Option<String>,
    /// Whether it is a container that runs.
    pub running: bool,
}

impl Engine {
    /// All objects that are meant, containers first: what they use can go after them.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Object>, Error> {
        let filters = Some(HashMap::from([("label".to_owned(), vec![filter.label()])]));
        let options = ListContainersOptions { all: true, filters: filters.clone(), ..Default::default() };
        let containers = self.docker.list_containers(Some(options));
        let containers =
            containers.await.map_err(refused("list containers"))?.into_iter().filter_map(|one| {
                let name = one.names?.into_iter().next()?.trim_start_matches('/').to_owned();
                let running = one.state.is_some_and(|state| state.to_string() == "running");
                object(Kind::Container, (one.id?, name), one.labels?, running)
            });
        let networks = self.docker.list_networks(Some(ListNetworksOptions { filters: filters.clone() }));
        let networks = networks.await.map_err(refused("list networks"))?;
        let networks = networks
            .into_iter()
            .filter_map(|one| object(Kind::Network, (one.id?, one.name?), one.labels?, false));
        let volumes = self.docker.list_volumes(Some(ListVolumesOptions { filters }));
        let volumes = volumes.await.map_err(refused("list volumes"))?.volumes.unwrap_or_default();
        let volumes = volumes
            .into_iter()
            .filter_map(|one| object(Kind::Volume, (one.name.clone(), one.name), one.labels, false));
        Ok(containers.chain(networks).chain(volumes).collect())
    }

    /// Removes objects, and the secrets of their sandboxes; what is gone already is no error.
    pub async fn remove(&self, objects: &[Object]) -> Result<(), Error> {
        let mut left: Vec<&Object> = objects.iter().collect();
        left.sort_by_key(|object| object.kind);
        for attempt in 1.. {
            let mut busy = Vec::new();
            let mut why = None;
            for object in left {
                match self.remove_one(object).await {
                    Ok(()) => {}
                    Err(error) if is_missing(&error) => {}
                    Err(error) if is_busy(&error) => {
                        why = Some(refused(&format!("remove {}", object.name))(error));
                        busy.push(object);
                    }
                    Err(error) => return Err(refused(&format!("remove {}", object.name))(error)),
                }
            }
            match why {
                None => break,
                Some(error) if attempt == TRIES => return Err(error),
                Some(_) => tokio::time::sleep(PAUSE).await,
            }
            left = busy;
        }
        objects.iter().for_each(|object| vault::forget(&object.labels));
        Ok(())
    }

    async fn remove_one(&self, object: &Object) -> Result<(), Answer> {
        let id = &object.id;
        match object.kind {
            Kind::Container => self.remove_container(id).await,
            Kind::Network => match self.docker.remove_network(id).await {
                Err(error) if is_busy(&error) => {
                    self.empty(id).await?;
                    self.docker.remove_network(id).await
                }
                removed => removed,
            },
            Kind::Volume => self.docker.remove_volume(id, Some(RemoveVolumeOptions { force: true })).await,
        }
    }

    /// Takes whatever there is out of a network: its own containers are gone, and others share theirs with it.
    async fn empty(&self, network: &str) -> Result<(), Answer> {
        let found = self.docker.inspect_network(network, None::<InspectNetworkOptions>).await?;
        for container in found.containers.unwrap_or_default().into_keys() {
            let request = NetworkDisconnectRequest { container, force: Some(true) };
            match self.docker.disconnect_network(network, request).await {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// With the volumes that have no name.
    pub(super) async fn remove_container(&self, id: &str) -> Result<(), Answer> {
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        self.docker.remove_container(id, Some(options)).await
    }

    /// Removes all that are meant, until a list has none.
    pub async fn clear(&self, filter: &Filter) -> Result<usize, Error> {
        let mut removed = 0;
        loop {
            let objects = self.list(filter).await?;
            if objects.is_empty() {
                return Ok(removed);
            }
            self.remove(&objects).await?;
            removed += objects.len();
        }
    }
}

fn object(
    kind: Kind,
    (id, name): (String, String),
    labels: HashMap<String, String>,
    running: bool,
) -> Option<Object> {
    let service = Labels::service(&labels).map(str::to_owned);
    Some(Object { kind, id, name, labels: Labels::read(&labels)?, service, running })
}
