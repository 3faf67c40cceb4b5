//! The exact stage: arcs are cut by many optimal values of the master program, and what is left goes to the arc-flow program.

use super::arcs::Arcs;
use super::flow::{self, Flow};
use super::generation::{Generated, Generation};
use crate::budget::Steps;
use crate::random::{GOLDEN, mixed, share};

/// Optimal values that arcs are cut by: each of demands that were moved by chance, by so much at most.
const DUALS: u64 = 25;
const MOVED: f64 = 0.1;
/// Rounds of column generation for each.
const ROUNDS: u32 = 60;
/// So few arcs are not cut any more; so many are too many for the program.
const FEW: usize = 200;
const MOST: usize = 20_000;

/// A packing into so many bins, or that there is none.
pub fn packed_into(generation: &mut Generation, bins: u64, steps: &mut Steps) -> Flow {
    let Some(mut arcs) = Arcs::new(generation.types, bins) else { return Flow::Unknown };
    generation.master.release();
    let mut duals: Vec<Generated> = Vec::new();
    for dual in 0..DUALS {
        if arcs.left <= FEW && dual > 0 {
            break;
        }
        let Some(generated) = moved(generation, dual, steps) else { return Flow::Unknown };
        if !steps.take(arcs.steps()) {
            return Flow::Unknown;
        }
        arcs.cut(&generated.values, generated.most);
        duals.push(generated);
    }
    // What later values have cut makes earlier ones cut more.
    for generated in &duals {
        if arcs.left <= FEW || !steps.take(arcs.steps()) {
            break;
        }
        arcs.cut(&generated.values, generated.most);
    }
    if arcs.left > MOST { Flow::Unknown } else { flow::solve(&arcs, steps) }
}

/// The values for demands that are moved a little; the first are of those that there are.
fn moved(generation: &mut Generation, dual: u64, steps: &mut Steps) -> Option<Generated> {
    let demands = generation.types.demands.clone();
    if dual == 0 {
        return generation.run(&demands, ROUNDS, steps);
    }
    let by: Vec<f64> = (0..demands.len() as u64).map(|kind| MOVED * named(dual, kind)).collect();
    let shift = generation.master.add_shift(&by)?;
    generation.master.shift(shift, 1.0);
    let generated = generation.run(&demands, ROUNDS, steps);
    generation.master.shift(shift, 0.0);
    generated
}

/// A number below one that two numbers name.
fn named(one: u64, other: u64) -> f64 {
    share(mixed(one.wrapping_mul(GOLDEN).wrapping_add(other.wrapping_mul(0xD1B5_4A32_D192_ED03))))
}
