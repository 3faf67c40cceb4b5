//! The order inside related tests: the framework's, except where an ordered relation says otherwise.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// `members` (ascending positions) so that every edge's first end comes before its second, otherwise ascending; or the
/// positions of a cycle. Both ends of each edge are members.
pub fn sorted(members: &[u32], edges: &[(u32, u32)]) -> Result<Vec<u32>, Vec<u32>> {
    if edges.iter().all(|(before, after)| before < after) {
        return Ok(members.to_vec());
    }
    let local = |position: u32| members.partition_point(|&m| m < position);
    let mut successors = vec![Vec::new(); members.len()];
    let mut waits_for = vec![0u32; members.len()];
    for &(before, after) in edges {
        successors[local(before)].push(local(after));
        waits_for[local(after)] += 1;
    }
    let free = (0..members.len()).filter(|&m| waits_for[m] == 0);
    let mut ready: BinaryHeap<_> = free.map(Reverse).collect();
    let mut order = Vec::with_capacity(members.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(members[next]);
        for &successor in &successors[next] {
            waits_for[successor] -= 1;
            if waits_for[successor] == 0 {
                ready.push(Reverse(successor));
            }
        }
    }
    if order.len() == members.len() { Ok(order) } else { Err(cycle(members, edges, &waits_for)) }
}

/// A cycle among the members that still wait: whoever waits, waits for one that waits, so walking back must repeat.
fn cycle(members: &[u32], edges: &[(u32, u32)], waits_for: &[u32]) -> Vec<u32> {
    let local = |position: u32| members.partition_point(|&m| m < position);
    let mut predecessor = vec![None; members.len()];
    for &(before, after) in edges {
        if waits_for[local(before)] > 0 {
            predecessor[local(after)] = Some(local(before));
        }
    }
    let mut met_at = vec![None; members.len()];
    let mut walk: Vec<usize> = Vec::new();
    let mut at = waits_for.iter().position(|&n| n > 0);
    while let Some(member) = at {
        if let Some(start) = met_at[member] {
            return walk[start..].iter().rev().map(|&m| members[m]).collect();
        }
        met_at[member] = Some(walk.len());
        walk.push(member);
        at = predecessor[member];
    }
    unreachable!("a member that waits has a predecessor that waits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_backward_edge_the_order_is_the_frameworks() {
        assert_eq!(sorted(&[2, 5, 9], &[(2, 9), (5, 9)]), Ok(vec![2, 5, 9]));
    }

    #[test]
    fn a_backward_edge_moves_only_what_it_must() {
        assert_eq!(sorted(&[2, 5, 9, 11], &[(9, 2)]), Ok(vec![5, 9, 2, 11]));
    }

    #[test]
    fn a_cycle_is_named_in_its_order() {
        let edges = [(1, 2), (2, 3), (3, 5), (5, 2), (5, 8)];
        let cycle = sorted(&[1, 2, 3, 5, 8], &edges).unwrap_err();
        assert_eq!(cycle.len(), 3);
        for (i, &position) in cycle.iter().enumerate() {
            assert!(edges.contains(&(position, cycle[(i + 1) % cycle.len()])), "{cycle:?}");
        }
    }
}
