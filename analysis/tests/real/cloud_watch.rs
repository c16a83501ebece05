//! CloudWatch, played by moto. It checks signatures with AWS' own client library, and has no mathematics of metrics.

use std::time::Duration;

use analysis::{
    Measured,
    provider::{
        AnyQuestion, AwsKeys, CloudWatch, Credentials, Failure, PerArm, Secret, Slots, Source, SourceConfig,
        Timed, Wanted,
    },
};

use crate::{
    every_complete_bucket_counts_once, http, one_of,
    servers::{self, Running},
    sums::Sums,
    with,
};

const BUCKET: i64 = 60;

fn stat(metric: &str, arm: &str, stat: &str) -> String {
    format!(
        r#"{{"Metric":{{"Namespace":"Shop","MetricName":"{metric}","Dimensions":[{{"Name":"Version \"1\"","Value":"{arm}"}}]}},"Stat":"{stat}"}}"#
    )
}

fn asking(wanted: impl Fn(&str) -> Wanted, delay: u64) -> PerArm {
    let slots = Slots { bucket: Duration::from_secs(60), delay: Duration::from_secs(delay) };
    let arm = |name: &str| AnyQuestion::CloudWatch(CloudWatch(Timed { wanted: wanted(name), slots }));
    PerArm { canary: arm("canary"), baseline: Some(arm("stable")) }
}

fn counts(delay: u64) -> PerArm {
    asking(|arm| Wanted::Counts { bad: stat("Bad", arm, "Sum"), total: stat("Requests", arm, "Sum") }, delay)
}

fn value(metric: &'static str) -> PerArm {
    asking(|arm| Wanted::Value(stat(metric, arm, "Average")), 0)
}

/// A request that is not signed yet: nobody checks at first.
fn unsigned(server: &Running, service: &str, headers: &str, body: &str) -> String {
    let scope = format!("Credential=x/20260101/eu-central-1/{service}/aws4_request");
    let headers =
        format!("{headers}authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0\r\n");
    http::post(server.address, "/", &headers, body)
}

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    text.split_once(before).unwrap().1.split_once(after).unwrap().0
}

/// A moto with events of known buckets, which takes only what is signed by the keys that it gives out.
fn seeded() -> Option<(Running, Sums, AwsKeys)> {
    let server = servers::moto()?;
    let sums = Sums::until_now(BUCKET, 20);
    let mut data = vec![];
    for (arm, index, total, bad) in sums.all() {
        let (first, last) = (sums.begins(index), sums.begins(index + 1) - 1);
        let mut sample = |metric: &str, at: i64, value: f64| {
            let dimensions = format!(r#"[{{"Name":"Version \"1\"","Value":"{arm}"}}]"#);
            data.push(format!(
                r#"{{"MetricName":"{metric}","Dimensions":{dimensions},"Timestamp":{at},"Value":{value}}}"#
            ));
        };
        sample("Requests", first, (total - 1) as f64);
        sample("Requests", last, 1.0);
        if bad != 0 {
            sample("Bad", first + 30, bad as f64);
        }
        sample("Queue", first, (total / 2) as f64 + 0.5);
    }
    for some in data.chunks(20) {
        let headers = "content-type: application/x-amz-json-1.0\r\nx-amz-target: GraniteServiceVersion20100801.PutMetricData\r\n";
        let body = format!(r#"{{"Namespace":"Shop","MetricData":[{}]}}"#, some.join(","));
        unsigned(&server, "monitoring", headers, &body);
    }
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    unsigned(&server, "iam", form, "Action=CreateUser&Version=2010-05-08&UserName=serinus");
    let policy = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
    let body = format!(
        "Action=PutUserPolicy&Version=2010-05-08&UserName=serinus&PolicyName=all&PolicyDocument={policy}"
    );
    unsigned(&server, "iam", form, &body);
    let made = unsigned(&server, "iam", form, "Action=CreateAccessKey&Version=2010-05-08&UserName=serinus");
    let keys = AwsKeys {
        region: "eu-central-1".to_owned(),
        access_key: Secret::new(between(&made, "<AccessKeyId>", "<")),
        secret_key: Secret::new(between(&made, "<SecretAccessKey>", "<")),
        session_token: None,
    };
    http::post(server.address, "/moto-api/reset-auth", "content-type: text/plain\r\n", "0");
    Some((server, sums, keys))
}

fn source(server: &Running, keys: &AwsKeys) -> Source {
    let mut config = SourceConfig::new(format!("http://{}", server.address));
    config.credentials = Some(Credentials::Aws(keys.clone()));
    Source::new(config).unwrap()
}

#[test]
fn moto_counts_every_complete_bucket_once() {
    let Some((server, sums, keys)) = seeded() else { return };
    with(Some(server), async |server| {
        for delay in [0, 90] {
            let source = source(server, &keys);
            every_complete_bucket_counts_once(&source, &counts(delay), &sums, delay.cast_signed()).await;
        }
    });
}

#[test]
fn moto_takes_what_is_signed_by_its_keys_and_nothing_else() {
    let Some((server, sums, keys)) = seeded() else { return };
    with(Some(server), async |server| {
        let (began, now) = (sums.start * 1000, (sums.begins(5) + 59) * 1000 + 999);
        let ask = async |source: Source, question: PerArm| one_of(&source, &question, began, now).await;
        // The bucket that begins at 5 has a number already, and is not over.
        let half = |arm: &str| (sums.of(arm, 4).unwrap().0 / 2) as f64 + 0.5;
        let expected = Measured::Values { canary: vec![half("canary")], baseline: vec![half("stable")] };
        assert_eq!(ask(source(server, &keys), value("Queue")).await, Ok(expected));
        assert_eq!(ask(source(server, &keys), value("Nothing")).await, Err(Failure::NoData));
        let wrong = AwsKeys { secret_key: Secret::new("hunter2"), ..keys.clone() };
        let failure = ask(source(server, &wrong), value("Queue")).await.unwrap_err();
        assert!(matches!(failure, Failure::Status { status: 400..=403, .. }), "{failure}");
        let nobody = Source::new(SourceConfig::new(format!("http://{}", server.address))).unwrap();
        let failure = ask(nobody, value("Queue")).await.unwrap_err();
        assert_eq!(failure, Failure::Question("its source has no `aws` credentials"));
        let list = asking(
            |arm| {
                let one = |id: &str, metric: &str| {
                    format!(r#"{{"Id":"{id}","MetricStat":{}}}"#, stat(metric, arm, "Average"))
                };
                Wanted::Value(format!("[{},{}]", one("a", "Queue"), one("b", "Requests")))
            },
            0,
        );
        let failure = ask(source(server, &keys), list).await.unwrap_err();
        assert!(matches!(failure, Failure::Question(_)), "{failure}");
    });
}
