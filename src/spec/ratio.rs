//! What the ratio of replicas can express: without a router a weight is a number of replicas and nothing else.

use strategies::{Plan, Weight};

/// How much more than its weight a canary may get by ratio: it has at least one replica.
pub const MORE: Weight = Weight::ONE_PERCENT;
/// How much less: its replicas are rounded down.
pub const LESS: Weight = Weight::from_percent(5);

/// A weight that so many replicas cannot express.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Inexpressible {
    /// What the canary would get.
    pub gets: Weight,
    /// The nearest weights that can be had, below and above; [`Weight::ZERO`]: there is none below.
    pub below: Weight,
    /// The nearest one above.
    pub above: Weight,
}

/// Why `weight` cannot be had with so many replicas behind one load balancer: a canary gets its weight, at most
/// [`MORE`] and at least all but [`LESS`] of it. `None`: it can.
#[must_use]
pub fn refuses(weight: Weight, replicas: u32) -> Option<Inexpressible> {
    if weight == Weight::ZERO || weight == Weight::FULL || replicas == 0 {
        return None;
    }
    let share = |replica: u32| {
        let ppm = (u64::from(replica) * u64::from(Weight::FULL.ppm())).div_ceil(u64::from(replicas));
        Weight::from_ppm(u32::try_from(ppm).unwrap_or(u32::MAX))
    };
    let whole = weight.replicas_within(replicas);
    let gets = if replicas == 1 { Weight::from_percent(50) } else { share(whole.max(1)) };
    let fits = gets <= weight.saturating_add(MORE) && weight <= gets.saturating_add(LESS);
    (!fits).then(|| Inexpressible { gets, below: share(whole), above: share(whole + 1) })
}

/// The first step of `plan` that so many replicas cannot express, and why.
#[must_use]
pub fn refuses_plan(plan: &Plan, replicas: u32) -> Option<(usize, Inexpressible)> {
    let mut weights = plan.steps.iter().enumerate().filter_map(|(at, it)| Some((at, it.weight?)));
    weights.find_map(|(at, weight)| refuses(weight, replicas).map(|why| (at, why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_refused_that_replicas_miss_by_more_than_is_stated() {
        let fits = |percent, replicas| refuses(Weight::from_percent(percent), replicas).is_none();
        assert!(fits(10, 10) && fits(25, 10) && fits(50, 10) && fits(50, 2) && fits(100, 1) && fits(0, 1));
        assert!(fits(8, 12), "one of twelve is a third of a percent more");
        assert!(!fits(5, 10), "one of ten is twice as much");
        assert!(!fits(50, 3), "one of three is 17 points less");
        assert!(!fits(19, 10), "one of ten is nine points less");
        let why = refuses(Weight::from_percent(50), 3).unwrap();
        assert_eq!((why.below, why.above), (Weight::from_ppm(333_334), Weight::from_ppm(666_667)));
        for near in [why.below, why.above] {
            assert_eq!(refuses(near, 3), None, "what is suggested can be had");
        }
    }
}
