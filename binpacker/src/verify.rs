//! An independent check that a plan is one for its problem. Shares no code with what makes plans.

use std::collections::{HashMap, HashSet};

use crate::plan::{Bundle, Part, Plan};
use crate::problem::{Item, Problem};

/// What the rounding of microseconds may come to.
const ROUNDING: f64 = 2.0;

/// What is wrong with `plan`, if something is: a test not exactly once, a relation split or out of order, environments
/// mixed, a bundle over a limit that is not said to be, a figure that is not what its tests come to, a bound that the plan is
/// below.
pub fn verify(problem: &Problem, plan: &Plan) -> Result<(), String> {
    let check = Check::of(problem, plan)?;
    check.relations_hold()?;
    for (number, bundle) in (0u32..).zip(&plan.bundles) {
        let part = check.oversize.get(&number).copied();
        let members = Members { of: &check.members[number as usize], scopes: check.scopes(number) };
        let figures = check.figures_are_right(bundle, &members);
        let kept = figures.and_then(|()| check.limits_hold(bundle, &members, part));
        let kept = kept.and_then(|()| check.order_is_the_frameworks(&members));
        kept.map_err(|error| format!("bundle {number}: {error}"))?;
    }
    if !plan.bundles.is_sorted_by_key(|bundle| std::cmp::Reverse(bundle.total_micros())) {
        return Err("bundles are not longest first".into());
    }
    if plan.lower_bound as usize > plan.bundles.len() {
        return Err(format!("{} bundles are below the bound {}", plan.bundles.len(), plan.lower_bound));
    }
    check.setups_are_counted()?;
    is_at_most(plan.cap_micros, problem.cap_ms.saturating_mul(1000), "the effective cap")
}

struct Check<'a> {
    problem: &'a Problem,
    plan: &'a Plan,
    /// Of each bundle, its tests' positions and items.
    members: Vec<Vec<Member<'a>>>,
    /// Of ordered relations, and of any.
    ordered: HashSet<u32>,
    related: HashSet<u32>,
    /// What makes a bundle oversize, by its number.
    oversize: HashMap<u32, &'a Part>,
}

type Member<'a> = (usize, &'a Item);

/// What a bundle has, and the scopes that this uses.
struct Members<'m, 'a> {
    of: &'m [Member<'a>],
    scopes: HashSet<u32>,
}

impl<'a> Check<'a> {
    fn of(problem: &'a Problem, plan: &'a Plan) -> Result<Self, String> {
        let tests = |ordered: bool| {
            let relations = problem.relations.iter().filter(move |relation| relation.ordered || !ordered);
            relations.flat_map(|relation| relation.tests.iter().copied()).collect()
        };
        Ok(Self {
            problem,
            plan,
            members: members(problem, plan)?,
            ordered: tests(true),
            related: tests(false),
            oversize: plan.oversize.iter().map(|oversize| (oversize.bundle, &oversize.part)).collect(),
        })
    }

    /// The scopes of a bundle.
    fn scopes(&self, bundle: u32) -> HashSet<u32> {
        // Neighbours mostly use the same.
        let alike = self.members[bundle as usize].chunk_by(|a, b| a.1.scopes == b.1.scopes);
        alike.flat_map(|alike| self.problem.scopes.of(alike[0].1.scopes)).copied().collect()
    }

    fn relations_hold(&self) -> Result<(), String> {
        // Where each related test is: (bundle, place).
        let mut places: HashMap<u32, (usize, usize)> = HashMap::new();
        for (number, bundle) in self.plan.bundles.iter().enumerate().filter(|_| !self.related.is_empty()) {
            let own = bundle.tests.iter().enumerate().filter(|(_, test)| self.related.contains(test));
            places.extend(own.map(|(place, test)| (*test, (number, place))));
        }
        for relation in &self.problem.relations {
            let own: Vec<_> = relation.tests.iter().filter_map(|test| places.get(test)).collect();
            if own.windows(2).any(|pair| pair[0].0 != pair[1].0) {
                return Err(format!("relation {:?} is split", relation.tests));
            }
            if relation.ordered && !own.is_sorted() {
                return Err(format!("relation {:?} is out of order", relation.tests));
            }
        }
        let said = self.oversize.len();
        if said < self.plan.oversize.len() { Err("a bundle is oversize twice".into()) } else { Ok(()) }
    }

    fn figures_are_right(&self, bundle: &Bundle, members: &Members) -> Result<(), String> {
        let scopes = &self.problem.scopes;
        if members.of.iter().any(|(_, item)| item.environment != bundle.environment) {
            return Err(format!("not all of it is of environment {}", bundle.environment));
        }
        let micros = members.of.iter().fold(0u64, |sum, (_, item)| sum.saturating_add(item.micros));
        let fixed = self.problem.fixed_ms.saturating_mul(1000);
        let setup = members.scopes.iter().fold(fixed, |sum, &scope| sum.saturating_add(scopes.micros(scope)));
        if (micros, setup) != (bundle.micros, bundle.setup_micros) {
            return Err(format!("says {} + {}, is {micros} + {setup}", bundle.micros, bundle.setup_micros));
        }
        let by_definition = self.deviation(bundle, members);
        // What is beyond counting is the greatest number.
        let deviation = by_definition.min(u64::MAX as f64);
        if (bundle.sd_micros as f64 - deviation).abs() > ROUNDING + deviation * 1e-9 {
            return Err(format!("says it deviates by {}, does by {deviation}", bundle.sd_micros));
        }
        let over = bundle.total_micros() as f64 - self.cap() as f64;
        let is_over = f64::from(u8::from(over > 0.0));
        let likely = if by_definition > 0.0 { below(over / by_definition) } else { is_over };
        if (f64::from(bundle.overrun_ppm) - likely * 1e6).abs() > 2.0 {
            return Err(format!("says {} ppm exceed the cap, {likely} do", bundle.overrun_ppm));
        }
        Ok(())
    }

    /// The cap that was asked for, in microseconds.
    fn cap(&self) -> u64 {
        self.problem.cap_ms.saturating_mul(1000).min(u64::MAX - 1)
    }

    /// The standard deviation of a bundle, by the definition.
    fn deviation(&self, bundle: &Bundle, members: &Members) -> f64 {
        let square = |(_, item): &Member| (item.sd_micros as f64).powi(2);
        let common = bundle.total_micros() as f64 * f64::from(self.problem.risk.common_permille) / 1000.0;
        (members.of.iter().map(square).sum::<f64>() + common.powi(2)).sqrt()
    }

    fn limits_hold(&self, bundle: &Bundle, members: &Members, oversize: Option<&Part>) -> Result<(), String> {
        let most = self.problem.max_tests_per_bundle.max(1) as usize;
        let cap = self.cap();
        let margin = self.deviation(bundle, members) * f64::from(self.problem.risk.z_milli) / 1000.0;
        let total = bundle.total_micros();
        // In whole numbers where nothing varies; else the plan rounds up, which is at most a microsecond or two.
        let is_over = |cap: u64, rounding: f64| {
            let needed = total as f64 + margin;
            total > cap || (margin > 0.0 && needed > cap as f64 * (1.0 + 1e-9) + rounding)
        };
        match oversize {
            Some(_) if !is_over(cap, -ROUNDING) && bundle.tests.len() <= most => {
                Err("is not oversize".into())
            }
            Some(Part::Test(test)) if bundle.tests == [*test] => Ok(()),
            Some(Part::Relation(tests)) if bundle.tests == *tests && self.are_related(tests) => Ok(()),
            Some(part) => Err(format!("is not {part:?} alone")),
            None if bundle.tests.len() > most => {
                Err(format!("{} tests are more than {most}", bundle.tests.len()))
            }
            None if is_over(cap, 0.0) => Err(format!("{total} and {margin} are over the cap")),
            // Over the effective cap only for a piece that would else not be worth its setup.
            None if is_over(self.plan.cap_micros, 0.0) && !self.is_piece(members) => {
                Err(format!("{total} and {margin} are over the effective cap"))
            }
            None => Ok(()),
        }
    }

    /// Whether relations that share tests reach all of these from one.
    fn are_related(&self, tests: &[u32]) -> bool {
        let mut reached: HashSet<u32> = tests.first().copied().into_iter().collect();
        let mut before = 0;
        while reached.len() > before {
            before = reached.len();
            for relation in &self.problem.relations {
                if relation.tests.iter().any(|test| reached.contains(test)) {
                    reached.extend(&relation.tests);
                }
            }
        }
        tests.iter().all(|test| reached.contains(test))
    }

    /// Whether all tests of a bundle use the same scopes, which cost something. A relation may use more than each of its tests.
    fn is_piece(&self, members: &Members) -> bool {
        let used = &members.scopes;
        let costs = used.iter().any(|&scope| self.problem.scopes.micros(scope) > 0);
        let mut free = members.of.iter().filter(|(_, item)| !self.related.contains(&item.test));
        costs && free.all(|(_, item)| self.problem.scopes.of(item.scopes).len() == used.len())
    }

    /// Where slots are known, within each file: what is long may go before others, and a relation is where one of its
    /// files is.
    fn order_is_the_frameworks(&self, members: &Members) -> Result<(), String> {
        let by_file = self.problem.slots.is_some();
        let moves = |item: &Item| by_file && self.related.contains(&item.test);
        let free = members.of.iter().filter(|(_, item)| !self.ordered.contains(&item.test) && !moves(item));
        let mut last: HashMap<Option<u32>, usize> = HashMap::new();
        for (position, item) in free {
            let file = self.problem.scopes.of(item.scopes).first().copied().filter(|_| by_file);
            if by_file && file.is_none() {
                continue;
            }
            if last.insert(file, *position).is_some_and(|last| last > *position) {
                return Err("is not in the framework's order".into());
            }
        }
        Ok(())
    }

    /// Every scope that is in several bundles is paid again in each but one.
    fn setups_are_counted(&self) -> Result<(), String> {
        let mut times: HashMap<u32, u64> = HashMap::new();
        for scope in (0..self.plan.bundles.len() as u32).flat_map(|bundle| self.scopes(bundle)) {
            *times.entry(scope).or_default() += 1;
        }
        let again = |(scope, times): (u32, u64)| self.problem.scopes.micros(scope).saturating_mul(times - 1);
        let repeated = times.into_iter().map(again).fold(0, u64::saturating_add);
        if repeated == self.plan.repeated_setup_micros {
            Ok(())
        } else {
            Err(format!("says {} of setup are repeated, {repeated} are", self.plan.repeated_setup_micros))
        }
    }
}

/// Of each bundle, its tests' positions and items; each test is there once.
fn members<'a>(problem: &'a Problem, plan: &'a Plan) -> Result<Vec<Vec<Member<'a>>>, String> {
    let positions: HashMap<u32, usize> =
        problem.items.iter().enumerate().map(|(position, item)| (item.test, position)).collect();
    let mut seen = vec![false; problem.items.len()];
    let mut member = |test: &u32| match positions.get(test) {
        Some(&position) if std::mem::replace(&mut seen[position], true) => {
            Err(format!("test {test} is there twice"))
        }
        Some(&position) => Ok((position, &problem.items[position])),
        None => Err(format!("test {test} is no item")),
    };
    let mut members = Vec::with_capacity(plan.bundles.len());
    for (number, bundle) in plan.bundles.iter().enumerate() {
        if bundle.tests.is_empty() {
            return Err(format!("bundle {number} is empty"));
        }
        members.push(bundle.tests.iter().map(&mut member).collect::<Result<Vec<_>, _>>()?);
    }
    match seen.iter().filter(|seen| **seen).count() {
        all if all == seen.len() => Ok(members),
        some => Err(format!("{some} of {} tests", seen.len())),
    }
}

/// How likely a standard normal variable is below `z`, by Simpson's rule.
fn below(z: f64) -> f64 {
    const PARTS: u32 = 400;
    let width = z.clamp(-10.0, 10.0) / f64::from(PARTS);
    let density = |part: u32| (-(width * f64::from(part)).powi(2) / 2.0).exp();
    let inner: f64 = (1..PARTS).map(|part| f64::from(2 + 2 * (part % 2)) * density(part)).sum();
    0.5 + (density(0) + inner + density(PARTS)) * width / 3.0 / std::f64::consts::TAU.sqrt()
}

fn is_at_most(value: u64, limit: u64, what: &str) -> Result<(), String> {
    if value <= limit { Ok(()) } else { Err(format!("{what} is {value}, more than {limit}")) }
}
