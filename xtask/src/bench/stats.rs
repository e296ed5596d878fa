//! What can be said of a few measurements: medians, and intervals by resampling.
//!
//! Intervals are percentile bootstrap intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
//! chapter 13) of the ratio of two medians: an effect with an interval says more than a test of significance does
//! (Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). Contenders take turns within a round, so
//! rounds are resampled where enough of them have both: what slows a whole round down then slows both alike.

use serde::Serialize;

use super::random::Random;

/// How often is resampled.
const RESAMPLES: usize = 2000;
/// With fewer measurements no interval is told.
pub const FEWEST: usize = 3;
/// With fewer measurements [`told_apart`] tells nothing apart.
pub const FEWEST_FOR_STEPS: usize = 4;
/// A difference below this part counts as none: it is what two runs of the same differ by on a quiet machine.
pub const NOTICEABLE: f64 = 0.02;

/// One measurement, and the round that it was taken in.
pub type Sample = (u32, f64);

/// The median, and what lies around it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the measurements are at most this.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there are.
    pub runs: usize,
}

impl Spread {
    /// Of these measurements; none where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        let median = median(&mut values)?;
        Some(Self { median, min: values[0], max: *values.last()?, runs: values.len() })
    }
}

/// The median; sorts `values`. None where there are none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// Where the true value lies, most likely.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// From here.
    pub low: f64,
    /// To here.
    pub high: f64,
}

/// What a comparison of times comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It takes less time, beyond the interval.
    Faster,
    /// It takes more time, beyond the interval.
    Slower,
    /// Neither can be said.
    NoDifference,
    /// There are fewer than [`FEWEST`] measurements.
    TooFewRuns,
}

impl Verdict {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::NoDifference => "no difference",
            Self::TooFewRuns => "too few runs to say",
        }
    }
}

/// How one contender's times relate to another's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Median over median.
    pub value: f64,
    /// With 95 % confidence; none where there are too few measurements.
    pub interval: Option<Interval>,
    /// What that comes to.
    pub verdict: Verdict,
}

/// The times `of` over the times `against`; none where one has no measurements.
pub fn ratio(of: &[Sample], against: &[Sample], seed: u64) -> Option<Ratio> {
    let value = medians(of)? / medians(against)?;
    let interval = bootstrap(of, against, 0.95, seed, |of, against| of / against);
    let verdict = match interval {
        None => Verdict::TooFewRuns,
        Some(interval) if interval.high < 1.0 - NOTICEABLE => Verdict::Faster,
        Some(interval) if interval.low > 1.0 + NOTICEABLE => Verdict::Slower,
        Some(_) => Verdict::NoDifference,
    };
    Some(Ratio { value, interval, verdict })
}

/// By how much the times `of` exceed the times `against`, with an interval of 99 %, where the two can be told apart:
/// the interval does not hold 0, and the chance of such ranks is 5 % at most. Of many steps that are compared some would
/// stand out for nothing otherwise, for of few rounds the interval alone says little: three are on the same side in one
/// case of four.
pub fn told_apart(of: &[Sample], against: &[Sample], seed: u64) -> Option<(f64, Interval)> {
    let value = medians(of)? - medians(against)?;
    let interval = bootstrap(of, against, 0.99, seed, |of, against| of - against)?;
    let beyond = interval.low > 0.0 || interval.high < 0.0;
    (beyond && chance(of, against) <= 0.05).then_some((value, interval))
}

/// How likely two samples of one distribution lie at least as far apart: Mann and Whitney's test, both sides, exact (ties
/// count as if they were against a difference). "On a test of whether one of two random variables is stochastically
/// larger than the other", Annals of Mathematical Statistics 18 (1947).
fn chance(of: &[Sample], against: &[Sample]) -> f64 {
    let count = |counts: &dyn Fn(f64, f64) -> bool| {
        of.iter().map(|one| against.iter().filter(|other| counts(one.1, other.1)).count()).sum::<usize>()
    };
    let u = count(&|one, other| one <= other).min(count(&|one, other| one >= other));
    // In how many of all orders there are so many pairs: the coefficients of the Gaussian binomial.
    let mut orders = vec![0.0; of.len() * against.len() + 1];
    orders[0] = 1.0;
    for step in 1..=of.len() {
        for pairs in (step + against.len()..orders.len()).rev() {
            orders[pairs] -= orders[pairs - step - against.len()];
        }
        for pairs in step..orders.len() {
            orders[pairs] += orders[pairs - step];
        }
    }
    let all: f64 = orders.iter().sum();
    (2.0 * orders.iter().take(u + 1).sum::<f64>() / all).min(1.0)
}

fn medians(samples: &[Sample]) -> Option<f64> {
    median(&mut samples.iter().map(|(_, value)| *value).collect::<Vec<_>>())
}

fn bootstrap(
    of: &[Sample],
    against: &[Sample],
    confidence: f64,
    seed: u64,
    effect: impl Fn(f64, f64) -> f64,
) -> Option<Interval> {
    if of.len() < FEWEST || against.len() < FEWEST {
        return None;
    }
    let other = |round: u32| against.iter().find(|(other, _)| *other == round).map(|(_, value)| *value);
    let pairs: Vec<(f64, f64)> = of.iter().filter_map(|(round, value)| Some((*value, other(*round)?))).collect();
    let mut random = Random::new(seed);
    let mut effects = Vec::with_capacity(RESAMPLES);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..RESAMPLES {
        left.clear();
        right.clear();
        if pairs.len() >= FEWEST {
            for _ in 0..pairs.len() {
                let (one, other) = pairs[random.below(pairs.len())];
                left.push(one);
                right.push(other);
            }
        } else {
            left.extend((0..of.len()).map(|_| of[random.below(of.len())].1));
            right.extend((0..against.len()).map(|_| against[random.below(against.len())].1));
        }
        effects.push(effect(median(&mut left)?, median(&mut right)?));
    }
    effects.sort_by(f64::total_cmp);
    let tail = (1.0 - confidence) / 2.0;
    let place = |part: f64| ((RESAMPLES - 1) as f64 * part).round() as usize;
    Some(Interval { low: effects[place(tail)], high: effects[place(1.0 - tail)] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(values: &[f64]) -> Vec<Sample> {
        (1..).zip(values.iter().copied()).collect()
    }

    #[test]
    fn medians_of_few() {
        for (values, expected) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[4.0, 1.0], Some(2.5)), (&[9.0, 1.0, 2.0], Some(2.0))]
        {
            assert_eq!(median(&mut values.to_vec()), expected);
        }
        let spread = Spread::of([5.0, 1.0, 3.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max, spread.runs), (3.0, 1.0, 5.0, 3));
    }

    #[test]
    fn what_is_twice_as_long_in_each_round_is_so_whatever_the_rounds_are_like() {
        let one = rounds(&[10.0, 50.0, 20.0, 11.0, 90.0]);
        let two: Vec<Sample> = one.iter().map(|(round, value)| (*round, value * 2.0)).collect();
        let ratio = ratio(&two, &one, 1).unwrap();
        assert_eq!((ratio.value, ratio.verdict), (2.0, Verdict::Slower));
        // Resampled in pairs, the ratio never varies.
        assert_eq!(ratio.interval, Some(Interval { low: 2.0, high: 2.0 }));
    }

    #[test]
    fn verdicts() {
        let of = |of: &[f64], against: &[f64]| ratio(&rounds(of), &rounds(against), 3).unwrap().verdict;
        let base = [60.0, 61.0, 59.5, 60.2, 60.4];
        assert_eq!(of(&base, &base), Verdict::NoDifference);
        assert_eq!(of(&[60.3, 60.1, 60.6, 59.0, 61.1], &base), Verdict::NoDifference);
        assert_eq!(of(&[61.0, 62.0, 60.5, 61.2, 61.4], &base), Verdict::NoDifference, "a second in sixty is nothing");
        assert_eq!(of(&[50.0, 51.0, 49.0, 50.5, 50.7], &base), Verdict::Faster);
        assert_eq!(of(&[70.0, 71.0, 69.0, 70.5, 70.7], &base), Verdict::Slower);
        assert_eq!(of(&[10.0, 10.0], &[20.0, 20.0]), Verdict::TooFewRuns);
        assert!(ratio(&[], &rounds(&base), 3).is_none());
    }

    #[test]
    fn where_rounds_do_not_match_each_side_is_resampled_by_itself() {
        let one: Vec<Sample> = [(1, 10.0), (2, 11.0), (3, 12.0)].into();
        let two: Vec<Sample> = [(3, 20.0), (4, 22.0), (5, 24.0)].into();
        let ratio = ratio(&two, &one, 5).unwrap();
        let interval = ratio.interval.unwrap();
        assert_eq!((interval.low, interval.high), (20.0 / 12.0, 24.0 / 10.0), "all of the range with so few");
        assert_eq!(ratio.verdict, Verdict::Slower);
    }

    #[test]
    fn the_interval_holds_the_truth_about_as_often_as_it_says() {
        // Two samples of one distribution: their ratio is 1.
        let mut random = Random::new(11);
        let mut noise = || 60.0 + (0..12).map(|_| random.below(1000) as f64 / 1000.0).sum::<f64>();
        let mut held = 0;
        for seed in 0..200 {
            let one: Vec<f64> = (0..9).map(|_| noise()).collect();
            let two: Vec<f64> = (0..9).map(|_| noise()).collect();
            let interval = ratio(&rounds(&one), &rounds(&two), seed).unwrap().interval.unwrap();
            held += usize::from(interval.low <= 1.0 && 1.0 <= interval.high);
        }
        assert!(held >= 178, "in {held} of 200");
    }

    #[test]
    fn the_chance_of_ranks_is_that_of_the_tables() {
        let chance = |of: &[f64], against: &[f64]| chance(&rounds(of), &rounds(against));
        // U = 0 of 3 and 3, and 2 of 5 and 5, as in Mann and Whitney's tables.
        assert!((chance(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]) - 2.0 / 20.0).abs() < 1e-12);
        let five = chance(&[1.0, 2.0, 3.0, 4.0, 7.0], &[5.0, 6.0, 8.0, 9.0, 10.0]);
        assert!((five - 2.0 * 4.0 / 252.0).abs() < 1e-12, "{five}");
        assert_eq!(chance(&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]), 1.0);
    }

    #[test]
    fn an_excess_is_in_seconds() {
        let (long, short) = (rounds(&[4.0, 4.1, 4.2, 4.3]), rounds(&[1.0, 1.1, 1.2, 1.3]));
        let (value, interval) = told_apart(&long, &short, 1).unwrap();
        assert!((value - 3.0).abs() < 1e-9 && (interval.low - 3.0).abs() < 1e-9, "{value} {interval:?}");
        assert!(told_apart(&long[..3], &short[..3], 1).is_none(), "three of three may be chance");
        assert!(told_apart(&long[..1], &short[..1], 1).is_none());
    }

    #[test]
    fn what_is_the_same_is_seldom_told_apart() {
        let mut random = Random::new(13);
        let mut five =
            || rounds(&[(); 5].map(|()| 6.0 + (0..12).map(|_| random.below(100) as f64 / 100.0).sum::<f64>()));
        let told = (0..1000).filter(|seed| told_apart(&five(), &five(), *seed).is_some()).count();
        assert!(told <= 30, "{told} of 1000");
    }
}
