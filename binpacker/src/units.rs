//! Units: what cannot be split. A test alone, or all tests of relations that overlap.

use std::collections::HashMap;
use std::slice;

use crate::load::Load;
use crate::order;
use crate::problem::{Error, Item, Problem};
use crate::scopes::union;

/// The units of a problem, each item in exactly one. Tests are positions in the problem's items throughout.
pub struct Units<'p> {
    pub problem: &'p Problem,
    pub units: Vec<Unit>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, Copy)]
pub struct Unit {
    /// Of its tests, without setups.
    pub load: Load,
    /// The first of its positions.
    pub first: u32,
    pub environment: u32,
    group: Option<u32>,
}

struct Group {
    /// In the order to run in.
    positions: Vec<u32>,
    /// Ascending, each once.
    scopes: Vec<u32>,
    /// (before, after) of ordered relations, where they make another order than the framework's; else empty.
    edges: Vec<(u32, u32)>,
}

impl<'p> Units<'p> {
    pub fn of(problem: &'p Problem) -> Result<Self, Error> {
        let index = TestIndex::of(problem)?;
        if let Some(item) = problem.items.iter().find(|item| !problem.scopes.knows(item.scopes)) {
            return Err(Error::UnknownScopes(item.test));
        }
        let mut units = Self { problem, units: Vec::with_capacity(problem.items.len()), groups: Vec::new() };
        let related = units.add_groups(&index)?;
        for (position, item) in (0u32..).zip(&problem.items) {
            if !related[position as usize] {
                let (load, environment) = (load(item), item.environment);
                units.units.push(Unit { load, first: position, environment, group: None });
            }
        }
        units.units.sort_unstable_by_key(|unit| unit.first);
        Ok(units)
    }

    /// Which positions are in a group.
    fn add_groups(&mut self, index: &TestIndex) -> Result<Vec<bool>, Error> {
        let mut related = vec![false; self.problem.items.len()];
        for component in components(self.problem, index) {
            let positions = order::sorted(&component.members, &component.edges).map_err(|cycle| {
                Error::OrderCycle(cycle.iter().map(|&p| self.problem.items[p as usize].test).collect())
            })?;
            for &position in &positions {
                related[position as usize] = true;
            }
            let edges = if positions.is_sorted() { Vec::new() } else { component.edges };
            self.add_group(positions, edges)?;
        }
        Ok(related)
    }

    fn add_group(&mut self, positions: Vec<u32>, edges: Vec<(u32, u32)>) -> Result<(), Error> {
        let problem = self.problem;
        let items = || positions.iter().map(|&p| &problem.items[p as usize]);
        let environment = items().next().map(|item| (item.test, item.environment)).unwrap_or_default();
        if let Some(other) = items().find(|item| item.environment != environment.1) {
            return Err(Error::MixedEnvironments(environment.0, other.test));
        }
        let scopes = items().fold(Vec::new(), |scopes, item| union(&scopes, problem.scopes.of(item.scopes)));
        self.units.push(Unit {
            load: items().fold(Load::default(), |sum, item| sum.plus(load(item))),
            first: positions.iter().copied().min().unwrap_or_default(),
            environment: environment.1,
            group: Some(self.groups.len() as u32),
        });
        self.groups.push(Group { positions, scopes, edges });
        Ok(())
    }

    /// Ascending, each once.
    pub fn scopes(&self, unit: &Unit) -> &[u32] {
        match unit.group {
            Some(group) => &self.groups[group as usize].scopes,
            None => self.problem.scopes.of(self.problem.items[unit.first as usize].scopes),
        }
    }

    /// In the order to run in.
    pub fn positions<'u>(&'u self, unit: &'u Unit) -> &'u [u32] {
        match unit.group {
            Some(group) => &self.groups[group as usize].positions,
            None => slice::from_ref(&unit.first),
        }
    }

    pub fn is_relation(unit: &Unit) -> bool {
        unit.group.is_some()
    }

    /// Which of its tests must run before which, where that is another order than the framework's.
    pub fn edges(&self, unit: &Unit) -> &[(u32, u32)] {
        unit.group.map_or(&[], |group| &self.groups[group as usize].edges)
    }

    /// The numbers of the units of each environment, by the environments' first units.
    pub fn environments(&self) -> Vec<Vec<u32>> {
        let mut places: HashMap<u32, usize> = HashMap::new();
        let mut environments: Vec<Vec<u32>> = Vec::new();
        for (number, unit) in (0u32..).zip(&self.units) {
            let place = *places.entry(unit.environment).or_insert(environments.len());
            if place == environments.len() {
                environments.push(Vec::new());
            }
            environments[place].push(number);
        }
        environments
    }

    pub fn unit(&self, number: u32) -> &Unit {
        &self.units[number as usize]
    }

    /// What a bundle of this unit alone comes to, without the fixed cost.
    pub fn alone(&self, unit: &Unit) -> Load {
        unit.load.with_setup(self.problem.scopes.sum(self.scopes(unit)))
    }
}

fn load(item: &Item) -> Load {
    let deviation = u128::from(item.sd_micros);
    Load { micros: item.micros, variance: deviation * deviation, tests: 1 }
}

/// Where each test stands in the items.
struct TestIndex(Vec<(u32, u32)>);

impl TestIndex {
    fn of(problem: &Problem) -> Result<Self, Error> {
        let mut index: Vec<_> = problem.items.iter().map(|item| item.test).zip(0u32..).collect();
        index.sort_unstable();
        match index.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(Error::DuplicateTest(pair[0].0)),
            None => Ok(Self(index)),
        }
    }

    fn position(&self, test: u32) -> Option<u32> {
        let at = self.0.binary_search_by_key(&test, |&(test, _)| test).ok()?;
        Some(self.0[at].1)
    }
}

/// Tests that are related, directly or through others.
struct Component {
    /// Ascending.
    members: Vec<u32>,
    /// (before, after), from ordered relations.
    edges: Vec<(u32, u32)>,
}

/// The components of two tests or more, by their first position.
fn components(problem: &Problem, index: &TestIndex) -> Vec<Component> {
    if problem.relations.is_empty() {
        return Vec::new();
    }
    let mut sets = Sets((0..problem.items.len() as u32).collect());
    let mut edges = Vec::new();
    for relation in &problem.relations {
        let positions: Vec<u32> = relation.tests.iter().filter_map(|&test| index.position(test)).collect();
        for pair in positions.windows(2).filter(|pair| pair[0] != pair[1]) {
            sets.join(pair[0], pair[1]);
            if relation.ordered {
                edges.push((pair[0], pair[1]));
            }
        }
    }
    let mut by_root: Vec<(u32, u32)> = (0..problem.items.len() as u32).map(|p| (sets.root(p), p)).collect();
    by_root.sort_unstable();
    let mut edges: Vec<(u32, (u32, u32))> = edges.into_iter().map(|edge| (sets.root(edge.0), edge)).collect();
    edges.sort_unstable();
    let related = by_root.chunk_by(|a, b| a.0 == b.0).filter(|members| members.len() > 1);
    let component = |members: &[(u32, u32)]| {
        let root = members[0].0;
        let from = edges.partition_point(|edge| edge.0 < root);
        let to = edges.partition_point(|edge| edge.0 <= root);
        Component {
            members: members.iter().map(|&(_, position)| position).collect(),
            edges: edges[from..to].iter().map(|&(_, edge)| edge).collect(),
        }
    };
    related.map(component).collect()
}

/// Disjoint sets of positions. A root is the smallest of its set.
struct Sets(Vec<u32>);

impl Sets {
    fn root(&mut self, mut position: u32) -> u32 {
        while self.0[position as usize] != position {
            let above = self.0[position as usize];
            self.0[position as usize] = self.0[above as usize];
            position = above;
        }
        position
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b) as usize] = a.min(b);
    }
}
