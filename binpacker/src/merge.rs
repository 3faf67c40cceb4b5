//! Joins blocks that share some of their scopes: classes of a file, files of a service profile, scopes that cross.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::blocks::Block;
use crate::budget::Steps;
use crate::load::Capacity;
use crate::problem::Scopes;
use crate::scoped::{self, Bins, Piece, Rule};
use crate::scopes::union;

/// The same units in fewer blocks: for each scope that costs something and is in blocks of several sets, the dearest first,
/// as few as hold what uses it.
pub fn merged(mut blocks: Vec<Block>, scopes: &Scopes, capacity: &Capacity) -> Vec<Block> {
    for scope in shared(&blocks, scopes) {
        let (users, mut rest): (Vec<_>, Vec<_>) =
            blocks.into_iter().partition(|block| block.scopes.binary_search(&scope).is_ok());
        rest.extend(joined(users, scopes, capacity));
        blocks = rest;
    }
    blocks
}

/// The scopes to join by, in turn.
fn shared(blocks: &[Block], scopes: &Scopes) -> Vec<u32> {
    // The first set that a scope was seen in, and whether there are others.
    let mut seen: BTreeMap<u32, (&[u32], bool)> = BTreeMap::new();
    for block in blocks {
        for &scope in block.scopes.iter().filter(|&&scope| scopes.micros(scope) > 0) {
            let (first, several) = seen.entry(scope).or_insert((&block.scopes, false));
            *several |= *first != block.scopes;
        }
    }
    let several = seen.into_iter().filter(|(_, (_, several))| *several);
    let mut shared: Vec<u32> = several.map(|(scope, _)| scope).collect();
    shared.sort_by_key(|&scope| (Reverse(scopes.micros(scope)), scope));
    shared
}

fn joined(users: Vec<Block>, scopes: &Scopes, capacity: &Capacity) -> Vec<Block> {
    let pieces: Vec<Piece> =
        users.iter().map(|block| Piece { load: block.load, scopes: &block.scopes }).collect();
    let mut order: Vec<u32> = (0..users.len() as u32).collect();
    let total = |place: &u32| {
        let piece = pieces[*place as usize];
        piece.load.micros.saturating_add(scopes.sum(piece.scopes))
    };
    order.sort_by_key(|place| (Reverse(total(place)), *place));
    let bins = Bins::new(scopes, capacity);
    let mut steps = Steps::new(u64::MAX, &|| false);
    let fitted = scoped::fit(&pieces, &order, bins, Rule::SameScope, &mut steps).unwrap_or_default();
    let block = |places: Vec<u32>| {
        places.iter().map(|&place| &users[place as usize]).fold(Block::default(), |mut all, block| {
            all.units.extend(&block.units);
            all.load = all.load.plus(block.load);
            all.scopes = union(&all.scopes, &block.scopes);
            all
        })
    };
    fitted.into_iter().map(block).collect()
}
