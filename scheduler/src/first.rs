//! Which tests go first: those of files that have changed, those that are named after one, and those that failed.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{Manifest, Relation, TestIndex};

/// What a test file's name has beside the name of what it tests.
const BEFORE: &str = "test_";
const AFTER: [&str; 3] = ["_test", ".test", ".spec"];

/// For each test whether it goes first. What is related to one that does goes along.
pub(crate) fn tests(manifest: &Manifest, changed: &[String]) -> Vec<bool> {
    // A test's path is relative to the suite's root, which may be anywhere in the repository.
    let paths: BTreeSet<&str> = changed.iter().flat_map(|path| ends(path)).collect();
    let names: BTreeSet<&str> =
        changed.iter().map(|path| name(path)).filter(|name| !name.is_empty()).collect();
    let mut first = Vec::with_capacity(manifest.len());
    for file in &manifest.files {
        let goes = paths.contains(file.path.as_str()) || names.contains(subject(name(&file.path)));
        first.extend(std::iter::repeat_n(goes, file.suffixes.len()));
    }
    take_along(&mut first, &manifest.relations);
    first
}

/// Those of another manifest go first, too.
pub(crate) fn add(manifest: &Manifest, first: &mut [bool], others: &Manifest) {
    let others: BTreeSet<_> = others.tests().collect();
    for (goes, test) in first.iter_mut().zip(manifest.tests()) {
        *goes |= others.contains(&test);
    }
    take_along(first, &manifest.relations);
}

/// A path, and what is left of it below each of its directories.
fn ends(path: &str) -> impl Iterator<Item = &str> {
    std::iter::once(path).chain(path.match_indices('/').map(|(slash, _)| &path[slash + 1..]))
}

/// A file's name without its extension.
fn name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.rsplit_once('.').map_or(file, |(name, _)| name)
}

/// What a test file of this name is about.
fn subject(name: &str) -> &str {
    let after = AFTER.iter().find_map(|after| name.strip_suffix(after));
    name.strip_prefix(BEFORE).or(after).unwrap_or(name)
}

fn take_along(first: &mut [bool], relations: &[Relation]) {
    let mut of: BTreeMap<TestIndex, Vec<usize>> = BTreeMap::new();
    for (place, relation) in relations.iter().enumerate() {
        relation.tests.iter().for_each(|test| of.entry(*test).or_default().push(place));
    }
    let mut waiting: Vec<_> = relations.iter().map(Some).collect();
    let mut going: Vec<TestIndex> = of.keys().copied().filter(|test| first[test.0 as usize]).collect();
    while let Some(test) = going.pop() {
        for place in of.remove(&test).unwrap_or_default() {
            for related in waiting[place].take().into_iter().flat_map(|relation| &relation.tests) {
                if !std::mem::replace(&mut first[related.0 as usize], true) {
                    going.push(*related);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use seagull_domain::FileTests;

    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let file = |path: &&str| FileTests { path: (*path).to_owned(), suffixes: vec!["::t".to_owned()] };
        Manifest { files: paths.iter().map(file).collect(), ..Manifest::default() }
    }

    fn first<'a>(paths: &[&'a str], changed: &[&str]) -> Vec<&'a str> {
        let changed: Vec<_> = changed.iter().map(|path| (*path).to_owned()).collect();
        let goes = tests(&manifest(paths), &changed);
        paths.iter().zip(goes).filter(|(_, goes)| *goes).map(|(path, _)| *path).collect()
    }

    #[test]
    fn tests_of_changed_files_go_first_wherever_the_suites_root_is() {
        let paths = ["tests/test_a.py", "tests/deep/test_a.py", "test_a.py"];
        assert_eq!(first(&paths, &["tests/deep/test_a.py"])[..2], ["tests/deep/test_a.py", "test_a.py"]);
        assert_eq!(first(&["unit/test_a.py", "unit/b_test.py"], &["lib/unit/test_a.py"]), ["unit/test_a.py"]);
        assert_eq!(first(&["nit/test_a.py"], &["lib/unit/test_a.py"]), [""; 0]);
        assert_eq!(first(&paths, &[]), [""; 0]);
    }

    #[test]
    fn so_do_those_that_are_named_after_a_changed_file() {
        let paths =
            ["tests/test_cart.py", "tests/cart_test.py", "web/cart.test.js", "p::test/cart", "test_c.py"];
        assert_eq!(first(&paths, &["src/shop/cart.py"]), paths[..4]);
        assert_eq!(first(&["test_.py", "a.py"], &[".gitignore", "README"]), [""; 0]);
    }

    #[test]
    fn what_is_related_goes_along_through_however_many_relations() {
        let relation =
            |tests: &[u32]| Relation { ordered: true, tests: tests.iter().copied().map(TestIndex).collect() };
        let mut manifest = manifest(&["a.py", "b.py", "c.py", "d.py", "e.py"]);
        manifest.relations = vec![relation(&[3, 1]), relation(&[4, 2]), relation(&[0, 3])];
        assert_eq!(tests(&manifest, &["b.py".to_owned()]), [true, true, false, true, false]);
    }
}
