//! Diving: bins that the fractions of the master program ask for are settled, few at a time, and the program is solved again
//! for the rest, until heuristics pack what is left well enough.

use std::cmp::Reverse;

use super::generation::Generation;
use super::types::{Pattern, Types, View};
use crate::budget::Steps;
use crate::fit;
use crate::load::{Capacity, Load};
use crate::mbs;
use crate::risk::Risk;
use crate::scoped::{self, Bins, Piece, Rule};
use crate::scopes::Scopes;

/// Rounds of column generation after each settlement.
const ROUNDS: u32 = 30;
/// Subsets that are looked at for each bin of what is left, where that is not too much.
const NODES: u64 = 2_000;
const MBS_KINDS: usize = 5_000;
/// A fraction is as good as whole above this, where the greatest is above the other.
const NEARLY: f64 = 0.9;
const RATHER: f64 = 0.75;
const EPSILON: f64 = 1e-6;

/// At this depth, not the greatest fraction is rounded up, but the one of this rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discrepancy {
    pub depth: u32,
    pub rank: usize,
}

/// Dives in turn: first as the fractions say, then with one departure from it.
pub const DISCREPANCIES: [Discrepancy; 10] = {
    const fn of(depth: u32, rank: usize) -> Discrepancy {
        Discrepancy { depth, rank }
    }
    [of(0, 0), of(0, 1), of(1, 1), of(2, 1), of(0, 2), of(1, 2), of(2, 2), of(0, 3), of(1, 3), of(2, 3)]
};

/// Fewer bins than `most`, and as few as `enough` if that goes. `None` if the dive found none.
pub fn dive(
    generation: &mut Generation,
    (enough, most): (u64, u64),
    discrepancy: Discrepancy,
    steps: &mut Steps,
) -> Option<Vec<Pattern>> {
    generation.master.release();
    let mut best: Option<Vec<Pattern>> = None;
    for depth in 0.. {
        let fewest = best.as_ref().map_or(most, |bins| bins.len() as u64);
        let residual = generation.types.residual(generation.master.fixed());
        let settled = generation.master.fixed_bins();
        if settled >= fewest {
            break;
        }
        if let Some(rest) = packed(generation.types, &residual, steps)
            && settled + (rest.len() as u64) < fewest
        {
            let settled = generation
                .master
                .fixed()
                .flat_map(|(pattern, bins)| std::iter::repeat_n(pattern.clone(), bins as usize));
            let bins: Vec<Pattern> = settled.chain(rest).collect();
            let is_enough = bins.len() as u64 <= enough;
            best = Some(bins);
            if is_enough {
                break;
            }
        }
        let rank = if depth == discrepancy.depth { discrepancy.rank } else { 0 };
        if residual.iter().all(|&left| left == 0) || !settle(generation, &residual, (fewest, rank), steps) {
            break;
        }
    }
    generation.master.release();
    best
}

/// Settles what the fractions ask for; false if there is nothing, or no way to fewer bins than these.
fn settle(
    generation: &mut Generation,
    residual: &[u32],
    (fewest, rank): (u64, usize),
    steps: &mut Steps,
) -> bool {
    let Some(generated) = generation.run(residual, ROUNDS, steps) else { return false };
    let fractions = generated.fractions;
    if generated.converged && fractions.value > fewest as f64 - 1.0 + EPSILON {
        return false;
    }
    let columns = &generation.master.columns;
    let fixed: Vec<u32> = columns.iter().map(|column| column.fixed).collect();
    let mut open: Vec<(f64, usize)> = Vec::new();
    let mut settled = Vec::new();
    for (column, &amount) in fractions.amounts.iter().enumerate() {
        let whole = (amount + EPSILON).floor();
        if whole as u32 > fixed[column] {
            settled.push((column, whole as u32));
        }
        if amount - whole > EPSILON {
            open.push((amount - whole, column));
        }
    }
    // The greatest first; of several, the fullest, then the one that was found first.
    let fullness = |column: usize| -> usize {
        let pattern = &generation.master.columns[column].pattern;
        let sizes = &generation.types.views[0].sizes;
        pattern.iter().map(|&(kind, times)| sizes[kind as usize] * times as usize).sum()
    };
    open.sort_by(|a, b| {
        b.0.total_cmp(&a.0).then_with(|| fullness(b.1).cmp(&fullness(a.1))).then(a.1.cmp(&b.1))
    });
    let up = |column: usize| (column, (fractions.amounts[column] + EPSILON).floor() as u32 + 1);
    if let Some(&(greatest, _)) = open.first() {
        settled.push(up(open[rank.min(open.len() - 1)].1));
        let nearly = open.iter().skip(1).take_while(|(fraction, _)| greatest > RATHER && *fraction > NEARLY);
        settled.extend(nearly.map(|&(_, column)| up(column)));
    }
    for &(column, bins) in &settled {
        generation.master.fix(column, bins);
    }
    !settled.is_empty()
}

/// Bins for so many of each type: the best of several heuristics.
pub fn packed(types: &Types, demands: &[u32], steps: &mut Steps) -> Option<Vec<Pattern>> {
    let kinds: Vec<u32> =
        (0u32..).zip(demands).flat_map(|(kind, &n)| std::iter::repeat_n(kind, n as usize)).collect();
    if !steps.take(kinds.len() as u64 + 1) {
        return None;
    }
    let bins = if types.is_plain() {
        plainly(types.plain_view(), &kinds, steps)?
    } else {
        let by_view = types.views.iter().map(|view| with_setups(types, view, &kinds, steps));
        by_view.flatten().min_by_key(Vec::len)?
    };
    let pattern = |bin: Vec<u32>| {
        let mut kinds: Vec<u32> = bin.into_iter().map(|place| kinds[place as usize]).collect();
        kinds.sort_unstable();
        kinds.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect()
    };
    Some(bins.into_iter().map(pattern).collect())
}

/// The better of best fit and minimum bin slack: the places of each bin.
fn plainly(view: &View, kinds: &[u32], steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let size = |&kind: &u32| view.sizes[kind as usize] as u64;
    let room = view.capacity as u64;
    let loads = kinds.iter().map(|kind| Load { micros: size(kind), ..Load::default() });
    let bins = fit::best_fit(loads, &capacity(view));
    let total: u64 = kinds.iter().map(size).sum();
    if bins.len() as u64 <= total.div_ceil(room.max(1)) || kinds.len() > MBS_KINDS {
        return Some(bins);
    }
    let sizes: Vec<(u64, u32)> = kinds.iter().map(|kind| (size(kind), 0)).collect();
    let nodes = mbs::Room { nodes: NODES, ..mbs::Room::full(room, u32::MAX) };
    let slack = mbs::bins(&sizes, nodes, steps);
    [Some(bins), slack].into_iter().flatten().min_by_key(Vec::len)
}

fn capacity(view: &View) -> Capacity {
    Capacity { cap: view.capacity as u64, fixed: 0, max_tests: u32::MAX, risk: Risk::default() }
}

/// The best of best fit class by class, and by size, where bins that have paid for the class go before others or not.
fn with_setups(types: &Types, view: &View, kinds: &[u32], steps: &mut Steps) -> Option<Vec<Vec<u32>>> {
    let mut scopes = Scopes::default();
    let numbers: Vec<[u32; 1]> = view.setups.iter().map(|&setup| [scopes.add(setup as u64)]).collect();
    let piece = |&kind: &u32| {
        let micros = view.sizes[kind as usize] as u64;
        Piece { load: Load { micros, ..Load::default() }, scopes: &numbers[types.classes[kind as usize]] }
    };
    let pieces: Vec<Piece> = kinds.iter().map(piece).collect();
    let by_class: Vec<u32> = (0..kinds.len() as u32).collect();
    let mut by_size = by_class.clone();
    by_size.sort_by_key(|&place| (Reverse(pieces[place as usize].load.micros), place));
    let ways = [(&by_class, Rule::SameScope), (&by_size, Rule::SameScope), (&by_size, Rule::Fullest)];
    let found = ways
        .into_iter()
        .map(|(order, rule)| scoped::fit(&pieces, order, Bins::new(&scopes, &capacity(view)), rule, steps));
    found.flatten().min_by_key(Vec::len)
}
