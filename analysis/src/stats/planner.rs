//! What a canary can see, how soon, and what it costs, before it starts.

use super::divergence::{bad_share, towards_promotion, towards_roll_back};

/// Nats beyond `ln(1/alpha)` that the mixture over alternatives and onsets costs before it rolls back.
const PRICE_OF_IGNORANCE: f64 = 1.6;

/// The same for promotion, which has no restarts.
const PRICE_OF_IGNORANCE_PROMOTION: f64 = 0.9;

/// The traffic a canary will meet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests of both arms per second.
    pub requests_per_s: f64,
    /// Share of requests that is bad on the baseline.
    pub bad_rate: f64,
    /// Share of requests that goes to the canary, `0 < share < 1`.
    pub share: f64,
    /// Seconds between two looks.
    pub poll_s: f64,
}

/// Expected seconds until a canary that is `psi` times as bad is rolled back at `alpha`.
///
/// Infinite for `psi <= 1`, and where nothing can be `psi` times as bad as the baseline: no share is above one. Within 15 % of simulation where more than a poll is needed.
pub fn seconds_to_detect(traffic: Traffic, psi: f64, alpha: f64) -> f64 {
    let Traffic { requests_per_s, bad_rate, share, poll_s } = traffic;
    if psi <= 1.0 || !is_possible(bad_rate, psi) {
        return f64::INFINITY;
    }
    let events_per_s = requests_per_s * bad_rate * (1.0 - share + share * psi);
    needed(alpha) / (events_per_s * towards_roll_back(share, psi)) + poll_s / 2.0
}

/// Whether anything can be `psi` times as bad as a baseline of which this share is bad.
pub fn is_possible(bad_rate: f64, psi: f64) -> bool {
    bad_rate * psi <= 1.0
}

/// Expected seconds until a healthy canary is promoted at `alpha` against `margin`.
pub fn seconds_to_promote(traffic: Traffic, margin: f64, alpha: f64) -> f64 {
    let Traffic { requests_per_s, bad_rate, share, poll_s } = traffic;
    let nats = PRICE_OF_IGNORANCE_PROMOTION - alpha.ln();
    nats / (requests_per_s * bad_rate * towards_promotion(share, margin)) + poll_s / 2.0
}

/// Expected bad canary requests until roll back: it does not depend on how much traffic there is.
pub fn damage(share: f64, psi: f64, alpha: f64) -> f64 {
    psi * share * needed(alpha) / ((1.0 - share + share * psi) * towards_roll_back(share, psi))
}

/// The smallest factor that is detected within `seconds`; `None` if not even a hundredfold, or the largest possible, is.
pub fn detectable_within(traffic: Traffic, seconds: f64, alpha: f64) -> Option<f64> {
    let (mut low, mut high) = (1.0, 100.0_f64.min(traffic.bad_rate.recip()));
    if seconds < seconds_to_detect(traffic, high, alpha) {
        return None;
    }
    while 1e-4 < high - low {
        let middle = f64::midpoint(low, high);
        if seconds_to_detect(traffic, middle, alpha) <= seconds { high = middle } else { low = middle }
    }
    Some(high)
}

/// Requests per second from which on `psi` is detected within `seconds`; `None` if the poll alone takes as long.
pub fn requests_per_s_needed(traffic: Traffic, psi: f64, alpha: f64, seconds: f64) -> Option<f64> {
    let spare = seconds - traffic.poll_s / 2.0;
    let at_one = Traffic { requests_per_s: 1.0, poll_s: 0.0, ..traffic };
    (0.0 < spare).then(|| seconds_to_detect(at_one, psi, alpha) / spare)
}

/// The smallest share, in steps of one per cent, at which `psi` is detected within `seconds`; `None` if none is.
pub fn share_needed(traffic: Traffic, psi: f64, alpha: f64, seconds: f64) -> Option<f64> {
    (1..=50)
        .map(|percent| f64::from(percent) / 100.0)
        .find(|&share| seconds_to_detect(Traffic { share, ..traffic }, psi, alpha) <= seconds)
}

/// Canary's share of bad requests at `psi`, see [`bad_share`].
pub fn canary_share_of_bad(traffic: Traffic, psi: f64) -> f64 {
    bad_share(traffic.share, psi)
}

fn needed(alpha: f64) -> f64 {
    PRICE_OF_IGNORANCE - alpha.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(requests_per_s: f64, bad_rate: f64, share: f64) -> Traffic {
        Traffic { requests_per_s, bad_rate, share, poll_s: 10.0 }
    }

    #[test]
    fn doubling_takes_as_long_as_the_measurements_say() {
        for (share, seconds) in [(0.05, 691.0), (0.10, 372.0), (0.25, 188.0), (0.50, 151.0)] {
            let got = seconds_to_detect(traffic(500.0, 0.001, share), 2.0, 0.01);
            assert!((got - seconds).abs() < 1.0, "{share}: {got}");
        }
    }

    #[test]
    fn damage_follows_the_law() {
        for (psi, failed) in [(1.5, 97.0), (2.0, 36.7), (5.0, 9.3), (10.0, 5.7)] {
            let got = damage(0.1, psi, 0.01);
            assert!((got - failed).abs() < 0.06 * failed, "{psi}: {got}");
        }
    }

    #[test]
    fn the_smallest_visible_regression_is_found() {
        let got = detectable_within(traffic(500.0, 0.001, 0.1), 3600.0, 0.01).unwrap();
        assert!((got - 1.29).abs() < 0.02, "{got}");
        assert!(detectable_within(traffic(0.001, 0.001, 0.1), 600.0, 0.01).is_none());
    }

    #[test]
    fn nothing_is_said_of_ratios_to_a_baseline_that_fails_altogether() {
        for bad_rate in [0.6, 1.0] {
            let fails = traffic(500.0, bad_rate, 0.1);
            assert!(seconds_to_detect(fails, 2.0, 0.01).is_infinite(), "{bad_rate}");
        }
        assert!(detectable_within(traffic(500.0, 1.0, 0.1), 3600.0, 0.01).is_none());
        let got = detectable_within(traffic(500.0, 0.6, 0.1), 3600.0, 0.01).unwrap();
        assert!(got < 1.0 / 0.6, "{got}");
    }

    #[test]
    fn the_cure_for_a_blind_canary_cures_it() {
        let blind = traffic(5.0, 0.001, 0.1);
        let rate = requests_per_s_needed(blind, 2.0, 0.01, 3600.0).unwrap();
        let cured = Traffic { requests_per_s: rate, ..blind };
        assert!((seconds_to_detect(cured, 2.0, 0.01) - 3600.0).abs() < 1e-6);
        assert_eq!(share_needed(blind, 2.0, 0.01, 3600.0), None);
    }
}
