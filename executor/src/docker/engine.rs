//! The engine, and what is asked of it for one object.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: what is asked for is done whether or not it is still waited for"
)]

use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error as Answer;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthStatusEnum, NetworkConnectRequest, NetworkCreateRequest,
    VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, InspectContainerOptions, KillContainerOptions, LogsOptions,
    WaitContainerOptions,
};
use seagull_domain::Definition;
use tokio::sync::{OnceCell, RwLock};
use tokio_stream::{Stream, StreamExt};

use super::credentials;
use super::error::Error;
use super::hint::NO_SOCKET;
use super::labels::Labels;
use super::said::Said;
use super::vault;
use crate::secrets::Secrets;

/// Where an engine is if nothing says otherwise.
const SOCKET: &str = "unix:///var/run/docker.sock";
/// How long after a registry could not be asked it is asked again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// What a registry says that will say the same again.
const DEFINITE: [&str; 6] =
    ["not found", "no such host", "denied", "unauthorized", "no basic auth credentials", "manifest unknown"];
/// Of what a program in a container says, so much is kept.
const SAID: usize = 16 << 10;

#[derive(Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    /// Read by each call that makes something, while it is under way; whether more may be made.
    making: Arc<RwLock<bool>>,
    /// How many cores it has, in billionths, once it was asked.
    cores: Arc<OnceCell<Option<i64>>>,
    /// What nobody is told of what services say.
    hidden: Arc<Secrets>,
}

/// What a container is, as far as anybody asks.
#[derive(Debug, Clone)]
pub struct Seen {
    pub running: bool,
    /// None where it has no health check.
    pub healthy: Option<bool>,
    pub out_of_memory: bool,
    /// How it ended last, if it ever has.
    pub code: Option<i64>,
    pub address: Option<IpAddr>,
    /// Of the network in which it has that.
    pub gateway: Option<IpAddr>,
    pub id: String,
    /// Of its first process, as this machine's kernel numbers it where the engine is not in a machine of its own.
    pub pid: Option<i64>,
    /// Ports inside, and where they are on loopback.
    pub published: BTreeMap<u16, u16>,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of what it is.
    pub id: String,
    /// The paths that it declares as volumes.
    pub volumes: Vec<String>,
    /// All that it is made of, also what others are made of too.
    pub bytes: u64,
    /// What registries know it by, each `NAME@DIGEST`.
    pub digests: Vec<String>,
}

/// How a program in a container ended.
pub struct Ran {
    pub code: i64,
    pub said: String,
}

impl Engine {
    /// The one that `DOCKER_HOST` names, a socket; else that of this machine.
    pub async fn connect() -> Result<Engine, Error> {
        // An empty one is none, as it is for `docker`.
        let named = env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty());
        let address = named.unwrap_or_else(|| SOCKET.to_owned());
        let unreachable = |why: String| Error::Unreachable { address: address.clone(), why };
        if !address.starts_with("unix://") {
            return Err(unreachable(NO_SOCKET.to_owned()));
        }
        let docker = Docker::connect_with_unix_defaults().map_err(|error| unreachable(said(&error)))?;
        let docker = docker.negotiate_version().await.map_err(|error| unreachable(said(&error)))?;
        Ok(Engine {
            docker,
            making: Arc::new(RwLock::new(true)),
            cores: Arc::default(),
            hidden: Arc::default(),
        })
    }

    /// The same, which tells what services say without these secrets, nor those of the services.
    pub fn hiding(self, secrets: &Secrets, definition: &Definition) -> Engine {
        let of_services = definition.services.values().flat_map(|service| &service.secrets);
        Engine { hidden: Arc::new(secrets.with(of_services)), ..self }
    }

    /// The same, without those that a sandbox has, whatever they would be by now.
    pub fn hiding_those_of(self, labels: &Labels) -> Engine {
        Engine { hidden: Arc::new(self.hidden.and(vault::kept(labels))), ..self }
    }

    /// What is not told.
    pub fn hidden(&self) -> &Secrets {
        &self.hidden
    }

    /// `20.10.24 (API 1.41)`.
    pub async fn version(&self) -> Result<String, Error> {
        let version = self.docker.version().await.map_err(refused("say its version"))?;
        let [engine, api] = [version.version, version.api_version].map(Option::unwrap_or_default);
        Ok(format!("{engine} (API {api})"))
    }

    /// None if it is not here.
    pub async fn image(&self, image: &str) -> Result<Option<Image>, Error> {
        match self.docker.inspect_image(image).await {
            Ok(found) => {
                let volumes = found.config.and_then(|config| config.volumes).unwrap_or_default();
                let bytes = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
                let (id, digests) = (found.id.unwrap_or_default(), found.repo_digests.unwrap_or_default());
                Ok(Some(Image { id, volumes, bytes, digests }))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(refused(&format!("look at the image {image}"))(error)),
        }
    }

    /// Fetches an image; `tell` has how many bytes of how many are here, of what is known so far. A registry that is away for
    /// a moment is asked again.
    pub async fn pull(&self, image: &str, tell: impl Fn(u64, u64)) -> Result<(), Error> {
        let failed = |why| Error::Image { image: image.to_owned(), why };
        let credentials = credentials::of(image).await.map_err(failed)?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let error = match self.try_to_pull(image, credentials.clone(), &tell).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let why = said(&error);
            match pauses.next().filter(|_| !DEFINITE.iter().any(|words| why.contains(words))) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failed(why)),
            }
        }
    }

    async fn try_to_pull(
        &self,
        image: &str,
        credentials: Option<DockerCredentials>,
        tell: &impl Fn(u64, u64),
    ) -> Result<(), Answer> {
        let options = CreateImageOptions { from_image: Some(tagged(image)), ..Default::default() };
        let mut layers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut steps = std::pin::pin!(self.docker.create_image(Some(options), None, credentials));
        while let Some(step) = steps.next().await {
            let step = step?;
            let detail = step.progress_detail.filter(|_| step.status.as_deref() == Some("Downloading"));
            if let (Some(layer), Some(detail)) = (step.id, detail) {
                let [here, all] = [detail.current, detail.total].map(|n| n.and_then(|n| n.try_into().ok()));
                layers.insert(layer, (here.unwrap_or(0), all.unwrap_or(0)));
                let sum = |of: fn(&(u64, u64)) -> u64| layers.values().map(of).sum();
                tell(sum(|layer| layer.0), sum(|layer| layer.1));
            }
        }
        Ok(())
    }

    pub async fn create_network(&self, request: NetworkCreateRequest) -> Result<(), Error> {
        let what = refused(&format!("make the network {}", request.name));
        let docker = self.docker.clone();
        self.make(async move { docker.create_network(request).await.map(drop) }).await.map_err(what)
    }

    /// Puts a container in another network too, by this name.
    pub async fn connect_to(&self, network: &str, container: &str, name: &str) -> Result<(), Error> {
        let endpoint = EndpointSettings { aliases: Some(vec![name.to_owned()]), ..Default::default() };
        let request =
            NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
        let (docker, own) = (self.docker.clone(), network.to_owned());
        let connected = self.make(async move { docker.connect_network(&own, request).await });
        connected
            .await
            .map_err(refused(&format!("connect the container {container} to the network {network}")))
    }

    pub async fn create_volume(&self, request: VolumeCreateRequest) -> Result<(), Error> {
        let name = request.name.clone().unwrap_or_default();
        let what = refused(&format!("make the volume {name}"));
        let docker = self.docker.clone();
        self.make(async move { docker.create_volume(request).await.map(drop) }).await.map_err(what)
    }

    /// What asks for more cores than there are gets all of them: the engine would refuse it.
    pub async fn create_container(&self, name: String, mut body: ContainerCreateBody) -> Result<(), Error> {
        if let Some(wanted) = body.host_config.as_mut().and_then(|host| host.nano_cpus.as_mut())
            && let Some(cores) = self.cores().await
        {
            *wanted = (*wanted).min(cores);
        }
        let what = refused(&format!("make the container {name}"));
        let docker = self.docker.clone();
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        self.make(async move { docker.create_container(Some(options), body).await.map(drop) })
            .await
            .map_err(what)
    }

    async fn cores(&self) -> Option<i64> {
        let ask = async || Some(self.docker.info().await.ok()?.ncpu?.checked_mul(1_000_000_000)?);
        *self.cores.get_or_init(ask).await
    }

    pub async fn start_container(&self, name: &str) -> Result<(), Error> {
        let (docker, own) = (self.docker.clone(), name.to_owned());
        let what = refused(&format!("start the container {name}"));
        self.make(async move { docker.start_container(&own, None).await }).await.map_err(what)
    }

    /// Sends a signal to the first process of a container; one that does not run needs none.
    pub async fn signal(&self, container: &str, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match self.docker.kill_container(container, Some(options)).await {
            Err(error) if !is_missing(&error) && !is_busy(&error) => {
                Err(refused(&format!("signal the container {container}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Waits for all that is being made, also by calls that nobody waits for any more, and lets nothing more be made: what
    /// there is then can be found and removed.
    pub async fn settle(&self) {
        *self.making.write().await = false;
    }

    pub async fn inspect(&self, container: &str) -> Result<Seen, Error> {
        self.look_at(container).await.map_err(refused(&format!("look at the container {container}")))
    }

    /// None if it is not there.
    pub async fn find(&self, container: &str) -> Result<Option<Seen>, Error> {
        match self.look_at(container).await {
            Err(error) if is_missing(&error) => Ok(None),
            seen => seen.map(Some).map_err(refused(&format!("look at the container {container}"))),
        }
    }

    async fn look_at(&self, container: &str) -> Result<Seen, Answer> {
        let found = self.docker.inspect_container(container, None).await?;
        let state = found.state.unwrap_or_default();
        let check = found.config.and_then(|config| config.healthcheck?.test).unwrap_or_default();
        let is_checked = check.first().is_some_and(|how| how != "NONE");
        let health = state.health.and_then(|health| health.status);
        let health =
            health.filter(|status| !matches!(status, HealthStatusEnum::EMPTY | HealthStatusEnum::NONE));
        let network = found.network_settings.unwrap_or_default();
        let endpoints = network.networks.unwrap_or_default();
        let published = network.ports.unwrap_or_default().into_iter().filter_map(|(inside, outside)| {
            let inside = inside.strip_suffix("/tcp")?.parse().ok()?;
            Some((inside, outside?.first()?.host_port.as_ref()?.parse().ok()?))
        });
        let read = |text: &Option<String>| text.as_ref()?.parse().ok();
        let endpoint = endpoints.into_values().find(|endpoint| read(&endpoint.ip_address).is_some());
        let endpoint = endpoint.unwrap_or_default();
        Ok(Seen {
            running: state.running == Some(true),
            // A first status may come after the start.
            healthy: (is_checked || health.is_some()).then_some(health == Some(HealthStatusEnum::HEALTHY)),
            id: found.id.unwrap_or_default(),
            pid: state.pid.filter(|pid| *pid > 0),
            code: state.exit_code,
            out_of_memory: state.oom_killed == Some(true),
            address: read(&endpoint.ip_address),
            gateway: read(&endpoint.gateway),
            published: published.collect(),
        })
    }

    /// How much is in the layer of a container that is its own, in bytes: the engine goes through it.
    pub async fn written(&self, container: &str) -> Result<u64, Error> {
        let what = refused(&format!("measure the container {container}"));
        let options = InspectContainerOptions { size: true };
        let found = self.docker.inspect_container(container, Some(options)).await.map_err(what)?;
        Ok(found.size_rw.and_then(|size| u64::try_from(size).ok()).unwrap_or(0))
    }

    /// Waits for the end of a container; its exit code.
    pub async fn wait(&self, container: &str) -> Result<i64, Error> {
        let options = WaitContainerOptions { condition: "not-running".to_owned() };
        let mut ends = std::pin::pin!(self.docker.wait_container(container, Some(options)));
        match ends.next().await {
            Some(Ok(end)) => Ok(end.status_code),
            Some(Err(Answer::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) => Err(refused(&format!("wait for the container {container}"))(error)),
            None => Err(Error::Refused {
                what: format!("wait for the container {container}"),
                why: "it broke off".to_owned(),
            }),
        }
    }

    /// Runs a program in a container to its end, with these variables besides the container's.
    pub async fn run(&self, container: &str, command: &[String], env: &[String]) -> Result<Ran, Error> {
        let mut said = String::new();
        let hear = |piece: LogOutput| {
            said += &piece.to_string();
            // Its end says why it failed.
            let cut = said.len().saturating_sub(SAID);
            let cut = (cut..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
            said.drain(..cut);
        };
        let code = self.run_in(container, (command, None), env, hear).await?;
        Ok(Ran { code, said: self.hidden.hidden_in_end(said) })
    }

    /// The same in a directory there, if that is not the container's; its exit code. `hear` has what it says.
    pub async fn run_in(
        &self,
        container: &str,
        (command, directory): (&[String], Option<&Path>),
        env: &[String],
        mut hear: impl FnMut(LogOutput),
    ) -> Result<i64, Error> {
        let what = || refused(&format!("run a program in the container {container}"));
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            env: Some(env.to_vec()),
            working_dir: directory.map(|directory| directory.to_string_lossy().into_owned()),
            ..Default::default()
        };
        let exec = self.docker.create_exec(container, options).await.map_err(what())?;
        let started = self.docker.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(what())?;
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(piece) = output.next().await {
                hear(piece.map_err(what())?);
            }
        }
        let ended = self.docker.inspect_exec(&exec.id).await.map_err(what())?;
        // Without a code it could not even be started.
        Ok(ended.exit_code.unwrap_or(127))
    }

    /// What a container said: so many last lines, or all, and all that it will say if it is followed.
    pub fn log(
        &self,
        container: &str,
        lines: Option<usize>,
        follow: bool,
    ) -> impl Stream<Item = Result<LogOutput, Error>> + use<> {
        let what = refused(&format!("read the log of the container {container}"));
        let tail = lines.map_or("all".to_owned(), |lines| lines.to_string());
        let options = LogsOptions { follow, stdout: true, stderr: true, tail, ..Default::default() };
        let (docker, container) = (self.docker.clone(), container.to_owned());
        let pieces: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> =
            Box::pin(docker.logs(&container, Some(options)));
        pieces.map(move |piece| piece.map_err(&what))
    }

    /// The last lines of a service; none where they cannot be read.
    pub async fn last_lines(&self, container: &str, lines: usize) -> String {
        self.hidden.hidden_in_end(self.end_of_log(container, lines).await)
    }

    /// The same of any container, to the letter.
    pub(super) async fn end_of_log(&self, container: &str, lines: usize) -> String {
        let mut pieces = self.log(container, Some(lines), false);
        let (mut said, mut text) = (Said::default(), String::new());
        while let Some(Ok(piece)) = pieces.next().await {
            text += &said.take(piece);
        }
        text + &said.rest()
    }

    /// A call that is given up goes on, and [`Engine::settle`] waits for it.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Answer>> + Send + 'static,
    ) -> Result<T, Answer> {
        let under_way = self.making.clone().read_owned().await;
        if !*under_way {
            return Err(std::io::Error::other("the sandbox is being removed").into());
        }
        let task = tokio::spawn(async move {
            let made = call.await;
            drop(under_way);
            made
        });
        task.await.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }
}

/// Without a tag an engine would fetch every one there is.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}

pub(super) fn is_missing(error: &Answer) -> bool {
    matches!(error, Answer::DockerResponseServerError { status_code: 404, .. })
}

/// An object is being removed already, or something still uses it.
pub(super) fn is_busy(error: &Answer) -> bool {
    matches!(error, Answer::DockerResponseServerError { status_code: 403 | 409, .. })
}

/// What the engine itself says.
pub(super) fn said(error: &Answer) -> String {
    match error {
        Answer::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        Answer::DockerStreamError { error } => error.trim().to_owned(),
        Answer::SocketNotFoundError(_) => "there is no such socket".to_owned(),
        Answer::RequestTimeoutError => "it did not answer in time".to_owned(),
        other => causes(other),
    }
}

/// The innermost cause: what is around it says only that a request failed.
fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

pub(super) fn refused(what: &str) -> impl Fn(Answer) -> Error + use<> {
    let what = what.to_owned();
    move |error| Error::Refused { what: what.clone(), why: said(&error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_is_fetched_and_not_all_of_a_name() {
        let table = [
            ("redis", "redis:latest"),
            ("redis:7", "redis:7"),
            ("registry:5000/team/redis", "registry:5000/team/redis:latest"),
            ("redis@sha256:0", "redis@sha256:0"),
        ];
        for (image, expected) in table {
            assert_eq!(tagged(image), expected);
        }
    }
}
