use jiff::Timestamp;

use super::*;
use crate::poll::Counts;

const BUCKET: i64 = 10_000;

/// Where the first bucket begins.
const START: i64 = 1_800_000_000_000;

fn slots(delay_s: u64) -> Slots {
    Slots { bucket: Duration::from_secs(10), delay: Duration::from_secs(delay_s) }
}

/// Counting began at the first bucket; now is so many seconds later.
fn at(seconds: f64) -> Span {
    between(0.0, seconds)
}

fn between(began: f64, now: f64) -> Span {
    let at = |seconds: f64| Timestamp::from_millisecond(START + (seconds * 1000.0) as i64).unwrap();
    Span { began: at(began), from: at(began), to: at(now) }
}

/// Numbers of the buckets from the first one on.
fn points(numbers: &[Option<f64>]) -> Vec<Point> {
    numbers.iter().enumerate().map(|(i, it)| (START + i as i64 * BUCKET, *it)).collect()
}

fn some(numbers: &[f64]) -> Vec<Point> {
    points(&numbers.iter().copied().map(Some).collect::<Vec<_>>())
}

/// One poll of a source that holds these numbers; what is counted becomes part of it.
fn poll(
    slots: Slots,
    span: Span,
    memory: &mut Memory,
    bad: &[Point],
    total: &[Point],
) -> Result<Reading, Failure> {
    for stretch in slots.unread(span, memory) {
        stretch.count(bad, total, memory)?;
    }
    let reading = slots.counts(span, memory);
    memory.pending = Default::default();
    reading
}

fn read_value(slots: Slots, span: Span, memory: &mut Memory, held: &[Point]) -> Result<Reading, Failure> {
    if let Some(stretch) = slots.recent(span, memory) {
        stretch.newest(held, memory)?;
    }
    let reading = slots.value(span, memory);
    memory.pending = Default::default();
    reading
}

fn counts(total: u64, bad: u64) -> Result<Reading, Failure> {
    Ok(Reading::Counts(Counts::new(total, bad)))
}

#[test]
fn a_bucket_is_read_when_it_is_over_and_settled_and_only_once() {
    let (bad, total) = (some(&[1.0; 6]), some(&[5.0; 6]));
    let mut memory = Memory::default();
    let mut at = |seconds| poll(slots(3), at(seconds), &mut memory, &bad, &total);
    assert_eq!(at(12.999), Ok(Reading::NothingNew));
    assert_eq!(at(13.0), counts(5, 1));
    assert_eq!(at(22.9), Ok(Reading::NothingNew));
    assert_eq!(at(43.0), counts(15, 3));
    assert_eq!(at(43.1), Ok(Reading::NothingNew));
}

#[test]
fn polls_in_any_rhythm_come_to_the_same_sum() {
    let numbers: Vec<f64> = (0..400).map(f64::from).collect();
    let total = some(&numbers);
    for step in [1.0, 7.3, 10.0, 61.0, 1999.0, 4000.0] {
        let (mut memory, mut sum, mut now) = (Memory::default(), 0, 0.0);
        while now < 4000.0 {
            now = f64::min(now + step, 4000.0);
            if let Ok(Reading::Counts(it)) = poll(slots(0), at(now), &mut memory, &[], &total) {
                sum += it.total;
            }
        }
        assert_eq!(sum, 399 * 400 / 2, "every {step} s");
    }
}

#[test]
fn what_began_before_counting_did_is_left_out() {
    let total = some(&[5.0, 7.0, 9.0]);
    let got = poll(slots(0), between(0.001, 30.0), &mut Memory::default(), &[], &total);
    assert_eq!(got, counts(16, 0));
}

#[test]
fn a_long_gap_is_read_in_stretches_that_join() {
    let span = at(25_000.0);
    let all: Vec<Stretch> = slots(5).unread(span, &Memory::default()).collect();
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].from, all[2].until), (START, START + 24_990_000));
    assert!(all.windows(2).all(|it| it[0].until == it[1].from && !it[0].last));
    assert!(all[2].last);
    let total = some(&[1.0; 2499]);
    assert_eq!(poll(slots(5), span, &mut Memory::default(), &[], &total), counts(2499, 0));
}

#[test]
fn the_newest_buckets_without_a_number_are_asked_for_again() {
    let mut memory = Memory::default();
    let early = points(&[Some(5.0), None, None]);
    assert_eq!(poll(slots(0), at(30.0), &mut memory, &[], &early), counts(5, 0));
    // One of them comes late; the one before it has nothing.
    let later = points(&[Some(5.0), None, Some(7.0), None]);
    assert_eq!(poll(slots(0), at(40.0), &mut memory, &[], &later), counts(7, 0));
    assert_eq!(poll(slots(0), at(50.0), &mut memory, &[], &later), Err(Failure::NoData));
}

#[test]
fn nothing_is_no_data_and_zero_is_a_count() {
    for nothing in [vec![], points(&[None, None, None])] {
        let got = poll(slots(0), at(30.0), &mut Memory::default(), &some(&[1.0]), &nothing);
        assert_eq!(got, Err(Failure::NoData));
        assert_eq!(read_value(slots(0), at(30.0), &mut Memory::default(), &nothing), Err(Failure::NoData));
    }
    assert_eq!(poll(slots(0), at(30.0), &mut Memory::default(), &[], &some(&[0.0; 3])), counts(0, 0));
}

#[test]
fn bad_events_wait_for_the_bucket_that_they_are_in() {
    let mut memory = Memory::default();
    let bad = some(&[1.0, 2.0]);
    assert_eq!(poll(slots(0), at(20.0), &mut memory, &bad, &some(&[5.0])), counts(5, 1));
    assert_eq!(poll(slots(0), at(20.0), &mut memory, &bad, &some(&[5.0, 6.0])), counts(6, 2));
}

#[test]
fn what_is_no_count_is_refused_and_not_remembered() {
    for (wrong, expected) in [
        (some(&[0.5]), Failure::NotThis("a count: a bucket holds a fraction, as rates and averages do")),
        (some(&[-1.0]), Failure::Contradictory("a count below zero")),
        (some(&[f64::NAN]), Failure::NotFinite),
        (some(&[f64::INFINITY]), Failure::NotFinite),
        (vec![(START, Some(1.0)), (START, Some(1.0))], Failure::Contradictory("two numbers of one bucket")),
        (vec![(START + 1, Some(1.0))], Failure::NotThis("in buckets as long as `bucket` says")),
    ] {
        let mut memory = Memory::default();
        for (bad, total) in [(&wrong, &some(&[5.0])), (&vec![], &wrong)] {
            let stretch = slots(0).unread(at(30.0), &memory).next().unwrap();
            assert_eq!(stretch.count(bad, total, &mut memory), Err(expected.clone()));
            assert_eq!(memory, Memory::default());
        }
    }
    let got = poll(slots(0), at(30.0), &mut Memory::default(), &some(&[6.0]), &some(&[5.0]));
    assert_eq!(got, Err(Failure::Contradictory("more bad events than events")));
    let got = poll(slots(0), at(30.0), &mut Memory::default(), &[], &some(&[1e17]));
    assert_eq!(got, Err(Failure::Contradictory("a count too large to be exact")));
}

#[test]
fn sums_of_fractions_that_make_a_whole_are_counts() {
    let tenths: f64 = std::iter::repeat_n(0.1, 30).sum();
    assert_ne!(tenths, 3.0);
    assert_eq!(poll(slots(0), at(10.0), &mut Memory::default(), &[], &some(&[tenths])), counts(3, 0));
}

#[test]
fn a_value_is_the_newest_complete_one_and_is_judged_once() {
    let held = some(&[1.5, 2.5, 3.5]);
    let mut memory = Memory::default();
    assert_eq!(read_value(slots(2), at(11.0), &mut memory, &held), Ok(Reading::NothingNew));
    assert_eq!(read_value(slots(2), at(23.0), &mut memory, &held), Ok(Reading::Values(vec![2.5])));
    assert_eq!(read_value(slots(2), at(31.0), &mut memory, &held), Ok(Reading::NothingNew));
    assert_eq!(read_value(slots(2), at(32.0), &mut memory, &held), Ok(Reading::Values(vec![3.5])));
    assert_eq!(read_value(slots(2), at(42.0), &mut memory, &held), Err(Failure::NoData));
}

#[test]
fn an_old_value_is_none() {
    let mut held = vec![None; 40];
    held[0] = Some(1.0);
    let of = |seconds| read_value(slots(0), at(seconds), &mut Memory::default(), &points(&held));
    assert_eq!(of(300.0), Ok(Reading::Values(vec![1.0])));
    assert_eq!(of(310.0), Err(Failure::NoData));
}

#[test]
fn a_value_that_is_not_yet_part_of_a_poll_is_kept() {
    let mut memory = Memory::default();
    slots(0).recent(at(10.0), &memory).unwrap().newest(&some(&[4.0]), &mut memory).unwrap();
    assert_eq!(slots(0).value(at(10.0), &memory), Ok(Reading::Values(vec![4.0])));
    assert_eq!(slots(0).recent(at(11.0), &memory), None);
    assert_eq!(slots(0).value(at(11.0), &memory), Ok(Reading::Values(vec![4.0])));
}

#[test]
fn longer_buckets_than_before_read_nothing_twice() {
    let memory = Memory { read_until: Some(START + 30_000), ..Memory::default() };
    let longer = Slots { bucket: Duration::from_secs(20), delay: Duration::ZERO };
    let next = longer.unread(at(80.0), &memory).next().unwrap();
    assert_eq!((next.from, next.until), (START + 40_000, START + 80_000));
}

#[test]
fn who_answers_about_few_buckets_is_asked_about_few_at_once() {
    let span = at(95.0);
    let all: Vec<Stretch> = slots(0).unread(span, &Memory::default()).at_most(4).collect();
    let lengths: Vec<i64> = all.iter().map(|it| (it.until - it.from) / BUCKET).collect();
    assert_eq!(lengths, [4, 4, 1]);
    assert_eq!(
        (all[0].from, all[2].until, all[2].last, all[1].last),
        (START, START + 9 * BUCKET, true, false)
    );
    assert_eq!(slots(0).unread(span, &Memory::default()).at_most(0).count(), 9);
}
