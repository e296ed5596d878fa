//! What can be said of a few measurements: medians, and intervals by resampling.
//!
//! Intervals are percentile bootstrap intervals (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
//! chapter 13) of the ratio of two medians: an effect with an interval says more than a test of significance does
//! (Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). Contenders take turns within a round, so
//! rounds that have both are resampled: what slows a whole round down then slows both alike.
//!
//! Such an interval is never wider than what was measured, which holds the truth in three of four cases with three rounds,
//! and in the 95 % that it is meant for from five on. So nothing is told apart by an interval alone, but also by Student's
//! test of the rounds' differences ("The probable error of a mean", Biometrika 6, 1908), which allows for there being few.

use serde::Serialize;

use crate::random::Random;

/// How often is resampled.
const RESAMPLES: usize = 2000;
/// With fewer rounds that have both no interval is told.
pub const FEWEST: usize = 3;
/// From so many rounds on an interval of 95 % holds the truth that often.
const ENOUGH: u32 = 5;
/// The chance at which two that are the same are told apart.
const CHANCE: f64 = 0.05;
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
    /// It takes less time, beyond the interval and beyond chance.
    Faster,
    /// It takes more time, beyond the interval and beyond chance.
    Slower,
    /// Neither can be said.
    NoDifference,
    /// Fewer than [`FEWEST`] rounds have both.
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
    /// With 95 % confidence; none where there are too few rounds.
    pub interval: Option<Interval>,
    /// What that comes to.
    pub verdict: Verdict,
}

/// The times `of` over the times `against`; none where one has no measurements.
pub fn ratio(of: &[Sample], against: &[Sample], seed: u64) -> Option<Ratio> {
    let value = medians(of)? / medians(against)?;
    let interval = bootstrap(of, against, 0.95, seed, |of, against| of / against);
    // What slows a round down makes it so many times as long.
    let beyond_chance =
        || chance(&pairs(of, against).map(|(of, against)| (of / against).ln()).collect::<Vec<_>>()) <= CHANCE;
    let verdict = match interval {
        None => Verdict::TooFewRuns,
        Some(interval) if interval.high < 1.0 - NOTICEABLE && beyond_chance() => Verdict::Faster,
        Some(interval) if interval.low > 1.0 + NOTICEABLE && beyond_chance() => Verdict::Slower,
        Some(_) => Verdict::NoDifference,
    };
    Some(Ratio { value, interval, verdict })
}

/// By how much the times `of` exceed the times `against`, with an interval of 99 %, where the two can be told apart
/// although they are only one pair of `all` that are looked at: the interval does not hold 0, and the chance of such
/// differences within rounds, times `all`, is 5 % at most (Bonferroni's correction).
pub fn told_apart(of: &[Sample], against: &[Sample], all: usize, seed: u64) -> Option<(f64, Interval)> {
    let value = medians(of)? - medians(against)?;
    let interval = bootstrap(of, against, 0.99, seed, |of, against| of - against)?;
    let beyond = interval.low > 0.0 || interval.high < 0.0;
    let differences: Vec<f64> = pairs(of, against).map(|(of, against)| of - against).collect();
    (beyond && chance(&differences) * all as f64 <= CHANCE).then_some((value, interval))
}

/// How likely differences whose mean is 0 in truth are at least as far from it as these: Student's test, both sides.
fn chance(differences: &[f64]) -> f64 {
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0);
    match differences.len() {
        0 | 1 => 1.0,
        _ if mean == 0.0 => 1.0,
        more => student(mean / (variance / count).sqrt(), more - 1),
    }
}

/// How likely |t| is at least so large with so many degrees of freedom. Source: Abramowitz and Stegun, "Handbook of
/// mathematical functions", 26.7.3 and 26.7.4.
fn student(t: f64, freedom: usize) -> f64 {
    let angle = (t.abs() / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2;
    let mut term = if odd == 1 { cos } else { 1.0 };
    let mut sum = 0.0;
    for at in 1..=freedom / 2 {
        sum += term;
        term *= cos * cos * (2 * at - 1 + odd) as f64 / (2 * at + odd) as f64;
    }
    let within = if odd == 1 { (angle + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum };
    1.0 - within
}

/// How often an interval of so few rounds holds the truth: as often as their range does, which is all that it can be;
/// none where that is what the interval is meant for.
pub fn range_holds(rounds: u32) -> Option<f64> {
    (FEWEST as u32..ENOUGH).contains(&rounds).then(|| 1.0 - 2.0 * 0.5_f64.powi(rounds as i32))
}

/// The measurements of the rounds that have both.
fn pairs(of: &[Sample], against: &[Sample]) -> impl Iterator<Item = (f64, f64)> {
    let other = |round: u32| against.iter().find(|(other, _)| *other == round).map(|(_, value)| *value);
    of.iter().filter_map(move |(round, value)| Some((*value, other(*round)?)))
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
    let pairs: Vec<(f64, f64)> = pairs(of, against).collect();
    if pairs.len() < FEWEST {
        return None;
    }
    let mut random = Random::new(seed);
    let mut effects = Vec::with_capacity(RESAMPLES);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..RESAMPLES {
        left.clear();
        right.clear();
        for _ in 0..pairs.len() {
            let (one, other) = pairs[random.below(pairs.len())];
            left.push(one);
            right.push(other);
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
    fn only_rounds_that_have_both_are_compared() {
        let one: Vec<Sample> = [(1, 10.0), (2, 11.0), (3, 12.0), (4, 13.0)].into();
        let two: Vec<Sample> = [(2, 22.0), (3, 24.0), (4, 26.0), (5, 90.0)].into();
        let whole = ratio(&two, &one, 5).unwrap();
        assert_eq!((whole.interval, whole.verdict), (Some(Interval { low: 2.0, high: 2.0 }), Verdict::Slower));
        let few = ratio(&two, &one[..3], 5).unwrap();
        assert_eq!((few.interval, few.verdict), (None, Verdict::TooFewRuns));
    }

    /// So many measurements of the same, in rounds that differ more than they do.
    fn two_of_the_same(random: &mut Random, count: usize) -> (Vec<Sample>, Vec<Sample>) {
        let mut noise = |size: f64| size * ((0..12).map(|_| random.below(1000) as f64 / 1000.0).sum::<f64>() - 6.0);
        let slow: Vec<f64> = (0..count).map(|_| noise(0.1)).collect();
        let mut one = || rounds(&slow.iter().map(|slow| 60.0 * (slow + noise(0.05)).exp()).collect::<Vec<_>>());
        (one(), one())
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says_from_five_rounds_on() {
        let mut random = Random::new(11);
        for (count, at_least, at_most) in [(3, 205, 245), (4, 245, 275), (5, 270, 300), (7, 270, 300), (9, 270, 300)] {
            let mut held = 0;
            for seed in 0..300 {
                let (one, two) = two_of_the_same(&mut random, count);
                let interval = ratio(&one, &two, seed).unwrap().interval.unwrap();
                held += usize::from(interval.low <= 1.0 && 1.0 <= interval.high);
            }
            assert!((at_least..=at_most).contains(&held), "{held} of 300 with {count} rounds");
        }
        assert_eq!([2, 3, 4, 5].map(range_holds), [None, Some(0.75), Some(0.875), None]);
    }

    #[test]
    fn what_is_the_same_is_seldom_told_apart() {
        let mut random = Random::new(13);
        for count in [3, 5, 7] {
            let (mut totals, mut steps) = (0, 0);
            for seed in 0..300 {
                let (one, two) = two_of_the_same(&mut random, count);
                totals += usize::from(ratio(&one, &two, seed).unwrap().verdict != Verdict::NoDifference);
                steps += usize::from(told_apart(&one, &two, 20, seed).is_some());
            }
            assert!(totals <= 20 && steps <= 3, "{totals} and {steps} of 300 with {count} rounds");
        }
    }

    #[test]
    fn what_differs_in_each_round_is_told_apart() {
        let mut random = Random::new(17);
        let mut told = 0;
        for seed in 0..100 {
            let (one, mut two) = two_of_the_same(&mut random, 5);
            // Four times as much as two of the same differ by.
            two.iter_mut().for_each(|(_, value)| *value *= 1.3);
            told += usize::from(ratio(&two, &one, seed).unwrap().verdict == Verdict::Slower);
        }
        assert!(told >= 90, "{told} of 100");
    }

    #[test]
    fn the_chance_is_that_of_the_tables() {
        // Student's t at 5 % and 1 %, both sides.
        for (freedom, five, one) in [(1, 12.706, 63.657), (2, 4.303, 9.925), (4, 2.776, 4.604), (7, 2.365, 3.499)] {
            assert!((student(five, freedom) - 0.05).abs() < 1e-4, "{freedom}");
            assert!((student(-one, freedom) - 0.01).abs() < 1e-4, "{freedom}");
        }
        assert!((student(2.042, 30) - 0.05).abs() < 1e-4);
        // The sleep that Student measured: extra hours with one drug over the other.
        let sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];
        assert!((chance(&sleep) - 0.002833).abs() < 1e-6, "{}", chance(&sleep));
        assert_eq!((chance(&[]), chance(&[3.0]), chance(&[0.0, 0.0])), (1.0, 1.0, 1.0));
        assert!(chance(&[3.0, 3.0, 3.0]) < 1e-9);
    }

    #[test]
    fn an_excess_is_in_seconds() {
        let (long, short) = (rounds(&[4.0, 4.1, 4.2, 4.3]), rounds(&[1.0, 1.1, 1.2, 1.3]));
        let (value, interval) = told_apart(&long, &short, 20, 1).unwrap();
        assert!((value - 3.0).abs() < 1e-9 && (interval.low - 3.0).abs() < 1e-9, "{value} {interval:?}");
        assert!(told_apart(&long[..2], &short[..2], 1, 1).is_none());
        let uneven = rounds(&[2.0, 7.0, 3.0]);
        assert!(told_apart(&uneven, &short[..3], 1, 1).is_none(), "three of three may be chance");
    }
}
