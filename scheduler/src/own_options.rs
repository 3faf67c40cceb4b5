//! What a suite's own options ask of a run, by what its tests came to before.

use seagull_domain::{Asked, Manifest, RunSpec, WithoutFailures};
use seagull_results::{Lineage, Selected, Selection};

use crate::first;
use crate::service::Service;

/// What the suite's own options select by what tests came to before.
pub(crate) struct OwnSelection {
    option: &'static str,
    select: &'static str,
    /// What is said of the tests that are selected.
    how: &'static str,
    otherwise: WithoutFailures,
}

impl OwnSelection {
    pub fn of(asked: &Asked) -> Option<Self> {
        let failed = |otherwise| Self {
            option: "--last-failed",
            select: "last-failed",
            how: "are known to have failed",
            otherwise,
        };
        let stepwise = || Self {
            option: "--stepwise",
            select: "not-passed",
            how: "have not passed",
            otherwise: WithoutFailures::All,
        };
        asked.last_failed.map(failed).or_else(|| asked.stepwise.then(stepwise))
    }

    /// What it leaves, which is said. As in pytest that is everything where there is nothing of it, unless the suite
    /// wants nothing then.
    pub fn apply(&self, service: &Service, spec: &RunSpec, manifest: Manifest) -> Result<Selected, String> {
        let mut selected = by_last_verdicts(service, spec, &manifest, self.select)?;
        let (left, all) = (selected.manifest.len(), manifest.len());
        let mut so = "";
        if left == 0 && self.otherwise == WithoutFailures::All {
            selected = Selected { manifest, empty_by_definition: false, unmatched: Vec::new() };
            so = ", so all run";
        }
        let Self { option, select, how, .. } = self;
        selected
            .manifest
            .warnings
            .push(format!("{option} is --select {select}: {left} of {all} tests {how}{so}"));
        Ok(selected)
    }
}

fn by_last_verdicts(
    service: &Service,
    spec: &RunSpec,
    manifest: &Manifest,
    select: &str,
) -> Result<Selected, String> {
    let selection = Selection::parse(&[select.to_owned()]).map_err(|error| error.to_string())?;
    selection.apply(manifest, &service.history, Lineage::of(spec)).map_err(|error| error.to_string())
}

/// The suite's own `--failed-first`, which is said.
pub(crate) fn failed_first(
    service: &Service,
    spec: &RunSpec,
    manifest: &mut Manifest,
    first: &mut [bool],
) -> Result<(), String> {
    let failed = by_last_verdicts(service, spec, manifest, "last-failed")?.manifest;
    first::add(manifest, first, &failed);
    let (tests, all) = (failed.len(), manifest.len());
    manifest
        .warnings
        .push(format!("--failed-first: {tests} of {all} tests are known to have failed, and go first"));
    Ok(())
}

/// After how many failures the suite's own `--maxfail` stops the run, which is said; the run's own option goes before it.
pub(crate) fn fail_fast(spec: &RunSpec, manifest: &mut Manifest) -> Option<u32> {
    let limit = manifest.asked.fail_fast.filter(|_| spec.fail_fast.is_none())?;
    let options = if manifest.asked.stepwise {
        format!("--stepwise is --fail-fast={limit}")
    } else if limit == 1 {
        "-x, or --maxfail=1, is --fail-fast".to_owned()
    } else {
        format!("--maxfail={limit} is --fail-fast={limit}")
    };
    manifest.warnings.push(format!("{options}: it stops the whole run"));
    Some(limit)
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;
    use crate::service::tests::{self, Embedded};

    #[test]
    fn what_the_suite_asks_for_is_done_and_said() {
        let service = Embedded::new("r").service;
        let suffixes = vec!["::a".to_owned(), "::b".to_owned()];
        let manifest =
            Manifest { files: vec![FileTests { path: "a.py".into(), suffixes }], ..Manifest::default() };
        let left_by = |asked: Asked| {
            let own = OwnSelection::of(&asked).unwrap();
            let left = own.apply(&service, &tests::spec("r"), manifest.clone()).unwrap();
            (left.manifest.len(), left.empty_by_definition, left.manifest.warnings.len())
        };
        let failed = |otherwise| left_by(Asked { last_failed: Some(otherwise), ..Asked::default() });
        let stepwise = || left_by(Asked { stepwise: true, ..Asked::default() });
        let goes_first = || {
            let (mut manifest, mut first) = (manifest.clone(), vec![false; 2]);
            failed_first(&service, &tests::spec("r"), &mut manifest, &mut first).unwrap();
            assert_eq!(manifest.warnings.len(), 1);
            first
        };
        assert!(OwnSelection::of(&Asked::default()).is_none());
        assert_eq!((stepwise(), goes_first()), ((2, false, 1), vec![false; 2]));
        assert_eq!(failed(WithoutFailures::All), (2, false, 1));
        assert_eq!(failed(WithoutFailures::None), (0, false, 1));
        let verdicts =
            [("a.py::a", seagull_domain::Verdict::Passed), ("a.py::b", seagull_domain::Verdict::Failed)];
        let rows = verdicts.into_iter().map(|(id, verdict)| (id.to_owned(), None, verdict));
        service.history.record(&tests::passed(&"before".parse().unwrap(), &[]), rows).unwrap();
        assert_eq!(failed(WithoutFailures::All), (1, false, 1));
        assert_eq!((stepwise(), goes_first()), ((1, false, 1), vec![false, true]));

        let stops = |runs, suites| {
            let mut manifest = manifest.clone();
            manifest.asked.fail_fast = suites;
            let spec = RunSpec { fail_fast: runs, ..tests::spec("r") };
            (fail_fast(&spec, &mut manifest), manifest.warnings.len())
        };
        assert_eq!(stops(None, Some(2)), (Some(2), 1));
        assert_eq!((stops(Some(3), Some(2)), stops(None, None)), ((None, 0), (None, 0)));
    }
}
