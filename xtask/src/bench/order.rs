//! In which order those who are compared run.

use crate::random::Random;

/// In which order the contenders, as numbers, run in this round.
pub(super) fn order(seed: u64, round: u32, contenders: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    // Rounds do not depend on each other, so that more of them can be added later.
    let mut random = Random::new(seed ^ u64::from(round).wrapping_mul(0xa076_1d64_78bd_642f));
    random.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_follows_from_seed_and_round_and_has_everyone_once() {
        let mut firsts = [0; 5];
        for round in 1..=500 {
            let round_order = order(7, round, 5);
            assert_eq!(round_order, order(7, round, 5));
            let mut sorted = round_order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
            firsts[round_order[0]] += 1;
        }
        assert!(firsts.iter().all(|&count| (60..=140).contains(&count)), "everyone is first as often: {firsts:?}");
        assert_ne!(
            (1..10).map(|round| order(1, round, 5)).collect::<Vec<_>>(),
            (1..10).map(|round| order(2, round, 5)).collect::<Vec<_>>()
        );
    }
}
