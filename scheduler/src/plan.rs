//! Planning: the discovered manifest is selected from, its durations are predicted, and it is packed.
#![expect(clippy::disallowed_methods, reason = "a shell: says how long it took")]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read;
use std::time::Instant;

use seagull_domain::{
    Digest, EnvironmentNumber, Manifest, PlanSummary, Relation, RunId, RunOverview, RunSpec, RunState, Suite,
    TestIndex,
};
use seagull_results::{Blobs, Lineage, Prediction, Selection, Timings};
use seagull_scheduler_core::Plan;

use crate::elsewhere;
use crate::first;
use crate::own_options::{self, OwnSelection};
use crate::pack::{Costs, pack_in_turn, summary, with_setups};
use crate::past;
use crate::service::Service;
use crate::unread::Unread;

/// History is lacking where it does not know this share of the tests (one in so many).
const LACKING: usize = 20;
/// A manifest that is smaller than the last of the same arguments by this share (one in so many) is warned of.
const SHRUNK: usize = 20;

/// The plan of a run for so many slots, which says where the tests of the anticipated manifest are in it; and the manifest
/// that it is of.
pub(crate) fn make(
    service: &Service,
    spec: &RunSpec,
    discovered: Digest,
    slots: u32,
    anticipated: Option<Digest>,
) -> Result<(Plan, Manifest), String> {
    let began = Instant::now();
    let found = load_manifest(service, &discovered)?;
    let selection = selection(service, spec)?;
    let selected =
        selection.apply(&found, &service.history, Lineage::of(spec)).map_err(|error| error.to_string())?;
    let mut manifest = selected.manifest;
    let unmatched = selected.unmatched.iter().map(|text| {
        let alike = found.ids().filter(|id| id.contains(text.as_str())).count();
        let hint = if alike == 0 { String::new() } else { format!("; *{text}* would match {alike}") };
        format!("nothing matches the selection {text:?}{hint}")
    });
    manifest.warnings.extend(unmatched);
    if spec.select.is_empty() {
        warn_if_shrunk(service, spec, &mut manifest);
    }
    let mut empty_by_definition = selected.empty_by_definition;
    if let Some(own) = OwnSelection::of(&manifest.asked) {
        let left = own.apply(service, spec, manifest)?;
        empty_by_definition |= left.empty_by_definition;
        manifest = left.manifest;
    }
    let fail_fast = own_options::fail_fast(spec, &mut manifest);
    let mut first = first(spec, &mut manifest);
    if manifest.asked.failed_first {
        own_options::failed_first(service, spec, &mut manifest, &mut first)?;
    }
    let timings = service.history.load_for(Lineage::of(spec), &spec.arguments, &found);
    let mut timings = timings.map_err(|error| error.to_string())?;
    if is_lacking(&found, &timings) {
        manifest.warnings.extend(elsewhere::learn(service, &spec.project, &mut timings));
    }
    manifest.warnings.extend(timings.calibration.warning());
    let prediction = seagull_results::predict(&manifest, &timings);
    let environments = placed(&manifest, spec)?;
    if spec.arguments.is_empty() && manifest.len() == found.len() {
        warn_of_unused(spec, &environments, &mut manifest);
    }
    let digest = store_manifest(service, &manifest)?;
    let (packed, first) = pack_in_turn((&manifest, &environments), &prediction, spec, slots, &first)?;
    // What workers tell of the coverage has its tests by the numbers that they were given.
    let anticipated = anticipated.filter(|_| manifest.asked.coverage.is_none());
    let anticipated = anticipated.and_then(|digest| load_manifest(service, &digest).ok());
    let moved = anticipated.and_then(|before| moved(&before, (&manifest, &environments), spec));
    let limit_ms = |test| spec.test_limit_ms.unwrap_or_else(|| prediction.limit_ms(test));
    let limits_ms = (0..manifest.len()).map(limit_ms).collect();
    let planning_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let summary =
        PlanSummary { planning_ms, ..summary(&packed, &prediction, &Costs::of(spec, &prediction), slots) };
    let bundles = packed.bundles.into_iter().map(|bundle| bundle.tests.into_iter().map(TestIndex).collect());
    let bundles: Vec<Vec<TestIndex>> = bundles.collect();
    let predicted_us = with_setups(&manifest, &prediction, &bundles);
    let plan = Plan {
        manifest: digest,
        relations: disjoint(&manifest.relations, &bundles),
        environments,
        unknown: unknown(&prediction),
        bundles,
        predicted_us,
        limits_ms,
        summary,
        empty_by_definition,
        fail_fast,
        to_judge: manifest.asked.coverage.is_some(),
        first,
        moved,
    };
    Ok((plan, manifest))
}

fn placed(manifest: &Manifest, spec: &RunSpec) -> Result<Vec<EnvironmentNumber>, String> {
    seagull_results::environments(manifest, &spec.suite).map_err(|error| error.to_string())
}

/// Where the tests of an anticipated manifest are in this one. One whose environment is another now is not the same.
fn moved(
    before: &Manifest,
    (manifest, environments): (&Manifest, &[EnvironmentNumber]),
    spec: &RunSpec,
) -> Option<Vec<Option<TestIndex>>> {
    let moved = before.moved(manifest)?;
    let earlier = placed(before, spec).ok()?;
    let of = |all: &[EnvironmentNumber], place: usize| all.get(place).copied().unwrap_or_default();
    let is_same = |place: usize, test: &TestIndex| of(&earlier, place) == of(environments, test.0 as usize);
    let places = moved.into_iter().enumerate();
    Some(places.map(|(place, test)| test.filter(|test| is_same(place, test))).collect())
}

fn is_lacking(manifest: &Manifest, timings: &Timings) -> bool {
    let unknown = manifest.ids().filter(|id| timings.get(id).is_none()).count();
    unknown > manifest.len() / LACKING
}

/// Tests that have no history of their own.
fn unknown(prediction: &Prediction) -> Vec<TestIndex> {
    let tests = (0..).map(TestIndex).zip(&prediction.robust_micros);
    tests.filter(|(_, own)| own.is_none()).map(|(test, _)| test).collect()
}

/// Which tests go first. Where none do, though some were to, that is said.
fn first(spec: &RunSpec, manifest: &mut Manifest) -> Vec<bool> {
    let first = first::tests(manifest, &spec.first);
    if !spec.first.is_empty() && !first.contains(&true) {
        let changed = spec.first.len();
        let files = if changed == 1 {
            "the file that has changed"
        } else {
            &format!("one of the {changed} files that have changed")
        };
        manifest.warnings.push(format!("--changed: no test is in {files}, or in one that is named after it"));
    }
    first
}

/// Whether the runs that a run is selected by have ended, or broken off. Those that did a moment ago are `live`, and archived
/// soon; of those that are `stored` a store has the stream.
pub(crate) fn check(
    service: &Service,
    spec: &RunSpec,
    live: &[RunOverview],
    stored: &BTreeSet<RunId>,
) -> Result<(), String> {
    let selection = Selection::parse(&spec.select).map_err(|error| error.to_string())?;
    let ended = |run: &RunId| {
        let is_it = |live: &RunOverview| live.run == *run && matches!(live.state, RunState::Ended { .. });
        service.archive.contains(run)
            || live.iter().any(is_it)
            || past::has_broken_off(service, run)
            || stored.contains(run)
    };
    let other = selection.runs().find(|run| !ended(run));
    other.map_or(Ok(()), |run| Err(past::not_ended(run)))
}

/// The runs that a run is selected by.
pub(crate) fn selected_by(spec: &RunSpec) -> Result<BTreeSet<RunId>, String> {
    let selection = Selection::parse(&spec.select).map_err(|error| error.to_string())?;
    Ok(selection.runs().cloned().collect())
}

/// What is selected, with what it has to know of other runs.
fn selection(service: &Service, spec: &RunSpec) -> Result<Selection, String> {
    let mut selection = Selection::parse(&spec.select).map_err(|error| error.to_string())?;
    for run in selected_by(spec)? {
        selection.learn(&run, past::verdicts(service, &run)?.into_iter());
    }
    Ok(selection)
}

/// Relations as the core knows them: those that share a test are one, in the order in which the plan runs it.
fn disjoint(relations: &[Relation], bundles: &[Vec<TestIndex>]) -> Vec<Relation> {
    let mut group_of: BTreeMap<TestIndex, usize> = BTreeMap::new();
    let mut groups: Vec<Option<(bool, Vec<TestIndex>)>> = Vec::new();
    for relation in relations.iter().filter(|relation| relation.tests.len() > 1) {
        let joined: BTreeSet<usize> =
            relation.tests.iter().filter_map(|test| group_of.get(test).copied()).collect();
        let mut merged = (relation.ordered, relation.tests.clone());
        for (ordered, tests) in joined.into_iter().filter_map(|group| groups[group].take()) {
            merged.0 |= ordered;
            merged.1.extend(tests);
        }
        group_of.extend(merged.1.iter().map(|test| (*test, groups.len())));
        groups.push(Some(merged));
    }
    let mut in_order: BTreeMap<usize, Vec<TestIndex>> = BTreeMap::new();
    for test in bundles.iter().flatten() {
        if let Some(group) = group_of.get(test) {
            in_order.entry(*group).or_default().push(*test);
        }
    }
    let relation = |(group, tests): (usize, _)| Relation {
        ordered: groups[group].as_ref().is_some_and(|(ordered, _)| *ordered),
        tests,
    };
    in_order.into_iter().map(relation).collect()
}

pub(crate) fn load_manifest(service: &Service, digest: &Digest) -> Result<Manifest, Unread> {
    manifest_in(&service.blobs, digest)
}

pub(crate) fn manifest_in(blobs: &Blobs, digest: &Digest) -> Result<Manifest, Unread> {
    let mut bytes = Vec::new();
    blobs.read(digest)?.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(seagull_results::decode_manifest(&bytes).map_err(|error| error.to_string())?)
}

pub(crate) fn store_manifest(service: &Service, manifest: &Manifest) -> Result<Digest, String> {
    let bytes = seagull_results::encode_manifest(manifest);
    let store = || {
        let mut writer = service.blobs.writer(bytes.len() as u64)?;
        writer.write(&bytes)?;
        writer.finish(None)
    };
    service.disk.keep(seagull_results::Error::is_full, store).map_err(|error| error.to_string())
}

/// The part of a manifest that another has too.
pub(crate) fn found_in_both(service: &Service, last: &Digest, before: &Digest) -> Result<Digest, String> {
    let before = load_manifest(service, before)?;
    let known: HashSet<_> = before.tests().collect();
    let both = load_manifest(service, last)?.select(|path, suffix| known.contains(&(path, suffix)));
    store_manifest(service, &both)
}

/// A suite that shrinks unnoticed is a false green.
fn warn_if_shrunk(service: &Service, spec: &RunSpec, manifest: &mut Manifest) {
    let last = service.history.last_manifest_len(Lineage::of(spec), &spec.arguments);
    let now = manifest.len();
    if let Ok(Some(last)) = last
        && now < last
        && now * SHRUNK <= last * (SHRUNK - 1)
    {
        let tests = if now == 1 { "test was" } else { "tests were" };
        let last = format!("{last} by the last run with the same arguments");
        manifest.warnings.push(format!("{now} {tests} discovered, {last}"));
    }
}

/// Tests that run without the services that somebody meant for them may be green.
fn warn_of_unused(spec: &RunSpec, environments: &[EnvironmentNumber], manifest: &mut Manifest) {
    let Some(id) = manifest.ids().next() else { return };
    for (name, environment) in &spec.suite.environments {
        let number = spec.suite.number_of(name);
        let is_used = environments.iter().any(|of| Some(*of) == number);
        if !environment.tests.is_empty() && !is_used && name != Suite::DEFAULT {
            let tests = environment.tests.join(", ");
            manifest.warnings.push(format!(
                "no test runs in [environment.{name}]: nothing matches its tests, {tests}, which are ids as they are here, such as {id}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Asked, Environment, FileTests, Isolation, RunVerdict};

    use super::*;
    use crate::pack::{FIXED_MS, START_MS};
    use crate::service::tests::{self, Embedded};

    #[test]
    fn a_manifest_that_shrank_is_warned_of_whatever_the_arguments() {
        let service = Embedded::new("r").service;
        let of = |tests: usize| {
            let suffixes = (0..tests).map(|test| format!("::t{test}")).collect();
            Manifest { files: vec![FileTests { path: "a.py".into(), suffixes }], ..Manifest::default() }
        };
        let arguments = ["tests/unit".to_owned()];
        let run = "before".parse().unwrap();
        let ended = tests::passed(&run, &arguments);
        let rows = of(100).ids().map(|id| (id, None, seagull_domain::Verdict::Passed)).collect::<Vec<_>>();
        service.history.record(&ended, rows.into_iter()).unwrap();
        let warnings = |arguments: &[String], tests| {
            let mut manifest = of(tests);
            let spec = RunSpec { arguments: arguments.to_vec(), ..tests::spec("r") };
            warn_if_shrunk(&service, &spec, &mut manifest);
            manifest.warnings
        };
        assert_eq!(warnings(&arguments, 95).len(), 1);
        assert_eq!((warnings(&arguments, 96), warnings(&[], 50)), (vec![], vec![]));
    }

    #[test]
    fn an_environment_that_no_test_is_in_is_warned_of() {
        let of = |path: &str| FileTests { path: path.into(), suffixes: vec!["::t".into()] };
        let mut manifest = Manifest { files: vec![of("db/a.py"), of("web/b.py")], ..Manifest::default() };
        let environment = |tests: &[&str]| Environment {
            tests: tests.iter().map(|text| (*text).to_owned()).collect(),
            ..Environment::default()
        };
        let mut spec = tests::spec("r");
        for (name, matching) in [("db", &["tests/db"][..]), ("marked", &[]), ("web", &["web"])] {
            spec.suite.environments.insert(name.to_owned(), environment(matching));
        }
        let environments = placed(&manifest, &spec).unwrap();
        warn_of_unused(&spec, &environments, &mut manifest);
        let expected = "no test runs in [environment.db]: nothing matches its tests, tests/db, which are ids as they are here, \
                        such as db/a.py::t";
        assert_eq!(manifest.warnings, [expected]);
    }

    #[test]
    fn a_plan_says_where_the_tests_of_another_manifest_are() {
        let embedded = Embedded::new("r");
        let service = &embedded.service;
        let of = |names: &[&str]| {
            let suffixes = names.iter().map(|name| (*name).to_owned()).collect();
            let files = vec![FileTests { path: "a.py".into(), suffixes }];
            store_manifest(service, &Manifest { files, ..Manifest::default() }).unwrap()
        };
        let plan = |names: &[&str], anticipated| {
            make(service, &tests::spec("r"), of(names), 2, anticipated).unwrap().0
        };
        let before = plan(&["::x", "::y"], None);
        assert_eq!(before.moved, None);
        let after = plan(&["::y", "::new"], Some(before.manifest));
        assert_eq!(after.moved, Some(vec![None, Some(TestIndex(0))]));
        assert_eq!(plan(&["::y"], Some(Digest([1; 32]))).moved, None, "that is not there any more");
        let asked = Asked { coverage: Some("python".into()), ..Asked::default() };
        let files = vec![FileTests { path: "a.py".into(), suffixes: vec!["::y".into()] }];
        let measured = Manifest { files, asked, ..Manifest::default() };
        let measured = store_manifest(service, &measured).unwrap();
        let plan = make(service, &tests::spec("r"), measured, 2, Some(before.manifest)).unwrap().0;
        assert_eq!(plan.moved, None, "what was measured is known by numbers");
    }

    #[test]
    fn a_selection_goes_by_runs_that_have_ended() {
        let embedded = Embedded::new("own");
        embedded.archived(&"ended".parse().unwrap(), 1);
        let just = RunState::Ended { verdict: RunVerdict::Passed, exit_code: 0, at: 0 };
        let live = [
            RunOverview::of(&tests::spec("own"), RunState::UnderWay),
            RunOverview::of(&tests::spec("just-ended"), just),
        ];
        let of = |text: &str| {
            let spec = RunSpec { select: vec!["a.py".into(), text.to_owned()], ..tests::spec("r") };
            check(&embedded.service, &spec, &live, &["stored".parse().unwrap()].into())
        };
        for text in ["failed@ended", "failed@just-ended", "failed@stored", "last-failed"] {
            assert_eq!(of(text), Ok(()));
        }
        for text in ["failed@own", "not-passed@nope", "failed@", ""] {
            assert!(of(text).unwrap_err().contains("hint: "), "{text}");
        }
    }

    #[test]
    fn what_changed_is_packed_apart_and_goes_first() {
        let file = |path: &str, tests: usize| FileTests {
            path: path.into(),
            suffixes: (0..tests).map(|test| format!("::t{test}")).collect(),
        };
        let files = vec![file("a.py", 3), file("b.py", 2), file("c.py", 1)];
        let mut manifest = Manifest { files, ..Manifest::default() };
        // Without any history: a file a bundle.
        let prediction = seagull_results::predict(&manifest, &Default::default());
        let mut packed = |changed: &[&str]| {
            let changed = changed.iter().map(|path| (*path).to_owned()).collect();
            let spec = RunSpec { first: changed, cap_ms: 600_000, ..tests::spec("r") };
            let first = first(&spec, &mut manifest);
            let (plan, first) = pack_in_turn((&manifest, &[]), &prediction, &spec, 2, &first).unwrap();
            let bundles: Vec<Vec<u32>> = plan.bundles.into_iter().map(|bundle| bundle.tests).collect();
            (bundles, first, plan.lower_bound, manifest.warnings.len())
        };
        let longest_first = vec![vec![0, 1, 2], vec![3, 4], vec![5]];
        assert_eq!(packed(&[]).0, longest_first);
        assert_eq!(packed(&["a.py", "b.py", "c.py"]), (longest_first.clone(), 0, packed(&[]).2, 0));
        let (bundles, first, bound, _) = packed(&["src/c.py"]);
        assert_eq!((bundles, first), (vec![vec![5], vec![0, 1, 2], vec![3, 4]], 1));
        assert_eq!(bound, 1, "of all six in one bundle nothing is proven");
        assert_eq!(packed(&["d.py"]), (longest_first, 0, packed(&[]).2, 1), "and said");
    }

    #[test]
    fn tests_of_several_environments_are_packed_apart_and_their_sandboxes_are_paid() {
        let file = |path: &str| FileTests {
            path: path.into(),
            suffixes: (0..4).map(|test| format!("::t{test}")).collect(),
        };
        let files = ["db/a.py", "db/b.py", "c.py", "d.py"].map(file).to_vec();
        let manifest = Manifest { files, ..Manifest::default() };
        let mut spec = RunSpec { cap_ms: 600_000, ..tests::spec("r") };
        let db = Environment { services: vec!["pg".into()], tests: vec!["db".into()], ..Default::default() };
        spec.suite.environments.insert("db".into(), db);
        let environments = placed(&manifest, &spec).unwrap();
        let packed = |no_history| {
            let prediction = seagull_results::predict(&manifest, &Default::default());
            let prediction = Prediction { no_history, ..prediction };
            let (plan, _) =
                pack_in_turn((&manifest, &environments), &prediction, &spec, 4, &[false; 16]).unwrap();
            assert!(plan.bundles.iter().all(|bundle| {
                let of_db = bundle.tests.iter().filter(|test| **test < 8).count();
                of_db == 0 || of_db == bundle.tests.len()
            }));
            let of_db = |bundle: &&seagull_binpacker::Bundle| bundle.environment == 1;
            let setup = plan.bundles.iter().filter(of_db).map(|bundle| bundle.setup_micros).min();
            (plan.bundles.iter().filter(of_db).count(), setup.unwrap_or(0) > 1_000_000)
        };
        assert_eq!(packed(true), (2, false), "a file a bundle");
        assert!(packed(false).1, "each pays for its sandbox");
    }

    #[test]
    fn the_makespan_has_the_start_of_each_slots_worker() {
        let embedded = Embedded::new("r");
        let service = &embedded.service;
        let file = |path: &str| FileTests { path: path.into(), suffixes: vec!["::t".into()] };
        let files = vec![file("a.py"), file("b.py")];
        let digest = store_manifest(service, &Manifest { files, ..Manifest::default() }).unwrap();
        let makespan = |isolation, slots| {
            let spec = RunSpec { isolation, cap_ms: 600_000, ..tests::spec("r") };
            make(service, &spec, digest, slots, None).unwrap().0.summary.makespan_ms
        };
        let alone = makespan(Isolation::Bundle, 2) - START_MS + FIXED_MS;
        assert_eq!(makespan(Isolation::Slot, 2), START_MS + alone);
        assert_eq!(makespan(Isolation::Slot, 1), 2 * alone, "the worker that discovered them is there");
    }

    #[test]
    fn relations_that_share_a_test_are_one_in_the_plans_order() {
        let tests = |numbers: &[u32]| numbers.iter().copied().map(TestIndex).collect::<Vec<_>>();
        let relation = |ordered, numbers: &[u32]| Relation { ordered, tests: tests(numbers) };
        let given = [
            relation(true, &[5, 2]),
            relation(false, &[7, 8]),
            relation(false, &[2, 9]),
            relation(false, &[1]),
        ];
        let bundles = [tests(&[0, 5, 2, 9]), tests(&[7, 8, 1])];
        let expected = [relation(false, &[7, 8]), relation(true, &[5, 2, 9])];
        assert_eq!(disjoint(&given, &bundles), expected);
    }
}
