//! Long sizes that do not go together: L2 (Martello and Toth 1990), and the pairs of those over a third.

use super::sizes::{Sizes, ceil};

/// For each threshold a up to half the capacity C: sizes over C - a have a bundle each, into which nothing of a or longer
/// goes; those over C/2 have a bundle each too; the rest of a and longer fills what these leave.
pub fn l2(sizes: &Sizes) -> u64 {
    let (all, capacity) = (&sizes.sizes, sizes.capacity);
    let halves = sizes.longer_than(capacity / 2);
    if halves == 0 {
        return ceil(sizes.sum(0, all.len()), capacity);
    }
    // Each distinct size is a threshold, at the end of its stretch; without any below half, the long ones are counted.
    let mut best = halves as u64;
    let mut end = halves;
    while end < all.len() {
        let threshold = all[end];
        end += all[end..].partition_point(|&s| s == threshold);
        let alone = sizes.longer_than(capacity - threshold).min(halves);
        let shared = (halves - alone) as u128;
        let room = shared * u128::from(capacity) - sizes.sum(alone, halves);
        let over = sizes.sum(halves, end).saturating_sub(room);
        best = best.max(halves as u64 + ceil(over, capacity));
    }
    best
}

/// At most two sizes over a third of the capacity go together: the longest with the shortest such, as long as that goes,
/// leaves the fewest alone.
pub fn pairs(sizes: &Sizes) -> u64 {
    let mut shortest = sizes.longer_than(sizes.capacity / 3);
    let (mut longest, mut bundles) = (0, 0);
    while longest < shortest {
        let pair = shortest - longest > 1
            && u128::from(sizes.sizes[longest]) + u128::from(sizes.sizes[shortest - 1])
                <= u128::from(sizes.capacity);
        shortest -= usize::from(pair);
        longest += 1;
        bundles += 1;
    }
    bundles
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l2_of(sizes: &[u64], capacity: u64) -> u64 {
        l2(&Sizes::of(sizes.to_vec(), capacity))
    }

    #[test]
    fn l2_sees_what_does_not_pair() {
        // Six of 60 % pair with nothing: L1 would say 4.
        assert_eq!(l2_of(&[6; 6], 10), 6);
        // 7 + 7 + 7 leave no room for 4: L1 says 4 of (21 + 12) / 10.
        assert_eq!(l2_of(&[7, 7, 7, 4, 4, 4], 10), 5);
        // Three of exactly a third fill a bundle.
        assert_eq!(l2_of(&[3; 9], 9), 3);
        assert_eq!(l2_of(&[5, 5, 5], 10), 2);
        assert_eq!(l2_of(&[], 10), 0);
        assert_eq!(l2_of(&[0, 0], 0), 0);
    }

    #[test]
    fn pairs_are_counted() {
        // 8 is alone; 6 + 4; 5 + 5; 5 is alone: L2 says 4 too, L1 says 4.
        let of = |sizes: &[u64]| pairs(&Sizes::of(sizes.to_vec(), 10));
        assert_eq!(of(&[8, 6, 5, 5, 5, 4]), 4);
        assert_eq!(of(&[6, 6, 6, 5]), 4);
        assert_eq!((of(&[4]), of(&[3, 3]), of(&[])), (1, 0, 0));
    }
}
