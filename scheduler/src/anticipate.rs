//! What a run is expected to discover, as a plan that other slots begin with while the discovery is under way.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{Digest, EnvironmentNumber, Framework, Manifest, RunSpec, Suite, TestIndex};
use seagull_results::Lineage;
use seagull_scheduler_core::Plan;

use crate::plan;
use crate::service::Service;

/// The plan of what the last run with the same arguments discovered, if that is known and still there. A suite's own
/// command may build what the other one runs: what runs before it has ended may be of yesterday. Tests that the run before
/// did not find are left out: they may be called something else each time.
pub(crate) fn make(service: &Service, spec: &RunSpec, slots: u32) -> Result<Option<(Digest, Plan)>, String> {
    if matches!(spec.suite.framework, Framework::Command(_)) {
        return Ok(None);
    }
    let last = service.history.last_discovered(Lineage::of(spec), &spec.arguments);
    let last = last.map_err(|error| error.to_string())?;
    let kept: Vec<_> = last.into_iter().filter(|digest| service.blobs.contains(digest)).collect();
    let mut expected = match kept.as_slice() {
        [last, before] if last != before => plan::found_in_both(service, last, before)?,
        [last, ..] => *last,
        [] => return Ok(None),
    };
    let (mut plan, mut manifest) = plan::make(service, spec, expected, slots, None)?;
    if let Some(alike) = found_alike(&plan.environments, &manifest, &spec.suite) {
        // Less than what will be found is moved, which what is measured cannot be.
        if manifest.asked.coverage.is_some() || alike.is_empty() {
            return Ok(None);
        }
        expected = plan::store_manifest(service, &alike)?;
        (plan, manifest) = plan::make(service, spec, expected, slots, None)?;
    }
    if plan.first == 0 {
        plan.first = cheap_first(&mut plan.bundles, &manifest, slots);
    }
    Ok((!plan.bundles.is_empty()).then_some((expected, plan)))
}

/// The tests that run in the interpreter that discovers, which is the default environment's, where not all do: a worker in
/// another one says something else of itself than the last discovery did, and what it was to begin with would be lost.
fn found_alike(environments: &[EnvironmentNumber], manifest: &Manifest, suite: &Suite) -> Option<Manifest> {
    let interpreter = |number: EnvironmentNumber| {
        let (_, environment) = suite.environment(number)?;
        environment.container.as_ref().map(|container| (&container.image, &container.python))
    };
    let discovers = interpreter(EnvironmentNumber::default());
    let mut alike = environments.iter().map(|number| interpreter(*number) == discovers);
    if alike.clone().all(|is_alike| is_alike) {
        return None;
    }
    Some(manifest.select(|_, _| alike.next().unwrap_or(true)))
}

/// Somebody waits for the first test, so each slot but the one that discovers begins with a file that is collected soon.
/// What a file takes is not known, but the fewer tests it has, the less that is. Says how many bundles go first.
fn cheap_first(bundles: &mut Vec<Vec<TestIndex>>, manifest: &Manifest, slots: u32) -> u32 {
    let path_of: Vec<&str> = manifest.tests().map(|(path, _)| path).collect();
    let mut tests: BTreeMap<&str, usize> = BTreeMap::new();
    path_of.iter().for_each(|path| *tests.entry(path).or_default() += 1);
    let in_its_file = |bundle: &Vec<TestIndex>| bundle.first().map(|test| tests[path_of[test.0 as usize]]);

    let mut cheapest: Vec<usize> = (0..bundles.len()).collect();
    cheapest.sort_by_key(|bundle| in_its_file(&bundles[*bundle]));
    cheapest.truncate(slots.saturating_sub(1) as usize);
    let cheapest: BTreeSet<usize> = cheapest.into_iter().collect();
    let (first, rest): (Vec<_>, Vec<_>) =
        (0..).zip(std::mem::take(bundles)).partition(|(bundle, _)| cheapest.contains(bundle));
    bundles.extend(first.into_iter().chain(rest).map(|(_, tests)| tests));
    cheapest.len() as u32
}

#[cfg(test)]
mod tests {
    use seagull_domain::{Asked, Environment, FileTests, SuiteCommands, TestContainer};
    use seagull_results::EndedRun;

    use super::*;
    use crate::service::tests::{Embedded, passed, spec};

    #[test]
    fn the_last_discovery_is_anticipated_but_not_of_a_command_that_may_build() {
        let embedded = Embedded::new("r");
        let service = &embedded.service;
        let of = |names: &[&str]| {
            let suffixes = names.iter().map(|name| (*name).to_owned()).collect();
            let files = vec![FileTests { path: "a.py".into(), suffixes }];
            plan::store_manifest(service, &Manifest { files, ..Manifest::default() }).unwrap()
        };
        let ended = |run: &str, discovered| {
            let run = run.parse().unwrap();
            let last = EndedRun { discovered: Some(discovered), ..passed(&run, &[]) };
            service.history.record(&last, std::iter::empty()).unwrap();
        };
        let discovered = of(&["::x", "::y"]);
        ended("before", discovered);
        let expected = |spec: &RunSpec| {
            make(service, spec, 2).unwrap().map(|(digest, plan)| (digest, plan.predicted_us.len()))
        };
        assert_eq!(expected(&spec("r")), Some((discovered, 2)));
        assert_eq!(expected(&RunSpec { arguments: vec!["b.py".into()], ..spec("r") }), None);
        let commands =
            SuiteCommands { discover: Vec::new(), run: Vec::new(), id: String::new(), batch_ms: 0 };
        let framework = Framework::Command(Box::new(commands));
        let suite = Suite { framework, ..Suite::default() };
        assert_eq!(expected(&RunSpec { suite, ..spec("r") }), None);
        // What only one of two runs has found may be there or not.
        ended("next", of(&["::new", "::y", "::x"]));
        assert_eq!(expected(&spec("r")), Some((of(&["::y", "::x"]), 2)));
        ended("again", of(&["::new", "::y", "::x"]));
        assert_eq!(expected(&spec("r")), Some((of(&["::new", "::y", "::x"]), 3)));
        ended("gone", Digest([1; 32]));
        assert_eq!(expected(&spec("r")), Some((of(&["::new", "::y", "::x"]), 3)));
    }

    #[test]
    fn tests_in_another_interpreter_than_the_discoverys_are_not_anticipated() {
        let of = |paths: &[&str], asked: Asked| {
            let file = |path: &&str| FileTests { path: (*path).into(), suffixes: vec!["::t".into()] };
            Manifest { files: paths.iter().map(file).collect(), asked, ..Manifest::default() }
        };
        let image = |name: &str, python: &str| {
            Some(TestContainer { image: name.into(), python: python.into(), ..TestContainer::default() })
        };
        let paths = ["a.py", "b.py", "c.py"];
        // What is expected of a run whose a.py and c.py are in the default environment, and b.py in another one.
        let expected = |default: Option<TestContainer>, other: Option<TestContainer>, asked: Asked| {
            let embedded = Embedded::new("r");
            let service = &embedded.service;
            let discovered = plan::store_manifest(service, &of(&paths, asked)).unwrap();
            let run = "before".parse().unwrap();
            let last = EndedRun { discovered: Some(discovered), ..passed(&run, &[]) };
            service.history.record(&last, std::iter::empty()).unwrap();
            let mut spec = spec("r");
            for (name, container, tests) in
                [(Suite::DEFAULT, default, vec![]), ("other", other, vec!["b.py".to_owned()])]
            {
                let environment = Environment { container, tests, ..Environment::default() };
                spec.suite.environments.insert(name.to_owned(), environment);
            }
            let (anticipated, plan) = make(service, &spec, 2).unwrap()?;
            let next = plan::make(service, &spec, discovered, 2, Some(plan.manifest)).unwrap().0;
            assert_eq!(next.moved.map(|moved| moved.contains(&None)), Some(false), "all of it is found");
            let manifest = plan::load_manifest(service, &plan.manifest).unwrap();
            assert_eq!(anticipated == discovered, manifest.len() == paths.len());
            Some(manifest.files.into_iter().map(|file| file.path).collect::<Vec<_>>())
        };
        let nothing = Asked::default;
        let (all, alike) =
            (Some(paths.map(str::to_owned).to_vec()), Some(vec!["a.py".into(), "c.py".into()]));
        assert_eq!(expected(None, None, nothing()), all);
        assert_eq!(expected(image("i", "python"), image("i", "python"), nothing()), all);
        assert_eq!(expected(None, image("i", "python"), nothing()), alike);
        assert_eq!(expected(image("i", "python"), None, nothing()), alike);
        assert_eq!(expected(image("i", "python"), image("j", "python"), nothing()), alike);
        assert_eq!(expected(image("i", "python"), image("i", "python3"), nothing()), alike);
        let measured = Asked { coverage: Some("python".into()), ..Asked::default() };
        assert_eq!(expected(None, image("i", "python"), measured), None, "it could not be moved");

        let mut suite = Suite::default();
        let container = image("i", "python");
        suite.environments.insert("other".into(), Environment { container, ..Environment::default() });
        let none_left = found_alike(&[EnvironmentNumber(1); 3], &of(&paths, nothing()), &suite);
        assert_eq!(none_left.map(|manifest| manifest.len()), Some(0));
    }

    #[test]
    fn each_slot_but_one_begins_with_a_file_of_few_tests() {
        let file = |path: &str, tests: usize| FileTests {
            path: path.into(),
            suffixes: (0..tests).map(|test| format!("::t{test}")).collect(),
        };
        // The last stretch is of a file that has more.
        let files = vec![file("a.py", 4), file("b.py", 2), file("c.py", 3), file("a.py", 1)];
        let manifest = Manifest { files, ..Manifest::default() };
        let tests = |numbers: &[u32]| numbers.iter().copied().map(TestIndex).collect::<Vec<_>>();
        let planned = || vec![tests(&[0, 1, 2, 3]), tests(&[6, 7, 8]), tests(&[4, 5]), tests(&[9])];
        let with = |slots| {
            let mut bundles = planned();
            let first = cheap_first(&mut bundles, &manifest, slots);
            (first, bundles)
        };
        let [a, c, b, rest] = <[_; 4]>::try_from(planned()).unwrap();
        assert_eq!(with(1), (0, planned()));
        assert_eq!(with(2), (1, vec![b.clone(), a.clone(), c.clone(), rest.clone()]));
        assert_eq!(with(3), (2, vec![c, b, a, rest]), "those in the order in which they were planned");
        assert_eq!(with(9), (4, planned()));
    }
}
