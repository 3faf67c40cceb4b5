//! What would be sent to a scheduler's executors.
#![expect(clippy::disallowed_methods, reason = "a shell: looking at files blocks")]

use std::collections::BTreeMap;
use std::path::Path;

use seagull_executor::artifact::{MAX_BYTES, Measured, PackOptions, Reason, measure, size};

use super::finding::{Finding, Findings};
use crate::cli;
use crate::commands::run::artifact::{Chosen, left_out_by_reason, root};
use crate::framework::{self, Name};
use crate::place::Place;
use crate::report::{count, number};

const CHECK: &str = "artifact";
/// Of the largest files, so many are named.
const NAMED: usize = 3;

/// `wanted`: for a scheduler, without which nothing is sent.
pub async fn examine(
    run: &cli::Run,
    place: &Place,
    wanted: bool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let (root, directory) = match root(place) {
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
        let (directory, built, exclude) = (Path::new(&directory), &BTreeMap::new(), &[]);
        let (large, checkout) = (true, false);
        let options =
            PackOptions { root, directory, scratch, exclude, include, omit, built, large, checkout };
        measure(&options)
    });
    let finding = match findings.during("artifact", work).await? {
        Ok(measured) => {
            let is_built = framework::name(run, place).0 == Name::Cargo && !place.config.build_on_executors;
            judged(describe(&root, &measured, is_built), wanted)
        }
        Err(error) => judged(Finding::error(CHECK, &error.into()), wanted),
    };
    findings.tell(finding)
}

/// What stops only runs elsewhere is no problem of one here.
fn judged(finding: Finding, wanted: bool) -> Finding {
    if wanted { finding } else { finding.at_most_a_warning() }
}

/// `is_built`: what cargo builds of it goes along.
fn describe(root: &Path, measured: &Measured, is_built: bool) -> Finding {
    let largest = measured.largest.iter().take(NAMED);
    let largest: Vec<_> =
        largest.map(|(path, bytes)| format!("{} ({})", path.display(), size(*bytes))).collect();
    let mut said =
        format!("{}, {} in {}", count(number(measured.files), "file"), size(measured.bytes), root.display());
    if !largest.is_empty() {
        said += &format!("; the largest: {}", largest.join(", "));
    }
    if is_built {
        said += "; the tests that cargo builds go along, and are not measured here";
    }
    for left_out in left_out_by_reason(&measured.left_out) {
        said += &format!("; {}", left_out.lines().next().unwrap_or_default());
    }
    if !measured.unmatched.is_empty() {
        said += &format!("; nothing is named by {}", measured.unmatched.join(", "));
    }
    let lacks = |reason| measured.left_out.iter().any(|left| left.reason == reason);
    if measured.bytes > MAX_BYTES {
        Finding::problem(CHECK, said)
            .hint("over 500 MB are sent only with --yes: let git ignore what the tests do not need")
    } else if lacks(Reason::Submodule) {
        Finding::warning(CHECK, said).hint("git submodule update --init --recursive")
    } else if !measured.unmatched.is_empty() {
        Finding::warning(CHECK, said).hint("build what [artifact] include names before the run")
    } else if lacks(Reason::LinkOut) {
        Finding::warning(CHECK, said)
            .hint("what links name is not on executors: [artifact] root may name a directory with both")
    } else {
        Finding::ok(CHECK, said)
    }
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
        let describe = |measured: &Measured| describe(Path::new("/suite"), measured, false);
        let small = describe(&measured(1_500_000));
        let said = "2 files, 1.5 MB in /suite; the largest: a.bin (1.5 MB), b (1 B)";
        assert_eq!(small, Finding::ok(CHECK, said));
        let large = describe(&measured(MAX_BYTES + 1));
        assert!(large.state == State::Problem && large.hint.is_some());
        assert_eq!(judged(large, false).state, State::Warning);
        let lacking = |reason| {
            let left_out = vec![LeftOut { path: "lib".into(), reason }];
            describe(&Measured { left_out, ..measured(1) })
        };
        let table = [
            (Reason::Secret, State::Ok, "; not sent, untracked, and by their names secrets: lib\n"),
            (Reason::LinkOut, State::Warning, "; not sent, links that lead out of the root: lib\n"),
            (Reason::Submodule, State::Warning, "; not sent, submodules that are not here: lib\n"),
        ];
        for (reason, state, words) in table {
            let finding = lacking(reason);
            assert!(finding.state == state && finding.text().contains(words), "{}", finding.text());
        }
        let unbuilt = Measured { unmatched: vec!["build/*.so".into()], ..measured(1) };
        assert_eq!(describe(&unbuilt).state, State::Warning);
        let built = super::describe(Path::new("/suite"), &measured(1), true);
        assert!(built.text().contains("; the tests that cargo builds go along"), "{}", built.text());
        assert_eq!(judged(Finding::problem(CHECK, "x"), false).state, State::Warning);
        assert_eq!(judged(Finding::ok(CHECK, "x"), false).state, State::Ok);
    }
}
