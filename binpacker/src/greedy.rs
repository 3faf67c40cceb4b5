//! The greedy stage: best fit decreasing over blocks.

use std::cmp::Reverse;

use crate::blocks::{Block, Blocks};
use crate::cap::Limits;
use crate::fit;

/// A bundle of the plan to be: its units, and whether it is over a limit.
pub struct Bin {
    pub units: Vec<u32>,
    pub oversize: bool,
}

pub fn bins(blocks: &Blocks, limits: &Limits, one_block_each: bool) -> Vec<Bin> {
    let mut by_load: Vec<&Block> = blocks.blocks.iter().collect();
    by_load.sort_by_key(|block| (Reverse(block.load), block.units.first().copied()));
    let fitted = if one_block_each {
        (0u32..).take(by_load.len()).map(|place| vec![place]).collect()
    } else {
        fit::best_fit(by_load.iter().map(|block| (block.load, block.tests)), limits.soft, limits.max_tests)
    };
    let joined = |places: Vec<u32>| Bin {
        units: places.iter().flat_map(|&place| by_load[place as usize].units.iter().copied()).collect(),
        oversize: false,
    };
    let alone = |block: &Block| Bin { units: block.units.clone(), oversize: true };
    blocks.oversize.iter().map(alone).chain(fitted.into_iter().map(joined)).collect()
}
