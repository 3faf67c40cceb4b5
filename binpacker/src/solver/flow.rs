//! The arc-flow program: packings are flows from load nothing to a full bin that use each item once (Valerio de Carvalho 1999).

use good_lp::solvers::highs::{HighsParallelType, highs};
use good_lp::{
    Expression, ProblemVariables, ResolutionError, Solution, SolverModel, Variable, constraint, variable,
};

use super::arcs::Arcs;
use super::types::Pattern;
use crate::budget::Steps;

/// Nodes of the search tree, at most.
const NODES: i32 = 5_000;
/// An arc's share of such a search, in steps.
const STEPS_PER_ARC: u64 = 4_000;

pub enum Flow {
    Found(Vec<Pattern>),
    Infeasible,
    /// The steps, the nodes or the time did not suffice.
    Unknown,
}

/// A packing of all that the arcs allow, if there is one.
pub fn solve(arcs: &Arcs, steps: &mut Steps) -> Flow {
    let list = arcs.list();
    if list.is_empty() {
        return Flow::Infeasible;
    }
    if !steps.take(list.len() as u64 * STEPS_PER_ARC) {
        return Flow::Unknown;
    }
    let (types, view) = (arcs.types, arcs.types.plain_view());
    let mut variables = ProblemVariables::new();
    let mut out: Vec<Expression> = vec![Expression::default(); view.capacity + 1];
    let mut met: Vec<Expression> = vec![Expression::default(); types.len()];
    let mut touched = vec![false; view.capacity + 1];
    let mut flows: Vec<Variable> = Vec::with_capacity(list.len());
    for &(load, kind) in &list {
        let flow = variables.add(variable().integer().min(0).max(types.demands[kind]));
        let end = load + view.sizes[kind];
        out[load] += flow;
        out[end] -= flow;
        met[kind] += flow;
        (touched[load], touched[end]) = (true, true);
        flows.push(flow);
    }
    for load in
        (0..view.capacity).filter(|&load| touched[load] && (view.capacity - load) as u64 <= arcs.waste)
    {
        let rest = variables.add(variable().integer().min(0));
        out[load] += rest;
        out[view.capacity] -= rest;
    }
    let mut model = variables
        .minimise(Expression::default())
        .using(highs)
        .set_parallel(HighsParallelType::Off)
        .set_threads(1)
        .set_option("mip_rel_gap", 0.0)
        .set_option("mip_max_nodes", NODES);
    if let Some(seconds) = steps.seconds_left() {
        model = model.set_time_limit(seconds);
    }
    for (load, out) in
        out.into_iter().enumerate().filter(|(load, _)| touched[*load] || *load == view.capacity)
    {
        let supply = match load {
            0 => arcs.bins as f64,
            load if load == view.capacity => -(arcs.bins as f64),
            _ => 0.0,
        };
        model.add_constraint(constraint!(out == supply));
    }
    for (met, &demand) in met.into_iter().zip(&types.demands) {
        model.add_constraint(constraint!(met == f64::from(demand)));
    }
    match model.solve() {
        Ok(solution) => {
            let flows: Vec<u32> =
                flows.iter().map(|&flow| solution.value(flow).round().max(0.0) as u32).collect();
            match paths(arcs, &list, flows) {
                Some(bins) => Flow::Found(bins),
                None => Flow::Unknown,
            }
        }
        Err(ResolutionError::Infeasible) => Flow::Infeasible,
        Err(_) => {
            steps.ask();
            Flow::Unknown
        }
    }
}

/// A flow taken apart into bins; checked, as all that is said in floating point.
fn paths(arcs: &Arcs, list: &[(usize, usize)], mut flows: Vec<u32>) -> Option<Vec<Pattern>> {
    let mut bins = Vec::new();
    while bins.len() as u64 <= arcs.bins {
        let (mut load, mut pattern) = (0, Pattern::new());
        loop {
            let from = list.partition_point(|arc| arc.0 < load);
            let next = (from..list.len()).take_while(|&at| list[at].0 == load).find(|&at| flows[at] > 0);
            let Some(at) = next else { break };
            flows[at] -= 1;
            load += arcs.types.plain_view().sizes[list[at].1];
            pattern.push((list[at].1 as u32, 1));
        }
        if pattern.is_empty() {
            break;
        }
        bins.push(pattern);
    }
    let whole = arcs.types.residual(bins.iter().map(|bin| (bin, 1))).iter().all(|&left| left == 0);
    (whole && bins.len() as u64 <= arcs.bins && flows.iter().all(|&flow| flow == 0)).then_some(bins)
}
