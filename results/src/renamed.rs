//! Tests that are called something else than before, found by what is left of their ids. Pure.
//!
//! A new test is what another was, if among all that are new it alone is like that one, and among all that are gone that
//! one alone is like it. Ids are compared by what says most first, then by less; that takes a few look-ups for each.

use std::collections::{HashMap, HashSet};

use seagull_domain::Manifest;

/// What two ids have in common.
#[derive(Debug, Clone, Copy)]
enum Likeness {
    /// All but the folder: the file was moved.
    File,
    /// All but the file: the test was moved, or its file is called something else.
    Suffix,
    /// All but the class.
    Name,
    /// All but the test's own name.
    Class,
}

const LIKENESSES: [Likeness; 4] = [Likeness::File, Likeness::Suffix, Likeness::Name, Likeness::Class];

/// Which of `gone` a test of `new` was, where that is clear: the places of both.
pub(crate) fn renamed(gone: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let mut gone: Vec<_> = gone.iter().map(|id| Parts::of(id)).enumerate().collect();
    let mut new: Vec<_> = new.iter().map(|id| Parts::of(id)).enumerate().collect();
    let mut pairs = Vec::new();
    for likeness in LIKENESSES {
        let mut alike: HashMap<[&str; 3], (Seen, Seen)> = HashMap::new();
        for (place, id) in &gone {
            id.common(likeness).into_iter().for_each(|key| alike.entry(key).or_default().0.add(*place));
        }
        for (place, id) in &new {
            id.common(likeness).into_iter().for_each(|key| alike.entry(key).or_default().1.add(*place));
        }
        let found = alike.into_values().filter_map(|(was, is)| was.alone().zip(is.alone()));
        let found: Vec<(usize, usize)> = found.collect();
        let (was, is): (HashSet<usize>, HashSet<usize>) = found.iter().copied().unzip();
        gone.retain(|(place, _)| !was.contains(place));
        new.retain(|(place, _)| !is.contains(place));
        pairs.extend(found);
    }
    pairs
}

/// Of those that are alike.
#[derive(Debug, Clone, Copy, Default)]
enum Seen {
    #[default]
    None,
    One(usize),
    Several,
}

impl Seen {
    fn add(&mut self, place: usize) {
        *self = if let Self::None = self { Self::One(place) } else { Self::Several };
    }

    fn alone(self) -> Option<usize> {
        if let Self::One(place) = self { Some(place) } else { None }
    }
}

/// `file::Class::name[parameters]`.
#[derive(Debug, Clone, Copy)]
struct Parts<'i> {
    file: &'i str,
    suffix: &'i str,
    class: &'i str,
}

impl<'i> Parts<'i> {
    fn of(id: &'i str) -> Self {
        let (file, suffix) = id.split_at(id.find("::").unwrap_or(id.len()));
        Self { file, suffix, class: Manifest::class_of(suffix) }
    }

    /// What all that are like it share; None where that would be nothing.
    fn common(self, likeness: Likeness) -> Option<[&'i str; 3]> {
        let name = &self.suffix[self.class.len()..];
        let parameters = &name[name.find('[').unwrap_or(name.len())..];
        match likeness {
            Likeness::File => Some([self.file.rsplit('/').next().unwrap_or(self.file), self.suffix, ""]),
            _ if self.suffix.is_empty() => None,
            Likeness::Suffix => Some([self.suffix, "", ""]),
            Likeness::Name => Some([self.file, name, ""]),
            Likeness::Class => Some([self.file, self.class, parameters]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of these was, by id.
    fn was<'a>(gone: &[&'a str], new: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        let mut pairs: Vec<_> =
            renamed(gone, new).into_iter().map(|(was, is)| (gone[was], new[is])).collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn what_is_left_of_an_id_tells_what_it_was() {
        let table = [
            ("old/a.py::T::x[1]", "new/deep/a.py::T::x[1]"),
            ("a.py::T::x[1]", "b.py::T::x[1]"),
            ("a.py::T::x[1]", "a.py::U::x[1]"),
            ("a.py::T::x[a::b]", "a.py::T::y[a::b]"),
            ("old/a.py", "new/a.py"),
        ];
        for (gone, new) in table {
            assert_eq!(was(&[gone], &[new]), [(gone, new)]);
        }
        for (gone, new) in [("a.py::T::x[1]", "b.py::T::x[2]"), ("a.py::x", "b.py::y"), ("one", "two")] {
            assert_eq!(was(&[gone], &[new]), [], "{gone} and {new} have too little in common");
        }
    }

    #[test]
    fn of_several_that_may_be_it_none_is() {
        assert_eq!(was(&["a.py::x", "b.py::x"], &["c.py::x"]), []);
        assert_eq!(was(&["a.py::x"], &["b.py::x", "c.py::x"]), []);
        assert_eq!(was(&["a.py::x", "a.py::y"], &["a.py::z"]), []);
    }

    #[test]
    fn who_is_like_in_more_has_it() {
        // Of the same suffix there are two of each, but the names of their files tell them apart.
        let pairs = was(&["old/a.py::x", "old/b.py::x"], &["new/b.py::x", "new/a.py::x"]);
        assert_eq!(pairs, [("old/a.py::x", "new/a.py::x"), ("old/b.py::x", "new/b.py::x")]);
        // What is settled stands in nobody's way.
        let pairs = was(&["old/a.py::x", "b.py::x"], &["new/a.py::x", "c.py::x"]);
        assert_eq!(pairs, [("b.py::x", "c.py::x"), ("old/a.py::x", "new/a.py::x")]);
    }

    #[test]
    fn a_large_suite_moves_in_a_few_look_ups_for_each_test() {
        let ids = |folder: &str| {
            (0..250_000).map(|n| format!("{folder}/test_{}.py::test[{n}]", n / 50)).collect::<Vec<_>>()
        };
        let (old, new) = (ids("old"), ids("new"));
        let [old, new] = [&old, &new].map(|ids| ids.iter().map(String::as_str).collect::<Vec<_>>());
        let pairs = renamed(&old, &new);
        assert!(pairs.len() == 250_000 && pairs.iter().all(|(was, is)| was == is));
    }
}
