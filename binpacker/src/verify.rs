//! An independent check that a plan is one for its problem. Shares no code with what makes plans.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::plan::{Bundle, Part, Plan};
use crate::problem::{Item, Problem};

/// What is wrong with `plan`, if something is: a test not exactly once, a relation split or out of order, a bundle over
/// a limit that is not said to be, a figure that is not what its tests come to, a bound that the plan is below.
pub fn verify(problem: &Problem, plan: &Plan) -> Result<(), String> {
    let items: HashMap<u32, (usize, Item)> =
        problem.items.iter().enumerate().map(|(position, item)| (item.test, (position, *item))).collect();
    let places = each_test_once(&items, plan)?;
    relations_hold(problem, plan, &places)?;
    for (number, bundle) in plan.bundles.iter().enumerate() {
        let oversize = plan.oversize.iter().find(|o| o.bundle as usize == number).map(|o| &o.part);
        figures_are_right(problem, bundle, &items).map_err(|e| format!("bundle {number}: {e}"))?;
        limits_hold(problem, plan, bundle, oversize, &items).map_err(|e| format!("bundle {number}: {e}"))?;
        order_is_the_frameworks(problem, bundle, &items).map_err(|e| format!("bundle {number}: {e}"))?;
    }
    if !plan.bundles.is_sorted_by_key(|bundle| std::cmp::Reverse(bundle.total_micros())) {
        return Err("bundles are not longest first".into());
    }
    if plan.lower_bound as usize > plan.bundles.len() {
        return Err(format!("{} bundles are below the bound {}", plan.bundles.len(), plan.lower_bound));
    }
    is_at_most(plan.cap_micros, problem.cap_ms.saturating_mul(1000), "the effective cap")
}

/// Where each test is: (bundle, place).
fn each_test_once(
    items: &HashMap<u32, (usize, Item)>,
    plan: &Plan,
) -> Result<HashMap<u32, (usize, usize)>, String> {
    let mut places = HashMap::with_capacity(items.len());
    for (number, bundle) in plan.bundles.iter().enumerate() {
        if bundle.tests.is_empty() {
            return Err(format!("bundle {number} is empty"));
        }
        for (place, test) in bundle.tests.iter().enumerate() {
            if places.insert(*test, (number, place)).is_some() {
                return Err(format!("test {test} is there twice"));
            }
        }
    }
    match places.keys().find(|test| !items.contains_key(test)) {
        Some(test) => Err(format!("test {test} is no item")),
        None if places.len() < items.len() => Err(format!("{} of {} tests", places.len(), items.len())),
        None => Ok(places),
    }
}

fn relations_hold(
    problem: &Problem,
    plan: &Plan,
    places: &HashMap<u32, (usize, usize)>,
) -> Result<(), String> {
    for relation in &problem.relations {
        let own: Vec<_> = relation.tests.iter().filter_map(|test| places.get(test)).collect();
        if own.windows(2).any(|pair| pair[0].0 != pair[1].0) {
            return Err(format!("relation {:?} is split", relation.tests));
        }
        if relation.ordered && !own.is_sorted() {
            return Err(format!("relation {:?} is out of order", relation.tests));
        }
    }
    let said = plan.oversize.iter().map(|o| o.bundle).collect::<BTreeSet<_>>();
    if said.len() < plan.oversize.len() { Err("a bundle is oversize twice".into()) } else { Ok(()) }
}

fn figures_are_right(
    problem: &Problem,
    bundle: &Bundle,
    items: &HashMap<u32, (usize, Item)>,
) -> Result<(), String> {
    let micros = bundle.tests.iter().fold(0u64, |sum, test| sum.saturating_add(items[test].1.micros));
    let scopes: HashSet<u32> = bundle.tests.iter().map(|test| items[test].1.scope).collect();
    let fixed = problem.fixed_ms.saturating_mul(1000);
    let setup = scopes.iter().fold(fixed, |sum, &scope| sum.saturating_add(problem.setup.of(scope)));
    if (micros, setup) == (bundle.micros, bundle.setup_micros) {
        Ok(())
    } else {
        Err(format!("says {} + {}, is {micros} + {setup}", bundle.micros, bundle.setup_micros))
    }
}

fn limits_hold(
    problem: &Problem,
    plan: &Plan,
    bundle: &Bundle,
    oversize: Option<&Part>,
    items: &HashMap<u32, (usize, Item)>,
) -> Result<(), String> {
    let most = problem.max_tests_per_bundle.max(1) as usize;
    let cap = problem.cap_ms.saturating_mul(1000).min(u64::MAX - 1);
    let total = bundle.total_micros();
    match oversize {
        Some(_) if total <= cap && bundle.tests.len() <= most => Err("is not oversize".into()),
        Some(Part::Test(test)) if bundle.tests == [*test] => Ok(()),
        Some(Part::Relation(tests)) if bundle.tests == *tests => Ok(()),
        Some(part) => Err(format!("is not {part:?} alone")),
        None => {
            is_at_most(bundle.tests.len() as u64, most as u64, "the number of tests")?;
            is_at_most(total, cap, "its load")?;
            // Over the effective cap only for a piece of one scope that would else not be worth the setup.
            let scopes: HashSet<u32> = bundle.tests.iter().map(|test| items[test].1.scope).collect();
            let piece = scopes.len() == 1 && scopes.iter().all(|&scope| problem.setup.of(scope) > 0);
            if piece { Ok(()) } else { is_at_most(total, plan.cap_micros, "its load") }
        }
    }
}

fn order_is_the_frameworks(
    problem: &Problem,
    bundle: &Bundle,
    items: &HashMap<u32, (usize, Item)>,
) -> Result<(), String> {
    let ordered: HashSet<u32> =
        problem.relations.iter().filter(|r| r.ordered).flat_map(|r| r.tests.iter().copied()).collect();
    let free = bundle.tests.iter().filter(|test| !ordered.contains(test));
    if free.map(|test| items[test].0).is_sorted() {
        Ok(())
    } else {
        Err("is not in the framework's order".into())
    }
}

fn is_at_most(value: u64, limit: u64, what: &str) -> Result<(), String> {
    if value <= limit { Ok(()) } else { Err(format!("{what} is {value}, more than {limit}")) }
}
