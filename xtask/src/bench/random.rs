//! Numbers that look random and follow from a seed.

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers that follow from this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // The bias is some 2^-60 for the small numbers that are drawn here.
        usize::try_from(self.next() % end as u64).unwrap_or(0)
    }

    /// Puts `list` in a random order, each order being as likely (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
    }
}

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
    fn the_numbers_are_those_of_the_paper() {
        let mut random = Random::new(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

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
