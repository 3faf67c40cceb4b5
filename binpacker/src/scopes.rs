//! Scopes: what tests share, such as a file, a class, a fixture, a service profile, and what that costs.

use std::collections::BTreeMap;

/// Scopes by number, and the sets of them that tests use. A test may use several, nested or crossing: its file, its class,
/// and the service profile that many files have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes {
    micros: Vec<u64>,
    /// Each ascending. The first is empty.
    sets: Vec<Box<[u32]>>,
    numbers: BTreeMap<Box<[u32]>, ScopeSet>,
}

/// The number of a set in its [`Scopes`]; the default is the set of none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ScopeSet(u32);

impl Default for Scopes {
    fn default() -> Self {
        let none = Box::<[u32]>::default();
        Self { micros: Vec::new(), sets: vec![none.clone()], numbers: [(none, ScopeSet(0))].into() }
    }
}

impl Scopes {
    /// The number of a new scope, for which each bundle that uses it pays so much: setup and teardown, and of a file its
    /// collection.
    pub fn add(&mut self, micros: u64) -> u32 {
        self.micros.push(micros);
        self.micros.len() as u32 - 1
    }

    /// The set of these scopes. Those that were not added are left out.
    pub fn set(&mut self, scopes: &[u32]) -> ScopeSet {
        let mut scopes: Vec<u32> =
            scopes.iter().copied().filter(|&scope| (scope as usize) < self.micros.len()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        if let Some(number) = self.numbers.get(scopes.as_slice()) {
            return *number;
        }
        let (number, set) = (ScopeSet(self.sets.len() as u32), scopes.into_boxed_slice());
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        number
    }

    /// A new scope and the set of it alone.
    pub fn add_alone(&mut self, micros: u64) -> ScopeSet {
        let scope = self.add(micros);
        self.set(&[scope])
    }

    /// The scopes of a set, ascending; none if it is none of these.
    pub fn of(&self, set: ScopeSet) -> &[u32] {
        self.sets.get(set.0 as usize).map_or(&[], |set| set)
    }

    pub fn knows(&self, set: ScopeSet) -> bool {
        (set.0 as usize) < self.sets.len()
    }

    /// What a bundle pays for one.
    pub fn micros(&self, scope: u32) -> u64 {
        self.micros.get(scope as usize).copied().unwrap_or_default()
    }

    /// What a bundle pays for all of these, each listed once.
    pub fn sum(&self, scopes: &[u32]) -> u64 {
        scopes.iter().fold(0, |sum, &scope| sum.saturating_add(self.micros(scope)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.micros.len()
    }

    pub fn is_empty(&self) -> bool {
        self.micros.is_empty()
    }
}

/// The union of two ascending lists.
pub(crate) fn union(a: &[u32], b: &[u32]) -> Vec<u32> {
    if a == b {
        return a.to_vec();
    }
    let mut all = [a, b].concat();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_one_number_whatever_the_order() {
        let mut scopes = Scopes::default();
        let (file, profile) = (scopes.add(20), scopes.add(30_000));
        let set = scopes.set(&[profile, file, profile, 99]);
        assert_eq!(set, scopes.set(&[file, profile]));
        assert_eq!((scopes.of(set), scopes.sum(scopes.of(set))), ([file, profile].as_slice(), 30_020));
        assert_eq!(scopes.of(ScopeSet::default()), [0u32; 0]);
        assert!(!scopes.knows(ScopeSet(7)));
    }
}
