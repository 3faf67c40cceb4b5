//! A sandbox: its network, and each service in it, started in the order of what they depend on.
#![expect(clippy::disallowed_methods, reason = "a shell: services start side by side")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::models::NetworkCreateRequest;
use seagull_domain::{Definition, ImageUsed, Network, Probe, Scope, Service};
use tokio::task::JoinSet;

use super::address::{Address, variables};
use super::container::{Base, body, container_name, kept, network_name};
use super::disk;
use super::engine::{Engine, Image, Seen, refused};
use super::error::Error;
use super::hosts;
use super::labels::{Filter, Labels};
use super::lines::{Be, Lines};
use super::objects::{Kind, Object};
use super::origin::used;
use super::progress::Progress;
use super::ready::ready;
use super::site::{Site, now};
use super::template::{image, key};
use super::templates::Draft;
use super::vault;
use crate::secrets::Secrets;

/// Where services are published.
const LOOPBACK: &str = "127.0.0.1";
/// An option of networks: this machine has no address in it.
const NO_ADDRESS: &str = "com.docker.network.bridge.inhibit_ipv4";

/// From where services are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// From this machine, where their ports are published.
    Machine,
    /// From the container of the tests, which is beside them.
    Inside,
}

impl Reach {
    /// That of what tests of an environment run in.
    pub fn of(definition: &Definition) -> Reach {
        if definition.environment.container.is_some() { Reach::Inside } else { Reach::Machine }
    }

    /// Whether the network of a sandbox, if it has one, leads nowhere else.
    pub(super) fn network(self, definition: &Definition) -> Option<bool> {
        let asked = definition.environment.container.as_ref().map(|container| container.network);
        match (self, asked) {
            (Reach::Machine, _) | (Reach::Inside, None) => Some(false),
            (Reach::Inside, Some(Network::Egress)) => Some(false),
            (Reach::Inside, Some(Network::Internal)) if !definition.services.is_empty() => Some(true),
            (Reach::Inside, Some(Network::Internal | Network::None)) => None,
        }
    }

    fn published(self, service: &Service) -> &[u16] {
        match self {
            Reach::Machine => &service.ports,
            Reach::Inside => &[],
        }
    }

    fn address(self, name: &str, service: &Service, seen: &Seen) -> Address {
        let ports = service.ports.iter();
        match self {
            Reach::Machine => {
                let ports = ports.filter_map(|port| Some((*port, *seen.published.get(port)?)));
                let host = (!service.ports.is_empty()).then(|| LOOPBACK.to_owned());
                let own =
                    seen.address.zip(seen.gateway).filter(|(own, gateway)| hosts::is_in(*own, *gateway));
                Address { host, ports: ports.collect(), own: own.map(|(own, _)| own) }
            }
            Reach::Inside => {
                let ports = ports.map(|port| (*port, *port)).collect();
                Address { host: Some(name.to_owned()), ports, own: None }
            }
        }
    }
}

type Tell = Arc<dyn Fn(Progress) + Send + Sync>;
/// Those that are here, by their names.
type Images = BTreeMap<String, Image>;

/// A sandbox that is up.
#[derive(Debug, Clone)]
pub struct Sandbox {
    pub labels: Labels,
    /// Of each service, from where it is used.
    pub addresses: BTreeMap<String, Address>,
    /// What it was made of.
    pub images: Vec<ImageUsed>,
    beside: Beside,
}

/// Services of other sandboxes that are used in one as its own, by their names.
pub type Beside = BTreeMap<String, Neighbour>;

/// A service of another sandbox.
#[derive(Debug, Clone)]
pub struct Neighbour {
    pub container: String,
    pub address: Address,
}

impl Sandbox {
    /// Starts one; nothing is left of it if that fails. Whoever gives up waiting calls [`discard`].
    pub async fn start(start: Start) -> Result<Sandbox, Error> {
        let started = start.all().await;
        if started.is_err() {
            // What cannot be removed now is left to the guard, as it would be if this process were killed.
            let _ = discard(&start.engine, &start.labels).await;
        }
        let (addresses, images) = started?;
        Ok(Sandbox { labels: start.labels, addresses, images, beside: start.beside })
    }

    /// One that is up already for this machine; none if a service of it does not run any more. What workers shared is no
    /// part of one that is held, and may be gone.
    pub async fn find(
        engine: &Engine,
        definition: &Definition,
        labels: &Labels,
    ) -> Result<Option<Sandbox>, Error> {
        let mut addresses = BTreeMap::new();
        for (name, service) in &definition.services {
            match engine.find(&container_name(labels, name)).await? {
                Some(seen) if seen.running => {
                    addresses.insert(name.clone(), Reach::Machine.address(name, service, &seen));
                }
                None if Scope::SHARED.contains(&service.scope) => {}
                _ => return Ok(None),
            }
        }
        let (images, beside) = Default::default();
        Ok(Some(Sandbox { labels: labels.clone(), addresses, images, beside }))
    }

    /// What whoever uses the services has in its environment.
    pub fn variables(&self, definition: &Definition) -> BTreeMap<String, String> {
        let of_services = self.addresses.iter().filter_map(|(name, address)| {
            definition.services.get(name).map(|service| variables(name, service, address))
        });
        let own = definition.environment.env.clone();
        of_services.flatten().chain(own).collect()
    }

    /// Writes what is `/etc/hosts` for whoever uses the services from this machine.
    pub fn hosts(&self, directory: &Path) -> io::Result<Option<PathBuf>> {
        hosts::write(&self.addresses, directory)
    }

    /// The container of a service.
    pub fn container(&self, service: &str) -> String {
        let elsewhere = self.beside.get(service).map(|neighbour| neighbour.container.clone());
        elsewhere.unwrap_or_else(|| container_name(&self.labels, service))
    }

    /// Its services, as another sandbox has them beside its own.
    pub fn neighbours(&self) -> Beside {
        let neighbour = |(name, address): (&String, &Address)| {
            (name.clone(), Neighbour { container: self.container(name), address: address.clone() })
        };
        self.addresses.iter().map(neighbour).collect()
    }
}

/// Removes all that there is of a sandbox, also what is only being made.
pub async fn discard(engine: &Engine, labels: &Labels) -> Result<usize, Error> {
    engine.settle().await;
    let removed = engine.clear(&Filter::Sandbox(labels.sandbox.clone())).await;
    vault::forget(labels);
    removed
}

/// The same of what its tests ran in: its services stay.
pub async fn discard_tests(engine: &Engine, labels: &Labels) -> Result<(), Error> {
    engine.settle().await;
    let objects = engine.list(&Filter::Sandbox(labels.sandbox.clone())).await?;
    let is_the_tests = |object: &Object| object.service.is_none() && object.kind != Kind::Network;
    engine.remove(&objects.into_iter().filter(is_the_tests).collect::<Vec<_>>()).await
}

/// A sandbox that starts.
#[derive(Clone)]
pub struct Start {
    pub engine: Engine,
    /// What is known of templates.
    pub site: Site,
    pub definition: Arc<Definition>,
    pub labels: Labels,
    pub reach: Reach,
    /// What of the definition is up elsewhere.
    pub beside: Beside,
    /// What is used instead of what is called so now, by the names of images.
    pub pinned: BTreeMap<String, String>,
    pub tell: Tell,
}

impl Start {
    async fn all(&self) -> Result<(BTreeMap<String, Address>, Vec<ImageUsed>), Error> {
        let images = Arc::new(self.images().await?);
        self.network().await?;
        let mut done: BTreeSet<String> = self.beside.keys().cloned().collect();
        let mut begun = done.clone();
        let beside = self.beside.iter();
        let mut addresses: BTreeMap<_, _> =
            beside.map(|(name, neighbour)| (name.clone(), neighbour.address.clone())).collect();
        let mut services = JoinSet::new();
        loop {
            for name in self.definition.next(&begun, &done) {
                begun.insert(name.clone());
                let (start, images) = (self.clone(), images.clone());
                services.spawn(async move { start.one(name, images).await });
            }
            let Some(joined) = services.join_next().await else {
                return Ok((addresses, used(&images)));
            };
            let (name, address) = joined.unwrap_or_else(|error| {
                Err(Error::Refused { what: "start a service".to_owned(), why: error.to_string() })
            })?;
            done.insert(name.clone());
            addresses.insert(name, address);
        }
    }

    /// Its network, with what is up elsewhere in it by its name; none where nobody would be there besides.
    async fn network(&self) -> Result<(), Error> {
        let alone = self.definition.services.keys().all(|name| self.beside.contains_key(name));
        let needed = self.reach == Reach::Inside || !alone;
        let Some(internal) = self.reach.network(&self.definition).filter(|_| needed) else { return Ok(()) };
        let name = network_name(&self.labels);
        let request = NetworkCreateRequest {
            name: name.clone(),
            labels: Some(self.labels.on(None)),
            internal: Some(internal),
            options: Some(if internal { self.cut_off() } else { HashMap::new() }),
            ..Default::default()
        };
        self.engine.create_network(request).await?;
        for (service, neighbour) in &self.beside {
            self.engine.connect_to(&name, &neighbour.container, service).await?;
        }
        Ok(())
    }

    /// What keeps a network apart from this machine: that has no address there. It needs one to ask services by HTTP.
    fn cut_off(&self) -> HashMap<String, String> {
        let by_http = |service: &Service| matches!(service.ready.probe, Probe::Http(..));
        if self.definition.services.values().any(by_http) {
            return HashMap::new();
        }
        [(NO_ADDRESS.to_owned(), "true".to_owned())].into()
    }

    /// Sees to it that all images are here.
    async fn images(&self) -> Result<Images, Error> {
        let mut all = BTreeMap::new();
        let images = match self.reach {
            Reach::Machine => {
                self.definition.services.values().map(|service| service.image.as_str()).collect()
            }
            Reach::Inside => self.definition.images(),
        };
        for name in images.into_iter().map(str::to_owned) {
            let image = self.own_name(&name);
            let mut found = self.engine.image(&image).await?;
            if found.is_none() {
                let fetching =
                    |here, all| (self.tell)(Progress::Fetching { image: image.clone(), here, all });
                fetching(0, 0);
                self.engine.pull(&image, fetching).await?;
                (self.tell)(Progress::Fetched { image: image.clone() });
                found = self.engine.image(&image).await?;
                found.iter().for_each(|found| self.site.fetched(&image, &found.id));
            }
            self.site.uses(&image);
            all.extend(found.map(|found| (name, found)));
        }
        Ok(all)
    }

    /// What an image is asked for by.
    fn own_name(&self, image: &str) -> String {
        self.pinned.get(image).map_or(image, String::as_str).to_owned()
    }

    async fn one(&self, name: String, images: Arc<Images>) -> Result<(String, Address), Error> {
        let service = &self.definition.services[&name];
        (self.tell)(Progress::Starting { service: name.clone() });
        self.secrets(&name, service)?;
        let volumes = images.get(&service.image).map(|image| image.volumes.clone()).unwrap_or_default();
        let own = Base { image: self.own_name(&service.image), volumes, template: false };
        disk::bounds(&format!("services.{name}"), &service.limits, kept(service, &own.volumes))?;
        let container = container_name(&self.labels, &name);
        let seen = tokio::select! {
            seen = self.made(&name, own, &images) => seen?,
            written = disk::over(&self.engine, &container, &service.limits, None) => {
                let (how, log) = disk::end_of(&self.engine, &container, &service.limits, written).await;
                return Err(Error::Ended { service: name, how, log });
            }
        };
        let address = self.reach.address(&name, service, &seen);
        (self.tell)(Progress::Ready { service: name.clone(), address: address.clone() });
        Ok((name, address))
    }

    /// A service is ready and prepared.
    async fn made(&self, name: &str, own: Base, images: &Arc<Images>) -> Result<Seen, Error> {
        if self.definition.services[name].template {
            let image = self.template(name, &own, images).await?;
            return self.begin(name, &Base { image, template: true, ..own }).await;
        }
        let seen = self.begin(name, &own).await?;
        self.prepare(name).await?;
        Ok(seen)
    }

    /// A service is ready.
    async fn begin(&self, name: &str, base: &Base) -> Result<Seen, Error> {
        let service = &self.definition.services[name];
        let container = container_name(&self.labels, name);
        let body = body(name, service, &self.labels, base, self.reach.published(service));
        self.engine.create_container(container.clone(), body).await?;
        self.engine.start_container(&container).await?;
        let tell = |why: &str| {
            (self.tell)(Progress::Awaited { service: name.to_owned(), why: why.to_owned() });
        };
        ready(&self.engine, &container, (name, service), tell).await
    }

    /// The image of what a service is once it is prepared: made, if it is not there.
    async fn template(&self, name: &str, own: &Base, images: &Arc<Images>) -> Result<String, Error> {
        let failed =
            |error: std::io::Error| Error::Template { service: name.to_owned(), why: error.to_string() };
        let (definition, of, all) = (self.definition.clone(), name.to_owned(), images.clone());
        let key = tokio::task::spawn_blocking(move || key(&definition, &of, &all)).await;
        let key = key.map_err(std::io::Error::other).flatten().map_err(failed)?;
        let saved = image(&self.labels.installation, &key);
        if self.engine.image(&saved).await?.is_none() {
            let _turn = self.site.turn(&key).await.map_err(failed)?;
            // Another may have made it meanwhile.
            if self.engine.image(&saved).await?.is_none() {
                self.save(name, own, &key).await?;
                self.site.tidy(&self.engine, now()).await?;
            }
        }
        self.site.used(&key);
        Ok(saved)
    }

    async fn save(&self, name: &str, own: &Base, key: &str) -> Result<(), Error> {
        let service = &self.definition.services[name];
        self.begin(name, own).await?;
        self.prepare(name).await?;
        (self.tell)(Progress::Saving { service: name.to_owned() });
        let volumes: Vec<&String> = kept(service, &own.volumes).collect();
        let (labels, of) = (&self.labels, own.image.as_str());
        self.engine.save(&Draft { key, of, labels, service: name, volumes: &volumes }).await?;
        let container = container_name(labels, name);
        let removed = self.engine.remove_container(&container).await;
        removed.map_err(refused(&format!("remove the container {container}")))
    }

    fn secrets(&self, name: &str, service: &Service) -> Result<(), Error> {
        if service.secrets.is_empty() {
            return Ok(());
        }
        let kept =
            |secrets: Secrets| vault::keep(&self.labels, name, &secrets).map_err(|error| error.to_string());
        let kept = Secrets::find(&service.secrets).and_then(kept);
        kept.map_err(|why| Error::Secrets { service: name.to_owned(), why })
    }

    async fn prepare(&self, name: &str) -> Result<(), Error> {
        let service = &self.definition.services[name];
        if !service.prepare.is_empty() {
            (self.tell)(Progress::Preparing { service: name.to_owned() });
        }
        let container = container_name(&self.labels, name);
        let (engine, be, env) = (&self.engine, Be::Prepared, &[][..]);
        Lines { engine, container: &container, service: name, be, env }.run(&service.prepare).await
    }
}
