//! Whether services can be started: the engine, and the images that are not here.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{Suite, TestContainer};
use seagull_executor::docker::Engine;

use super::finding::{Finding, Findings};
use crate::place::Place;

const CHECK: &str = "docker";

/// What a suite is discovered in, if not on this machine.
pub fn image(place: &Place) -> Option<&TestContainer> {
    place.config.environments.get(Suite::DEFAULT)?.environment.container.as_ref()
}

/// Nothing is said where no environment needs an engine.
pub async fn examine(place: &Place, findings: &mut Findings) -> anyhow::Result<()> {
    let environments = place.config.environments.iter().filter(|(_, definition)| definition.needs_engine());
    let environments: BTreeMap<_, _> = environments.collect();
    if environments.is_empty() {
        return Ok(());
    }
    let images: BTreeSet<&str> = environments.values().flat_map(|definition| definition.images()).collect();
    let look = async {
        let engine = Engine::connect().await?;
        let mut missing = Vec::new();
        for image in images {
            if engine.image(image).await?.is_none() {
                missing.push(image);
            }
        }
        anyhow::Ok((engine.version().await?, missing))
    };
    let finding = match findings.during(CHECK, look).await {
        Ok((version, missing)) => describe(&version, environments.keys().map(|name| name.as_str()), &missing),
        Err(error) => Finding::error(CHECK, &error),
    };
    findings.tell(finding)
}

fn describe<'a>(version: &str, environments: impl Iterator<Item = &'a str>, missing: &[&str]) -> Finding {
    let environments: Vec<_> = environments.map(|name| format!("[environment.{name}]")).collect();
    let said = format!("engine {version}, for {}", environments.join(", "));
    match missing {
        [] => Finding::ok(CHECK, said),
        [first, ..] => Finding::warning(CHECK, format!("{said}; not here: {}", missing.join(", ")))
            .hint(format!("the first start of what needs it fetches it, as does docker pull {first}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn an_image_that_is_not_here_is_a_warning() {
        let describe = |missing: &[&str]| describe("20.10 (API 1.41)", ["db", "web"].into_iter(), missing);
        let good = describe(&[]);
        assert_eq!(
            good,
            Finding::ok(CHECK, "engine 20.10 (API 1.41), for [environment.db], [environment.web]")
        );
        let warned = describe(&["redis:7", "x"]);
        assert!(warned.state == State::Warning && warned.text().contains("; not here: redis:7, x\n"));
    }
}
