use super::*;

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Series<f64> {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Series { labels, samples: samples.iter().map(|(s, value)| (s * 1000, *value)).collect() }
}

fn pod(name: &str, samples: &[(i64, f64)]) -> Series<f64> {
    series(&[("instance", name), ("job", "shop"), ("code", "200")], samples)
}

/// What all readings together count; counting began at second 100.
#[track_caller]
fn check(readings: &[Vec<Series<f64>>], expected: f64) {
    let mut ledger = Ledger::default();
    let mut sum = 0.0;
    for reading in readings {
        let stored = serde_json::to_string(&ledger).unwrap();
        ledger = serde_json::from_str(&stored).unwrap();
        let grown = ledger.take(reading, 100_000).unwrap();
        sum += grown.by_series.iter().map(|(_, it)| it).sum::<f64>();
    }
    assert_eq!(sum, expected);
}

#[test]
fn what_was_counted_before_counting_began_is_left_out() {
    check(&[vec![pod("a", &[(90, 1000.0)])]], 0.0);
    check(&[vec![pod("a", &[(90, 1000.0), (105, 1010.0), (120, 1030.0)])]], 20.0);
    check(&[vec![pod("a", &[(90, 1000.0)])], vec![pod("a", &[(90, 1000.0), (105, 1010.0)])]], 0.0);
}

#[test]
fn overlapping_readings_count_once() {
    let all = [(90, 1000.0), (105, 1010.0), (120, 1030.0), (135, 1060.0), (150, 1061.0)];
    let readings: Vec<_> = (1..=5).map(|n| vec![pod("a", &all[n.max(3) - 3..n])]).collect();
    check(&readings, 51.0);
}

#[test]
fn a_pod_that_leaves_subtracts_nothing() {
    let stays = |until: i64| pod("a", &[(105, 10.0), (until, 30.0)]);
    let leaves = pod("b", &[(90, 4990.0), (105, 5000.0), (120, 5003.0)]);
    check(&[vec![stays(120), leaves], vec![stays(120)], vec![]], 33.0);
}

#[test]
fn a_restarted_pod_counts_from_zero_and_nothing_twice() {
    check(
        &[
            vec![pod("a", &[(105, 1000.0), (120, 1010.0)])],
            vec![pod("a", &[(120, 1010.0), (135, 4.0), (150, 9.0)])],
        ],
        1019.0,
    );
    check(&[vec![pod("a", &[(90, 1000.0), (105, 1010.0), (120, 3.0)])]], 3.0);
}

#[test]
fn a_series_born_later_counts_from_zero() {
    let errors =
        |samples: &[(i64, f64)]| series(&[("instance", "a"), ("job", "shop"), ("code", "500")], samples);
    check(&[vec![pod("a", &[(90, 1.0), (105, 2.0)])], vec![errors(&[(120, 1.0)])]], 1.0);
}

#[test]
fn a_sample_that_comes_late_is_in_the_next_reading() {
    let a = |samples: &[(i64, f64)]| vec![pod("a", samples)];
    check(
        &[
            a(&[(105, 10.0)]),
            a(&[(105, 10.0), (135, 30.0)]),
            a(&[(105, 10.0), (120, 20.0), (135, 30.0), (150, 31.0)]),
        ],
        31.0,
    );
}

#[test]
fn a_target_that_was_away_goes_on_from_where_it_was() {
    let counted = |recalled_at: i64| {
        let mut ledger = Ledger::default();
        let back = [pod("a", &[(400, 900_010.0), (415, 900_012.0)])];
        assert_eq!(ledger.strangers(&back, 100_000).count(), 1);
        ledger.recall(&back[0].labels, recalled_at * 1000, 900_000.0);
        assert_eq!(ledger.strangers(&back, 100_000).count(), 0);
        ledger.take(&back, 100_000).unwrap().by_series.iter().map(|it| it.1).sum::<f64>()
    };
    assert_eq!(counted(150), 12.0);
    // What it counted before counting began is left out even then.
    assert_eq!(counted(50), 2.0);
}

fn scraped_by(job: &str, service: &str, samples: &[(i64, f64)]) -> Series<f64> {
    series(&[("instance", "10.0.0.1:80"), ("job", job), ("service", service), ("code", "200")], samples)
}

#[test]
fn a_doubled_scrape_counts_once() {
    // By two jobs, and by two Services under one job.
    for other in ["shop-canary", "shop"] {
        let first = |samples: &[(i64, f64)]| scraped_by("shop", "shop", samples);
        let second = |samples: &[(i64, f64)]| scraped_by(other, "shop-canary", samples);
        check(
            &[
                vec![
                    first(&[(90, 0.0), (105, 10.0), (120, 20.0)]),
                    second(&[(95, 4.0), (110, 14.0), (125, 24.0)]),
                ],
                vec![
                    first(&[(120, 20.0), (135, 30.0), (150, 40.0)]),
                    second(&[(110, 14.0), (125, 24.0), (140, 34.0)]),
                ],
            ],
            30.0,
        );
    }
}

#[test]
fn when_the_first_of_two_scrapes_ends_the_second_goes_on_from_its_value() {
    let first = |samples: &[(i64, f64)]| scraped_by("a", "a", samples);
    let second = |samples: &[(i64, f64)]| scraped_by("b", "b", samples);
    check(
        &[
            vec![first(&[(105, 10.0), (120, 20.0)]), second(&[(110, 14.0), (125, 24.0)])],
            vec![first(&[(120, 20.0)]), second(&[(125, 24.0), (140, 34.0)])],
            vec![first(&[(120, 20.0)]), second(&[(140, 34.0), (260, 114.0)])],
            vec![second(&[(260, 114.0), (275, 124.0)])],
        ],
        124.0,
    );
}

#[test]
fn labels_of_the_application_tell_counters_apart() {
    let of = |endpoint: &str, samples: &[(i64, f64)]| {
        series(&[("instance", "10.0.0.1:80"), ("job", "shop"), ("endpoint", endpoint)], samples)
    };
    check(&[vec![of("/a", &[(105, 1.0), (120, 11.0)]), of("/b", &[(105, 2.0), (120, 7.0)])]], 18.0);
}

#[test]
fn five_hundred_series_that_come_go_and_restart_do_not_move_a_count_by_one() {
    // Every pod counts 7 requests in 15 seconds; some restart, some leave, some come.
    let (mut ledger, mut seen, mut expected) = (Ledger::default(), 0.0, 0.0);
    let mut values = vec![1000.0f64; 500];
    let mut recent: Vec<Vec<(i64, f64)>> = vec![vec![]; 500];
    for turn in 0..40i64 {
        for (i, value) in values.iter_mut().enumerate() {
            let gone = i % 50 == 3 && turn > 20;
            let unborn = i % 50 == 4 && turn < 10;
            if gone || unborn {
                continue;
            }
            let restarts = i as i64 % 40 == turn && turn > 12;
            let born = i % 50 == 4 && turn == 10;
            let before = *value;
            *value = if restarts {
                5.0
            } else if born {
                3.0
            } else {
                before + 7.0
            };
            let at = (86 + 15 * turn) * 1000 + i as i64 % 13;
            recent[i].push((at, *value));
            let base = recent[i].len() >= 2 && recent[i][recent[i].len() - 2].0 >= 100_000;
            let counts = base || (born && at > 100_000);
            expected += if !counts {
                0.0
            } else if restarts || born {
                *value
            } else {
                *value - before
            };
        }
        let reading: Vec<Series<f64>> = recent
            .iter()
            .enumerate()
            .filter(|(_, it)| !it.is_empty())
            .map(|(i, it)| Series {
                labels: pod(&format!("10.0.0.{i}:80"), &[]).labels,
                samples: it[it.len().saturating_sub(3)..].to_vec(),
            })
            .collect();
        seen += ledger.take(&reading, 100_000).unwrap().by_series.iter().map(|it| it.1).sum::<f64>();
        assert_eq!(seen, expected, "turn {turn}");
    }
    assert!(expected > 100_000.0);
}
