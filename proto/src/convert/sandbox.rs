//! What is told of sandboxes: the images that one was made of, that one stays, and what was left in one.

use seagull_domain::{Hold, ImageUsed, Leftover, Used};

use super::Invalid;
use super::environment::name;
use super::scalar::{self, Checked};
use super::service::filled;
use crate::{limits, v1};

impl From<ImageUsed> for v1::ImageUsed {
    fn from(used: ImageUsed) -> Self {
        let (id, digest) = (scalar::fitted(used.id, limits::WORD_BYTES), used.digest);
        // A digest that is cut is none.
        let digest = if digest.len() <= limits::PATH_BYTES { digest } else { String::new() };
        Self { image: used.image, id, digest }
    }
}

impl TryFrom<v1::ImageUsed> for ImageUsed {
    type Error = Invalid;

    fn try_from(message: v1::ImageUsed) -> Checked<Self> {
        Ok(Self {
            image: filled(message.image, "ImageUsed.image")?,
            id: scalar::without_nul(message.id, limits::WORD_BYTES, "ImageUsed.id")?,
            digest: scalar::without_nul(message.digest, limits::PATH_BYTES, "ImageUsed.digest")?,
        })
    }
}

pub(super) fn told(images: Vec<ImageUsed>) -> Vec<v1::ImageUsed> {
    images.into_iter().map(Into::into).collect()
}

pub(super) fn heard(messages: Vec<v1::ImageUsed>, field: &'static str) -> Checked<Vec<ImageUsed>> {
    scalar::list(messages, limits::IMAGES, field, ImageUsed::try_from)
}

impl From<Hold> for v1::Hold {
    fn from(Hold { environment, sandbox, until }: Hold) -> Self {
        Self { environment, sandbox: scalar::fitted(sandbox, limits::WORD_BYTES), until }
    }
}

impl TryFrom<v1::Hold> for Hold {
    type Error = Invalid;

    fn try_from(message: v1::Hold) -> Checked<Self> {
        Ok(Self {
            environment: name(message.environment, "Hold.environment")?,
            sandbox: scalar::without_nul(message.sandbox, limits::WORD_BYTES, "Hold.sandbox")?,
            until: scalar::at_most(message.until, limits::MOMENT, "Hold.until")?,
        })
    }
}

impl From<Used> for v1::Used {
    fn from(Used { cpu_us, peak_kib, whole }: Used) -> Self {
        Self { cpu_us: cpu_us.min(limits::MICROS), peak_kib: peak_kib.min(limits::KIB), whole }
    }
}

impl TryFrom<v1::Used> for Used {
    type Error = Invalid;

    fn try_from(message: v1::Used) -> Checked<Self> {
        Ok(Self {
            cpu_us: scalar::at_most(message.cpu_us, limits::MICROS, "Used.cpu_us")?,
            peak_kib: scalar::at_most(message.peak_kib, limits::KIB, "Used.peak_kib")?,
            whole: message.whole,
        })
    }
}

impl From<Leftover> for v1::Leftover {
    fn from(Leftover { command, processes, ports, phase }: Leftover) -> Self {
        let ports = ports.into_iter().map(u32::from).take(limits::LEFT_PORTS).collect();
        let (command, phase) =
            (scalar::fitted(command, limits::LOCATION_BYTES), scalar::fitted(phase, limits::WORD_BYTES));
        Self { command, processes, ports, phase }
    }
}

impl TryFrom<v1::Leftover> for Leftover {
    type Error = Invalid;

    fn try_from(message: v1::Leftover) -> Checked<Self> {
        let port = |port: u32| {
            let port = u16::try_from(port).ok().filter(|port| *port > 0);
            port.ok_or_else(|| Invalid::new("Leftover.ports", "has what is no port"))
        };
        Ok(Self {
            command: scalar::text(message.command, limits::LOCATION_BYTES, "Leftover.command")?,
            processes: scalar::at_least_one(message.processes, "Leftover.processes")?,
            ports: scalar::list(message.ports, limits::LEFT_PORTS, "Leftover.ports", port)?,
            phase: scalar::text(message.phase, limits::WORD_BYTES, "Leftover.phase")?,
        })
    }
}
