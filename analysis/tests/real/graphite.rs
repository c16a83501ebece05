//! Graphite itself: carbon and graphite-web.

use std::{io::Write as _, net::TcpStream, time::Duration};

use analysis::{
    Measured,
    provider::{AnyQuestion, Failure, Graphite, PerArm, Slots, Timed, Wanted},
};

use crate::{every_complete_bucket_counts_once, http, one_of, servers, source, sums::Sums, with};

const BUCKET: i64 = 10;

fn asking(wanted: impl Fn(&str) -> Wanted, bucket: i64, delay: u64) -> PerArm {
    let slots =
        Slots { bucket: Duration::from_secs(bucket.unsigned_abs()), delay: Duration::from_secs(delay) };
    let arm = |name: &str| AnyQuestion::Graphite(Graphite(Timed { wanted: wanted(name), slots }));
    PerArm { canary: arm("canary"), baseline: Some(arm("stable")) }
}

fn counts(bucket: i64, delay: u64) -> PerArm {
    let wanted =
        |arm: &str| Wanted::Counts { bad: format!("shop.{arm}.bad"), total: format!("shop.{arm}.requests") };
    asking(wanted, bucket, delay)
}

fn value(target: &str) -> PerArm {
    asking(|arm| Wanted::Value(target.replace("ARM", arm)), BUCKET, 0)
}

/// A Graphite that shows what was written to it.
fn seeded() -> Option<(servers::Running, Sums)> {
    let (server, lines) = servers::graphite()?;
    let sums = Sums::until_now(BUCKET, 60);
    let mut stream = TcpStream::connect(lines).unwrap();
    for (arm, index, total, bad) in sums.all() {
        // Somewhere within the bucket, as it is sent.
        let at = sums.begins(index) + index % BUCKET;
        writeln!(stream, "shop.{arm}.requests {total} {at}\nshop.{arm}.queue {}.5 {at}", total / 2).unwrap();
        if bad != 0 {
            writeln!(stream, "shop.{arm}.bad {bad} {at}").unwrap();
        }
    }
    writeln!(stream, "shop.done 1 {}", sums.start).unwrap();
    drop(stream);
    let (from, until) = (sums.start - 60, sums.start + 60);
    let path = format!("/render?target=shop.done&from={from}&until={until}&format=json&noCache=1");
    while !http::ask(server.address, "GET", &path, "", "").unwrap().contains("[1.0,") {
        std::thread::sleep(Duration::from_millis(10));
    }
    Some((server, sums))
}

#[test]
fn graphite_counts_every_complete_bucket_once() {
    let Some((server, sums)) = seeded() else { return };
    with(Some(server), async |server| {
        let source = source(server.address);
        for delay in [0, 25] {
            every_complete_bucket_counts_once(&source, &counts(BUCKET, delay), &sums, delay.cast_signed())
                .await;
        }
        // Several buckets of the store made one.
        let longer =
            |name: &str, arm: &str| format!("summarize(shop.{{{arm},nobody}}.{name}, '30s', 'sum', false)");
        let wanted = |arm: &str| Wanted::Counts { bad: longer("bad", arm), total: longer("requests", arm) };
        let thirty = Sums { start: sums.start, bucket: BUCKET, buckets: sums.buckets };
        let began = (sums.start + 30).div_euclid(30) * 30;
        let end = began + 300;
        let got = one_of(&source, &asking(wanted, 30, 0), began * 1000, (end + 29) * 1000).await;
        let [canary, stable] = thirty.between(began, end);
        assert_eq!(got, Ok(Measured::Counts { canary, baseline: Some(stable) }));
    });
}

#[test]
fn graphite_gives_the_newest_complete_value_and_no_nonsense() {
    let Some((server, sums)) = seeded() else { return };
    with(Some(server), async |server| {
        let source = source(server.address);
        let (began, now) = (sums.start * 1000, (sums.begins(30) + 9) * 1000 + 999);
        let ask = async |question: PerArm| one_of(&source, &question, began, now).await;
        // The bucket that begins at 30 has a number already, and is not over.
        let half = |arm: &str| (sums.of(arm, 29).unwrap().0 / 2) as f64 + 0.5;
        let expected = Measured::Values { canary: vec![half("canary")], baseline: vec![half("stable")] };
        assert_eq!(ask(value("shop.ARM.queue")).await, Ok(expected));
        assert_eq!(ask(value("shop.ARM.nothing")).await, Err(Failure::NoData));
        // Graphite has no word for a target that it cannot read.
        assert_eq!(ask(value("sumSeries(shop.ARM.queue")).await, Err(Failure::NoData));
        assert_eq!(ask(value("shop.*.queue")).await, Err(Failure::NotOneNumber("several series")));
        let none = "divideSeries(shop.ARM.queue, diffSeries(shop.ARM.queue, shop.ARM.queue))";
        assert_eq!(ask(value(none)).await, Err(Failure::NoData));
        let rates = |arm: &str| Wanted::Counts {
            bad: format!("shop.{arm}.bad"),
            total: format!("scaleToSeconds(shop.{arm}.requests, 1)"),
        };
        let refused = Failure::NotThis("a count: a bucket holds a fraction, as rates and averages do");
        assert_eq!(ask(asking(rates, BUCKET, 0)).await, Err(refused));
        // Buckets of another length than the points are apart: half-filled ones would be taken for whole.
        for bucket in [5, 20] {
            let other = Failure::NotThis("in buckets as long as `bucket` says");
            assert_eq!(ask(counts(bucket, 0)).await, Err(other), "{bucket} s");
        }
        let nobody =
            |arm: &str| Wanted::Counts { bad: format!("shop.{arm}.bad"), total: "shop.nobody".to_owned() };
        assert_eq!(ask(asking(nobody, BUCKET, 0)).await, Err(Failure::NoData));
    });
}
