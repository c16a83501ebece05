//! Records of services that keep numbers by time.

use serde_json::json;
use serinus::spec::provider::Provider;

#[track_caller]
fn provider(key: &str, more: &serde_json::Value) -> Provider {
    let mut record = json!({"address": "https://api.example.com", "value": "it"});
    let (record_fields, more) = (record.as_object_mut().unwrap(), more.as_object().unwrap());
    record_fields.extend(more.clone());
    serde_json::from_value(json!({ key: record })).unwrap()
}

#[test]
fn a_value_stays_one_value_in_every_language() {
    let value = "a\"} b'\\~,*\n";
    for (key, more, escaped) in [
        ("graphite", json!({}), "a___b__~___"),
        ("influxql", json!({"database": "shop"}), r#"a\"} b\'\\~,*\n"#),
        ("flux", json!({"org": "shop"}), r#"a\"} b'\\~,*\n"#),
        ("cloudWatch", json!({}), r#"a\"} b'\\~,*\n"#),
        ("datadog", json!({}), "a___b____*_"),
        ("newRelic", json!({"account": 1}), r#"a\"} b\'\\~,*\n"#),
        ("wavefront", json!({}), r#"a\"} b\'\\~,*\n"#),
        ("skyWalking", json!({"service": "shop"}), "a__ b___,*_"),
        ("dynatrace", json!({}), "a~\"} b'\\~~,*\n"),
        ("splunk", json!({}), r#"a\"} b\'\\~,*\n"#),
        ("cloudMonitoring", json!({"project": "shop"}), r#"a\"} b\'\\~,*\n"#),
    ] {
        assert_eq!(provider(key, &more).escape(value), escaped, "{key}");
    }
}

#[test]
fn a_slash_a_dollar_and_a_dot_mean_nothing_either() {
    let value = "a/b${c}.d";
    for (key, more, escaped) in [
        ("graphite", json!({}), "a/b__c__d"),
        // Until it is known whether it stands in a regular expression.
        ("influxql", json!({"database": "shop"}), "a\u{1a}b${c}.d"),
        ("flux", json!({"org": "shop"}), r"a\x2fb\x24{c}.d"),
        ("cloudWatch", json!({}), "a/b${c}.d"),
    ] {
        assert_eq!(provider(key, &more).escape(value), escaped, "{key}");
    }
}

#[test]
fn what_a_record_does_not_say_is_as_the_service_needs_it() {
    for (key, more, expected) in [
        ("datadog", json!({}), json!({"bucket": 60, "delay": 60})),
        ("graphite", json!({}), json!({"bucket": 60, "delay": 60})),
        ("influxql", json!({"database": "shop"}), json!({"bucket": 60, "delay": 30})),
        ("cloudWatch", json!({}), json!({"bucket": 60, "delay": 180})),
        ("dynatrace", json!({}), json!({"bucket": 60, "delay": 120})),
        ("cloudMonitoring", json!({"project": "shop"}), json!({"bucket": 60, "delay": 240})),
        ("splunk", json!({"bucket": "10s", "delay": "5s"}), json!({"bucket": 10, "delay": 5})),
    ] {
        let question = provider(key, &more).question(&|it| it.as_str().to_owned()).unwrap();
        let stored = serde_json::to_value(&question).unwrap().to_string();
        let secs = |name: &str| format!("\"{name}\":{{\"secs\":{},\"nanos\":0}}", expected[name]);
        assert!(stored.contains(&secs("bucket")) && stored.contains(&secs("delay")), "{stored}");
    }
}

#[test]
fn the_clock_of_a_skywalking_may_be_ahead_or_behind() {
    for (written, minutes) in
        [("+00:00", Some(0)), ("+05:30", Some(330)), ("-08:00", Some(-480)), ("+5:30x", None)]
    {
        let provider = provider("skyWalking", &json!({"service": "shop", "utcOffset": written}));
        let question = provider.question(&|it| it.as_str().to_owned()).unwrap();
        let stored = serde_json::to_value(&question).unwrap();
        assert_eq!(provider.mistakes().is_empty(), minutes.is_some(), "{written}");
        assert_eq!(stored["skyWalking"]["offsetMinutes"], minutes.unwrap_or_default(), "{written}");
    }
}
