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
    let check = Check::of(problem, plan);
    check.relations_hold(&check.each_test_once()?)?;
    for (number, bundle) in (0u32..).zip(&plan.bundles) {
        let part = check.oversize.get(&number).copied();
        let figures = check.figures_are_right(bundle);
        let kept = figures.and_then(|()| check.limits_hold(bundle, part));
        let kept = kept.and_then(|()| check.order_is_the_frameworks(bundle));
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
    /// Each test's position and item.
    items: HashMap<u32, (usize, &'a Item)>,
    /// Of ordered relations, and of any.
    ordered: HashSet<u32>,
    related: HashSet<u32>,
    /// What makes a bundle oversize, by its number.
    oversize: HashMap<u32, &'a Part>,
}

impl<'a> Check<'a> {
    fn of(problem: &'a Problem, plan: &'a Plan) -> Self {
        let tests = |ordered: bool| {
            let relations = problem.relations.iter().filter(move |relation| relation.ordered || !ordered);
            relations.flat_map(|relation| relation.tests.iter().copied()).collect()
        };
        Self {
            problem,
            plan,
            items: problem.items.iter().enumerate().map(|(at, item)| (item.test, (at, item))).collect(),
            ordered: tests(true),
            related: tests(false),
            oversize: plan.oversize.iter().map(|oversize| (oversize.bundle, &oversize.part)).collect(),
        }
    }

    fn item(&self, test: u32) -> &Item {
        self.items[&test].1
    }

    /// The scopes of a bundle.
    fn scopes(&self, bundle: &Bundle) -> HashSet<u32> {
        let scopes = bundle.tests.iter().flat_map(|&test| self.problem.scopes.of(self.item(test).scopes));
        scopes.copied().collect()
    }

    /// Where each test is: (bundle, place).
    fn each_test_once(&self) -> Result<HashMap<u32, (usize, usize)>, String> {
        let mut places = HashMap::with_capacity(self.items.len());
        for (number, bundle) in self.plan.bundles.iter().enumerate() {
            if bundle.tests.is_empty() {
                return Err(format!("bundle {number} is empty"));
            }
            for (place, test) in bundle.tests.iter().enumerate() {
                if places.insert(*test, (number, place)).is_some() {
                    return Err(format!("test {test} is there twice"));
                }
            }
        }
        match places.keys().find(|test| !self.items.contains_key(test)) {
            Some(test) => Err(format!("test {test} is no item")),
            None if places.len() < self.items.len() => {
                Err(format!("{} of {} tests", places.len(), self.items.len()))
            }
            None => Ok(places),
        }
    }

    fn relations_hold(&self, places: &HashMap<u32, (usize, usize)>) -> Result<(), String> {
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

    fn figures_are_right(&self, bundle: &Bundle) -> Result<(), String> {
        let scopes = &self.problem.scopes;
        if bundle.tests.iter().any(|&test| self.item(test).environment != bundle.environment) {
            return Err(format!("not all of it is of environment {}", bundle.environment));
        }
        let micros = bundle.tests.iter().fold(0u64, |sum, &test| sum.saturating_add(self.item(test).micros));
        let fixed = self.problem.fixed_ms.saturating_mul(1000);
        let used = self.scopes(bundle);
        let setup = used.iter().fold(fixed, |sum, &scope| sum.saturating_add(scopes.micros(scope)));
        if (micros, setup) != (bundle.micros, bundle.setup_micros) {
            return Err(format!("says {} + {}, is {micros} + {setup}", bundle.micros, bundle.setup_micros));
        }
        // What is beyond counting is the greatest number.
        let deviation = self.deviation(bundle).min(u64::MAX as f64);
        if (bundle.sd_micros as f64 - deviation).abs() > ROUNDING + deviation * 1e-9 {
            return Err(format!("says it deviates by {}, does by {deviation}", bundle.sd_micros));
        }
        is_at_most(u64::from(bundle.overrun_ppm), 1_000_000, "its probability")
    }

    /// The standard deviation of a bundle, by the definition.
    fn deviation(&self, bundle: &Bundle) -> f64 {
        let square = |test: &u32| (self.item(*test).sd_micros as f64).powi(2);
        let common = bundle.total_micros() as f64 * f64::from(self.problem.risk.common_permille) / 1000.0;
        (bundle.tests.iter().map(square).sum::<f64>() + common.powi(2)).sqrt()
    }

    fn limits_hold(&self, bundle: &Bundle, oversize: Option<&Part>) -> Result<(), String> {
        let most = self.problem.max_tests_per_bundle.max(1) as usize;
        let cap = self.problem.cap_ms.saturating_mul(1000).min(u64::MAX - 1);
        let margin = self.deviation(bundle) * f64::from(self.problem.risk.z_milli) / 1000.0;
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
            Some(Part::Relation(tests)) if bundle.tests == *tests => Ok(()),
            Some(part) => Err(format!("is not {part:?} alone")),
            None if bundle.tests.len() > most => {
                Err(format!("{} tests are more than {most}", bundle.tests.len()))
            }
            None if is_over(cap, 0.0) => Err(format!("{total} and {margin} are over the cap")),
            // Over the effective cap only for a piece that would else not be worth its setup.
            None if is_over(self.plan.cap_micros, 0.0) && !self.is_piece(bundle) => {
                Err(format!("{total} and {margin} are over the effective cap"))
            }
            None => Ok(()),
        }
    }

    /// Whether all tests of a bundle use the same scopes, which cost something. A relation may use more than each of its tests.
    fn is_piece(&self, bundle: &Bundle) -> bool {
        let used = self.scopes(bundle);
        let costs = used.iter().any(|&scope| self.problem.scopes.micros(scope) > 0);
        let mut free = bundle.tests.iter().filter(|test| !self.related.contains(test));
        costs && free.all(|&test| self.problem.scopes.of(self.item(test).scopes).len() == used.len())
    }

    fn order_is_the_frameworks(&self, bundle: &Bundle) -> Result<(), String> {
        let free = bundle.tests.iter().filter(|test| !self.ordered.contains(test));
        if free.map(|test| self.items[test].0).is_sorted() {
            Ok(())
        } else {
            Err("is not in the framework's order".into())
        }
    }

    /// Every scope that is in several bundles is paid again in each but one.
    fn setups_are_counted(&self) -> Result<(), String> {
        let mut times: HashMap<u32, u64> = HashMap::new();
        for scope in self.plan.bundles.iter().flat_map(|bundle| self.scopes(bundle)) {
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

fn is_at_most(value: u64, limit: u64, what: &str) -> Result<(), String> {
    if value <= limit { Ok(()) } else { Err(format!("{what} is {value}, more than {limit}")) }
}
