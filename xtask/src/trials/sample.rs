//! A small choice of cases that fits into a given time.

use super::{Cases, NONE_HERE, Script};
use crate::random::Random;

/// What of a trial is run.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<'s> {
    pub script: &'s Script,
    /// In the script's order.
    pub cases: Vec<String>,
    /// Why it is not all of them, where it is not.
    pub left_out: Option<String>,
}

/// One case of each trial, and then as many more as fit: by what `seed` draws, in turn. The trial that needs least comes
/// first, and what is left for the others is kept for them, so that as many as can be have one.
pub fn sample<'s>(trials: &[(&'s Script, Cases)], budget_s: f64, seed: u64) -> Vec<Part<'s>> {
    let mut random = Random::new(seed);
    let mut left_s = budget_s;
    let mut drawn: Vec<Draw<'_>> = trials.iter().map(|(script, cases)| Draw::new(script, cases, &mut random)).collect();
    let mut turns: Vec<usize> = (0..drawn.len()).collect();
    turns.sort_by(|&one, &other| drawn[one].least_s().total_cmp(&drawn[other].least_s()));
    let mut kept_s: f64 = drawn.iter().map(Draw::least_s).sum();
    if kept_s > budget_s {
        kept_s = 0.0;
    }
    loop {
        let before = left_s;
        for &turn in &turns {
            kept_s = (kept_s - drawn[turn].least_s()).max(0.0);
            left_s -= drawn[turn].draw(left_s - kept_s);
        }
        if left_s == before {
            break;
        }
    }
    let parts = trials.iter().zip(drawn).map(|((script, cases), draw)| {
        let names = cases.cases.iter().enumerate().filter(|(at, _)| draw.chosen.contains(at));
        let names: Vec<String> = names.map(|(_, (name, _))| name.clone()).collect();
        let left_out = script.not_sampled.clone().or_else(|| match names.len() {
            0 if cases.cases.is_empty() => Some(NONE_HERE.to_owned()),
            0 => Some(format!("not one of its cases fits into what is left of {budget_s:.0} s")),
            some if some < cases.cases.len() => Some(format!("a sample of {budget_s:.0} s, seed {seed}")),
            _ => None,
        });
        Part { script, cases: names, left_out }
    });
    parts.collect()
}

/// The cases of one trial in the order in which they are drawn.
struct Draw<'c> {
    cases: &'c Cases,
    open: Vec<usize>,
    chosen: Vec<usize>,
}

impl<'c> Draw<'c> {
    fn new(script: &Script, cases: &'c Cases, random: &mut Random) -> Draw<'c> {
        let mut open: Vec<usize> = (0..cases.cases.len()).collect();
        random.shuffle(&mut open);
        if script.not_sampled.is_some() {
            open.clear();
        }
        Draw { cases, open, chosen: Vec::new() }
    }

    /// The time of its shortest open case, with what it needs beforehand; 0 where none is open.
    fn least_s(&self) -> f64 {
        let open = self.open.iter().map(|&at| self.cases.cases[at].1);
        open.reduce(f64::min).map_or(0.0, |shortest| self.cases.beforehand_s + shortest)
    }

    /// Takes the next case that fits, and returns what it costs.
    fn draw(&mut self, left_s: f64) -> f64 {
        let beforehand_s = if self.chosen.is_empty() { self.cases.beforehand_s } else { 0.0 };
        let cost_s = |at: usize| beforehand_s + self.cases.cases[at].1;
        let Some(place) = self.open.iter().position(|&at| cost_s(at) <= left_s) else { return 0.0 };
        let at = self.open.remove(place);
        let cost_s = cost_s(at);
        self.chosen.push(at);
        cost_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trials::Purpose;

    fn script(name: &str, not_sampled: Option<&str>) -> Script {
        let not_sampled = not_sampled.map(str::to_owned);
        Script { name: name.to_owned(), purpose: Purpose::Trial, about: String::new(), not_sampled }
    }

    fn cases(beforehand_s: f64, each_s: &[f64]) -> Cases {
        let cases = each_s.iter().enumerate().map(|(at, seconds)| (format!("case-{at}"), *seconds)).collect();
        Cases { beforehand_s, cases }
    }

    #[test]
    fn each_has_one_case_before_any_has_more_and_all_of_it_fits() {
        let scripts = [script("a", None), script("b", None), script("c", Some("too long"))];
        let lists = [cases(100.0, &[40.0; 60]), cases(0.0, &[10.0, 20.0, 900.0]), cases(0.0, &[1.0])];
        let trials: Vec<_> = scripts.iter().zip(lists.clone()).collect();
        // In 151 s each gets one only where the other does not take more than it has to.
        assert!((0..50).all(|seed| sample(&trials, 151.0, seed)[..2].iter().all(|part| !part.cases.is_empty())));
        for seed in 0..50 {
            let parts = sample(&trials, 200.0, seed);
            assert_eq!(parts, sample(&trials, 200.0, seed), "it follows from the seed");
            let taken = |part: &Part<'_>, cases: &Cases| -> f64 {
                let own = cases.cases.iter().filter(|(name, _)| part.cases.contains(name));
                let own: f64 = own.map(|(_, seconds)| seconds).sum();
                if part.cases.is_empty() { 0.0 } else { own + cases.beforehand_s }
            };
            let all: f64 = parts.iter().zip(&lists).map(|(part, cases)| taken(part, cases)).sum();
            assert!(all <= 200.0, "{all} s with seed {seed}");
            assert!(!parts[0].cases.is_empty() && !parts[1].cases.is_empty(), "{parts:?}");
            assert!(!parts[1].cases.contains(&"case-2".to_owned()), "it never fits");
            assert_eq!((parts[2].cases.len(), parts[2].left_out.as_deref()), (0, Some("too long")));
        }
        let firsts = |seed| sample(&trials, 200.0, seed)[0].cases.clone();
        assert!((1..20).any(|seed| firsts(seed) != firsts(0)), "other seeds draw others");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let scripts = [script("a", None), script("b", None)];
        let trials: Vec<_> = scripts.iter().zip([cases(500.0, &[1.0]), cases(0.0, &[1.0])]).collect();
        let parts = sample(&trials, 300.0, 1);
        assert!(parts[0].cases.is_empty() && parts[0].left_out.as_deref().is_some_and(|why| why.contains("fits")));
        assert_eq!((parts[1].cases.len(), &parts[1].left_out), (1, &None));
    }
}
