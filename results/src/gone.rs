//! Ids that are chosen by a verdict and are not there any more.
//!
//! Such an id stands for all that it is a beginning of: a file that cannot be collected has one id, its path, and others
//! once it is mended. It stands for the file where it is the other way round. What nothing stands for is warned of.

use std::collections::HashSet;

use seagull_domain::Manifest;

use crate::reading::parts;

/// So many ids that are gone are named, and so much of each.
const NAMED: usize = 3;
const NAME_CHARS: usize = 200;

/// Ids that are chosen by a verdict, but for those that the manifest has.
pub(crate) struct Gone<'s> {
    ids: HashSet<&'s str>,
    /// Files that cannot be collected, and had some of them.
    files: HashSet<&'s str>,
    /// Those of `ids` that something there is stands for.
    found: HashSet<&'s str>,
}

impl<'s> Gone<'s> {
    pub fn of(chosen: HashSet<&'s str>, manifest: &Manifest) -> Self {
        let mut gone = Self { ids: chosen, files: HashSet::new(), found: HashSet::new() };
        if gone.ids.is_empty() {
            return gone;
        }
        for id in manifest.ids() {
            gone.ids.remove(id.as_str());
        }
        let whole = manifest.tests().filter(|(_, suffix)| suffix.is_empty());
        let whole: HashSet<&str> = whole.map(|(path, _)| path).collect();
        for &id in &gone.ids {
            for path in parts(id).filter(|part| whole.contains(part)) {
                gone.files.insert(path);
                gone.found.insert(id);
            }
        }
        gone
    }

    /// Whether an id follows one that is gone and that stands for it.
    pub fn find(&mut self, path: &str, id: &str, stands: impl Fn(&str) -> bool) -> bool {
        if self.ids.is_empty() {
            return false;
        }
        let mut is_followed = id == path && self.files.contains(path);
        for gone in parts(id).filter_map(|part| self.ids.get(part).copied()) {
            self.found.insert(gone);
            is_followed |= stands(gone);
        }
        is_followed
    }

    pub fn warning(&self) -> Option<String> {
        let mut lost: Vec<&str> = self.ids.difference(&self.found).copied().collect();
        lost.sort_unstable();
        let number = lost.len();
        let tests = if number == 1 { "test" } else { "tests" };
        let name = |id: &&str| id.chars().take(NAME_CHARS).collect::<String>();
        let names: Vec<String> = lost.iter().take(NAMED).map(name).collect();
        let more = if number > NAMED { format!(" and {} more", number - NAMED) } else { String::new() };
        (number > 0).then(|| {
            format!("{number} {tests} chosen by verdict, not discovered any more: {}{more}", names.join(", "))
        })
    }
}
