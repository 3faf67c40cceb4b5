//! What the kernel leaves in the working directory of an overlay in which something was deleted: it is root's, and an executor
//! who is somebody else cannot remove it. A container of the tests' image does, as root without any capability.

use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig};
use seagull_domain::TestContainer;

use super::container::{bounded, container_name, shown};
use super::engine::Engine;
use super::error::Error;
use super::labels::Labels;

/// What the container is called among those of its sandbox.
const NAME: &str = "_whiteouts";
const INSIDE: &str = "/work";
/// What the kernel calls the directory that is its own. The one around it is not for others to enter.
const KERNELS: &str = "work";
/// The directory itself is empty then, and goes with the one that it is in, which is the executor's.
const EMPTY: &str = "
import os, shutil
os.chmod('/work', 0o700)
for entry in os.scandir('/work'):
    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
";

/// Empties what the kernel has made in the working directory of an overlay that is not mounted any more.
pub async fn remove(
    engine: &Engine,
    labels: &Labels,
    container: &TestContainer,
    work: &Path,
) -> Result<(), Error> {
    let body = ContainerCreateBody {
        image: Some(container.image.clone()),
        entrypoint: Some(vec![container.python.clone()]),
        cmd: Some(vec!["-c".to_owned(), EMPTY.to_owned()]),
        user: Some("0:0".to_owned()),
        labels: Some(labels.on(None)),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            mounts: Some(vec![shown(&work.join(KERNELS), INSIDE, false)]),
            ..bounded(&container.limits, &[], &[])
        }),
        ..Default::default()
    };
    // It goes with the sandbox, as all that has its labels.
    let name = container_name(labels, NAME);
    engine.create_container(name.clone(), body).await?;
    engine.start_container(&name).await?;
    engine.wait(&name).await.map(drop)
}
