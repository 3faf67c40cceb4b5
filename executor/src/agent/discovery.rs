//! From a worker's discovery events to a manifest.

use std::collections::HashMap;

use seagull_domain::{FileTests, Manifest, Relation, SkippedModule, TestIndex};

/// How many duplicate ids are named in warnings.
const NAMED: usize = 5;

/// A discovery under way.
#[derive(Debug, Default)]
pub(crate) struct Discovering {
    manifest: Manifest,
    groups: Vec<Vec<String>>,
    duplicates: Vec<String>,
}

impl Discovering {
    pub fn warning(&mut self, message: String) {
        self.manifest.warnings.push(message);
    }

    pub fn file(&mut self, path: String, suffixes: Vec<String>) {
        match self.manifest.files.last_mut() {
            Some(last) if last.path == path => last.suffixes.extend(suffixes),
            _ => self.manifest.files.push(FileTests { path, suffixes }),
        }
    }

    pub fn relation(&mut self, tests: Vec<String>) {
        self.groups.push(tests);
    }

    pub fn skipped(&mut self, path: String, reason: String) {
        self.manifest.skipped_modules.push(SkippedModule { path, reason });
    }

    pub fn duplicate(&mut self, id: String) {
        self.duplicates.push(id);
    }

    pub fn finish(mut self) -> Manifest {
        self.manifest.relations = self.relations();
        if !self.duplicates.is_empty() {
            let count = self.duplicates.len();
            self.duplicates.truncate(NAMED);
            let names = self.duplicates.join(", ");
            let more = if count > NAMED { ", ..." } else { "" };
            self.manifest.warnings.push(format!("{count} duplicate ids run once: {names}{more}"));
        }
        self.manifest
    }

    fn relations(&self) -> Vec<Relation> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let grouped: HashMap<&str, usize> = (0..)
            .zip(&self.groups)
            .flat_map(|(group, ids)| ids.iter().map(move |id| (id.as_str(), group)))
            .collect();
        let mut relations = vec![Vec::new(); self.groups.len()];
        for (index, id) in (0..).zip(self.manifest.ids()) {
            if let Some(group) = grouped.get(id.as_str()) {
                relations[*group].push(TestIndex(index));
            }
        }
        let relation = |tests: Vec<_>| Relation { ordered: false, tests };
        relations.into_iter().filter(|tests| tests.len() > 1).map(relation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_become_relations_by_index() {
        let mut discovering = Discovering::default();
        discovering.warning("--last-failed ignored".into());
        discovering.file("a.py".into(), vec!["::x".into(), "::y".into()]);
        discovering.file("a.py".into(), vec!["::z".into()]);
        discovering.file("b.py".into(), vec!["::x".into()]);
        discovering.relation(vec!["a.py::z".into(), "b.py::x".into(), "gone".into()]);
        discovering.duplicate("a.py::x".into());
        let manifest = discovering.finish();
        assert_eq!(manifest.files.len(), 2);
        let tests = vec![TestIndex(2), TestIndex(3)];
        assert_eq!(manifest.relations, [Relation { ordered: false, tests }]);
        assert_eq!(manifest.warnings, ["--last-failed ignored", "1 duplicate ids run once: a.py::x"]);
    }
}
