//! Whether tests on this machine can be bounded as their environments say.

use seagull_executor::control_groups::ControlGroups;

use super::finding::{Finding, Findings};
use crate::place::Place;

const CHECK: &str = "bounds";
const HINT: &str = "where an executor may make control groups: seagull docs sandboxes, \"Tests on the machine\"; \
                    with image, an environment needs none";

/// Nothing is said where none is bounded. Where others execute, it is they who have to be able to.
pub fn examine(place: &Place, elsewhere: bool, findings: &mut Findings) -> anyhow::Result<()> {
    let definitions = place.config.environments.iter();
    let bounded: Vec<_> =
        definitions.filter_map(|(name, of)| Some((name, of.environment.bounds.as_ref()?))).collect();
    if bounded.is_empty() {
        return Ok(());
    }
    let groups = ControlGroups::find();
    for (name, limits) in &bounded {
        let Err(error) = groups.bound(limits) else { continue };
        let said = format!("[environment.{name}]: {error}");
        let finding = if elsewhere { Finding::warning(CHECK, said) } else { Finding::problem(CHECK, said) };
        return findings.tell(finding.hint(HINT));
    }
    let names: Vec<_> = bounded.iter().map(|(name, _)| format!("[environment.{name}]")).collect();
    findings.tell(Finding::ok(CHECK, format!("by control groups, of {}", names.join(", "))))
}
