//! What events say of sandboxes: of what one was made, what an attempt took there, that one stays, and what was left in one.

use seagull_domain::{Hold, ImageUsed, RunEvent, Used};
use serde::Serialize;

use super::Place;
use crate::report::left::LeftObject;
use crate::report::tally::Tally;

/// An image that a sandbox was made of.
#[derive(Serialize)]
pub struct ImageObject<'a> {
    image: &'a str,
    id: &'a str,
    digest: Option<&'a str>,
}

impl<'a> ImageObject<'a> {
    pub fn of(used: &'a ImageUsed) -> ImageObject<'a> {
        let digest = Some(used.digest.as_str()).filter(|digest| !digest.is_empty());
        ImageObject { image: &used.image, id: &used.id, digest }
    }
}

/// What an attempt took.
#[derive(Serialize)]
pub struct UsedObject {
    cpu_seconds: f64,
    peak_memory_kib: Option<u64>,
    all_processes: bool,
}

impl UsedObject {
    pub fn of(Used { cpu_us, peak_kib, whole }: Used) -> UsedObject {
        let peak_memory_kib = Some(peak_kib).filter(|kib| *kib > 0);
        UsedObject { cpu_seconds: cpu_us as f64 / 1e6, peak_memory_kib, all_processes: whole }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Told<'a> {
    Held {
        test: Option<String>,
        environment: &'a str,
        sandbox: &'a str,
        until: u64,
        #[serde(flatten)]
        place: Place<'a>,
    },
    Left {
        test: Option<String>,
        #[serde(flatten)]
        left: LeftObject<'a>,
        #[serde(flatten)]
        place: Place<'a>,
    },
    Used {
        #[serde(flatten)]
        used: UsedObject,
        #[serde(flatten)]
        place: Place<'a>,
    },
    Images {
        images: Vec<ImageObject<'a>>,
        #[serde(flatten)]
        place: Place<'a>,
    },
}

pub(super) fn told<'a>(tally: &Tally, event: &'a RunEvent) -> (&'static str, Told<'a>) {
    match event {
        RunEvent::Held { test, hold, attempt, executor, slot } => {
            let place = Place { attempt: attempt.0, executor: executor.as_str(), slot: slot.0 };
            let test = test.map(|test| tally.names.id(test));
            let Hold { environment, sandbox, until } = hold;
            ("held", Told::Held { test, environment, sandbox, until: *until, place })
        }
        RunEvent::Left { test, left, attempt, executor, slot } => {
            let place = Place { attempt: attempt.0, executor: executor.as_str(), slot: slot.0 };
            let test = test.map(|test| tally.names.id(test));
            ("left", Told::Left { test, left: LeftObject::of(left), place })
        }
        RunEvent::Used { used, attempt, executor, slot } => {
            let place = Place { attempt: attempt.0, executor: executor.as_str(), slot: slot.0 };
            ("attempt_used", Told::Used { used: UsedObject::of(*used), place })
        }
        RunEvent::Images { images, attempt, executor, slot } => {
            let place = Place { attempt: attempt.0, executor: executor.as_str(), slot: slot.0 };
            ("images", Told::Images { images: images.iter().map(ImageObject::of).collect(), place })
        }
        _ => unreachable!("called for these alone"),
    }
}
