//! InfluxDB 1 itself, in InfluxQL.

use std::{fmt::Write as _, time::Duration};

use analysis::{
    Measured,
    provider::{AnyQuestion, Failure, Influxql, PerArm, Slots, Timed, Wanted, influxql::SLASH},
};

use crate::{every_complete_bucket_counts_once, http, one_of, servers, source, sums::Sums, with};

const BUCKET: i64 = 10;

fn asking(wanted: impl Fn(&str) -> Wanted, database: &str, delay: u64) -> PerArm {
    let slots = Slots { bucket: Duration::from_secs(10), delay: Duration::from_secs(delay) };
    let arm = |name: &str| {
        let timed = Timed { wanted: wanted(name), slots };
        AnyQuestion::Influxql(Influxql { database: database.to_owned(), timed })
    };
    PerArm { canary: arm("canary"), baseline: Some(arm("stable")) }
}

fn counts(delay: u64) -> PerArm {
    let wanted = |arm: &str| Wanted::Counts {
        bad: format!(
            r#"SELECT sum("n") FROM "requests" WHERE "arm" = '{arm}' AND ("code" = '500' OR "code" = '503')"#
        ),
        total: format!(r#"SELECT sum("n") FROM "requests" WHERE "arm" = '{arm}' OR "arm" = 'nobody'"#),
    };
    asking(wanted, "shop", delay)
}

fn value(query: &str) -> PerArm {
    asking(|arm| Wanted::Value(query.replace("ARM", arm)), "shop", 0)
}

/// An InfluxDB with events of known buckets: each is written in several points.
fn seeded() -> Option<(servers::Running, Sums)> {
    let server = servers::influxdb()?;
    let sums = Sums::until_now(BUCKET, 60);
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    http::post(server.address, "/query", form, "q=CREATE%20DATABASE%20shop");
    let mut lines = String::new();
    for (arm, index, total, bad) in sums.all() {
        let (first, last) = (sums.begins(index), sums.begins(index + 1) - 1);
        let good = total - bad;
        writeln!(
            lines,
            "requests,arm={arm},code=200 n={}i {first}000\nrequests,arm={arm},code=200 n=1i {last}999",
            good - 1
        )
        .unwrap();
        if bad != 0 {
            writeln!(
                lines,
                "requests,arm={arm},code=500 n={}i {first}500\nrequests,arm={arm},code=503 n=1i {last}998",
                bad - 1
            )
            .unwrap();
        }
        writeln!(lines, "retries,arm={arm} n=2i {first}000").unwrap();
        writeln!(lines, "queue,arm={arm},path=/a/b,quoted=a\"b'c length={}.5 {first}000", total / 2).unwrap();
    }
    http::post(server.address, "/write?db=shop&precision=ms", "", &lines);
    Some((server, sums))
}

#[test]
fn influxdb_counts_every_complete_bucket_once() {
    let Some((server, sums)) = seeded() else { return };
    with(Some(server), async |server| {
        let source = source(server.address);
        for delay in [0, 25] {
            every_complete_bucket_counts_once(&source, &counts(delay), &sums, delay.cast_signed()).await;
        }
    });
}

#[test]
fn influxdb_gives_the_newest_complete_value_and_no_nonsense() {
    let Some((server, sums)) = seeded() else { return };
    with(Some(server), async |server| {
        let source = source(server.address);
        let (began, now) = (sums.start * 1000, (sums.begins(30) + 9) * 1000 + 999);
        let ask = async |question: PerArm| one_of(&source, &question, began, now).await;
        // The bucket that begins at 30 has a number already, and is not over.
        let half = |arm: &str| (sums.of(arm, 29).unwrap().0 / 2) as f64 + 0.5;
        let expected = Measured::Values { canary: vec![half("canary")], baseline: vec![half("stable")] };
        for conditions in [
            "\"arm\" = 'ARM'".to_owned(),
            "\"arm\" =~ /^(ARM|x)$/".to_owned(),
            // What a parameter holds, escaped as it is where documents are read.
            format!("\"arm\" = 'ARM' AND \"path\" = '{SLASH}a{SLASH}b' AND \"quoted\" = 'a\\\"b\\'c'"),
            format!("\"arm\" = 'ARM' AND \"path\" =~ /^{SLASH}a{SLASH}b$/ AND \"quoted\" =~ /^a\\\"b\\'c$/"),
        ] {
            let query = format!(r#"SELECT mean("length") FROM "queue" WHERE {conditions}"#);
            assert_eq!(ask(value(&query)).await, Ok(expected.clone()), "{conditions}");
        }
        let inner = r#"SELECT mean("it") FROM (SELECT max("length") AS "it" FROM "queue" WHERE "arm" = 'ARM' GROUP BY "path")"#;
        assert_eq!(ask(value(inner)).await, Ok(expected));
        assert_eq!(ask(value("SELECT mean(x) FROM nothing")).await, Err(Failure::NoData));
        let several = Failure::NotOneNumber("several columns");
        assert_eq!(ask(value("SELECT mean(length), max(length) FROM queue")).await, Err(several));
        let several = Failure::NotOneNumber("several series");
        assert_eq!(ask(value("SELECT sum(n) FROM requests, retries")).await, Err(several));
        let failure = ask(value("SELECT mean( FROM queue")).await.unwrap_err();
        assert!(matches!(failure, Failure::Question(_)), "{failure}");
        let failure = ask(value("SELECT mean(length) FROM queue WHERE AND")).await.unwrap_err();
        assert!(matches!(failure, Failure::Status { status: 400, .. }), "{failure}");
        let elsewhere = asking(|_| Wanted::Value("SELECT mean(x) FROM queue".to_owned()), "nowhere", 0);
        assert_eq!(ask(elsewhere).await, Err(Failure::Reported("`error`")));
        let drops = ask(value("SELECT mean(length) FROM queue; DROP MEASUREMENT queue")).await.unwrap_err();
        assert!(matches!(drops, Failure::Question(_)), "{drops}");
        let rates = |arm: &str| Wanted::Counts {
            bad: "SELECT sum(n) FROM requests WHERE code = '500'".to_owned(),
            total: format!("SELECT sum(n) / 10 FROM requests WHERE arm = '{arm}'"),
        };
        let refused = Failure::NotThis("a count: a bucket holds a fraction, as rates and averages do");
        assert_eq!(ask(asking(rates, "shop", 0)).await, Err(refused));
    });
}
