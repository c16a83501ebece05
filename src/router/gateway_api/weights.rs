//! Shares as the integers that stand in backendRefs.

use strategies::Weight;

/// Largest weight that the Gateway API takes.
const MOST: u64 = 1_000_000;

/// What one rule's backends weigh: ours as a whole, and everybody else's.
#[derive(Debug)]
pub(super) struct Rule {
    /// The weight that stands for our service.
    pub ours: u64,
    /// The others', in their order.
    pub others: Vec<u64>,
}

/// What stands in the rule: stable, canary and the others.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Written {
    pub stable: u64,
    pub canary: u64,
    pub others: Vec<u64>,
}

impl Rule {
    /// The smallest round weights that give the canary exactly this share of ours; `None`: there are none below a million.
    pub(super) fn split(&self, canary: Weight) -> Option<Written> {
        let ppm = u64::from(canary.ppm());
        if self.others.iter().all(|it| *it == 0) {
            let total = [100, 1_000, 10_000, 100_000, MOST].into_iter().find(|it| ppm * it % MOST == 0)?;
            let canary = ppm * total / MOST;
            return Some(Written { stable: total - canary, canary, others: self.others.clone() });
        }
        let times = MOST / greatest_common_divisor(MOST, self.ours * ppm);
        let largest = self.others.iter().copied().chain([self.ours]).max()?;
        (largest.checked_mul(times)? <= MOST).then(|| {
            let canary = self.ours * times * ppm / MOST;
            let others = self.others.iter().map(|it| it * times).collect();
            Written { stable: self.ours * times - canary, canary, others }
        })
    }
}

/// The share of `canary` in both, rounded up: what is read of somebody else's weights is never less than it is.
pub(super) fn share(canary: u64, stable: u64) -> Weight {
    match canary.saturating_add(stable) {
        0 => Weight::ZERO,
        total => Weight::from_ppm(u32::try_from((canary * MOST).div_ceil(total)).unwrap_or(u32::MAX)),
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        b => greatest_common_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_round_and_exact_beside_other_backends_too() {
        let check = |ours: u64, others: &[u64], ppm: u32, expected: Option<(u64, u64, Vec<u64>)>| {
            let written = Rule { ours, others: others.to_vec() }.split(Weight::from_ppm(ppm));
            assert_eq!(
                written.map(|it| (it.stable, it.canary, it.others)),
                expected,
                "{ours} {others:?} {ppm}"
            );
        };
        check(1, &[], 50_000, Some((95, 5, vec![])));
        check(7, &[0], 5_000, Some((995, 5, vec![0])));
        check(1, &[], 1, Some((999_999, 1, vec![])));
        check(9, &[1], 50_000, Some((171, 9, vec![20])));
        check(9, &[1], 0, Some((9, 0, vec![1])));
        check(9, &[1], 1_000_000, Some((0, 9, vec![1])));
        check(9, &[1], 1, None);
    }

    #[test]
    fn what_is_read_of_foreign_weights_is_never_less_than_it_is() {
        assert_eq!(share(1, 2), Weight::from_ppm(333_334));
        assert_eq!(share(0, 0), Weight::ZERO);
        assert_eq!(share(5, 95), Weight::from_percent(5));
    }
}
