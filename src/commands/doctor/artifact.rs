//! What would be sent to a scheduler's executors.
#![expect(clippy::disallowed_methods, reason = "a shell: looking at files blocks")]

use std::collections::BTreeMap;
use std::path::Path;

use seagull_executor::artifact::{MAX_BYTES, Measured, PackOptions, Reason, measure};

use super::finding::{Finding, Findings};
use crate::commands::run::artifact::{Chosen, root, size};
use crate::place::Place;
use crate::report::{count, number};

const CHECK: &str = "artifact";
/// Of the largest files, so many are named.
const NAMED: usize = 3;

/// `wanted`: for a scheduler, without which nothing is sent.
pub async fn examine(place: &Place, wanted: bool, findings: &mut Findings) -> anyhow::Result<()> {
    let (root, _) = match root(place) {
        Ok(found) => found,
        Err(error) => return findings.tell(judged(Finding::error(CHECK, &error), wanted)),
    };
    let from = root.clone();
    let Chosen { include, omit } = match Chosen::of(place, &root) {
        Ok(chosen) => chosen,
        Err(error) => return findings.tell(judged(Finding::error(CHECK, &error), wanted)),
    };
    let work = tokio::task::spawn_blocking(move || {
        let (root, scratch, include, omit) = (&from, &from, &include, &omit);
        let built = &BTreeMap::new();
        let options =
            PackOptions { root, scratch, exclude: &[], include, omit, built, large: true, checkout: false };
        measure(&options)
    });
    let finding = match findings.during("artifact", work).await? {
        Ok(measured) => judged(describe(&root, &measured), wanted),
        Err(error) => judged(Finding::error(CHECK, &error.into()), wanted),
    };
    findings.tell(finding)
}

/// What stops only runs elsewhere is no problem of one here.
fn judged(finding: Finding, wanted: bool) -> Finding {
    if wanted { finding } else { finding.at_most_a_warning() }
}

fn describe(root: &Path, measured: &Measured) -> Finding {
    let largest = measured.largest.iter().take(NAMED);
    let largest: Vec<_> =
        largest.map(|(path, bytes)| format!("{} ({})", path.display(), size(*bytes))).collect();
    let mut said =
        format!("{}, {} in {}", count(number(measured.files), "file"), size(measured.bytes), root.display());
    if !largest.is_empty() {
        said += &format!("; the largest: {}", largest.join(", "));
    }
    let of = |reason| measured.left_out.iter().filter(move |left| left.reason == reason);
    let secrets = of(Reason::Secret).count();
    if secrets > 0 {
        said += &format!("; {secrets} left out that by their names are secrets");
    }
    let submodules: Vec<_> = of(Reason::Submodule).map(|left| left.path.display().to_string()).collect();
    if !submodules.is_empty() {
        said += &format!("; submodules that are not here: {}", submodules.join(", "));
        return Finding::warning(CHECK, said).hint("git submodule update --init --recursive");
    }
    if !measured.unmatched.is_empty() {
        said += &format!("; nothing is named by {}", measured.unmatched.join(", "));
        return Finding::warning(CHECK, said).hint("build what [artifact] include names before the run");
    }
    if measured.bytes > MAX_BYTES {
        return Finding::problem(CHECK, said)
            .hint("over 500 MB are sent only with --yes: let git ignore what the tests do not need");
    }
    Finding::ok(CHECK, said)
}

#[cfg(test)]
mod tests {
    use seagull_executor::artifact::LeftOut;

    use super::super::finding::State;
    use super::*;

    #[test]
    fn what_is_too_large_is_a_problem_if_it_is_to_be_sent() {
        let measured = |bytes| Measured {
            files: 2,
            bytes,
            largest: vec![("a.bin".into(), bytes - 1), ("b".into(), 1)],
            left_out: Vec::new(),
            unmatched: Vec::new(),
        };
        let small = describe(Path::new("/suite"), &measured(1_500_000));
        let said = "2 files, 1.5 MB in /suite; the largest: a.bin (1.5 MB), b (1 kB)";
        assert_eq!(small, Finding::ok(CHECK, said));
        let large = describe(Path::new("/suite"), &measured(MAX_BYTES + 1));
        assert!(large.state == State::Problem && large.hint.is_some());
        assert_eq!(judged(large, false).state, State::Warning);
        let left_out = vec![LeftOut { path: "lib".into(), reason: Reason::Submodule }];
        let bare = describe(Path::new("/suite"), &Measured { left_out, ..measured(1) });
        assert!(
            bare.state == State::Warning && bare.text().contains("; submodules that are not here: lib\n")
        );
        let unbuilt = Measured { unmatched: vec!["build/*.so".into()], ..measured(1) };
        assert_eq!(describe(Path::new("/suite"), &unbuilt).state, State::Warning);
        assert_eq!(judged(Finding::problem(CHECK, "x"), false).state, State::Warning);
        assert_eq!(judged(Finding::ok(CHECK, "x"), false).state, State::Ok);
    }
}
