//! Presets, asked about what their data planes exported: `presets/README.md` says where that comes from.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use analysis::{
    Measured,
    provider::{Memory, Polled, Span},
};
use axum::{Router, extract::Query, response::IntoResponse, routing::get};
use jiff::Timestamp;
use regex::Regex;
use serinus::{
    measure::{Facts, measuring, secret_of_this_machine},
    spec::{self, Document, compile::compile_template, provider::PresetName},
    written::Fact,
};

const NOW: i64 = 1_800_000_000;

/// What a scrape found: the name of a series is among its labels.
type Scraped = BTreeMap<BTreeMap<String, String>, f64>;

/// Reads an exposition; `labels` is what the scrape adds.
fn exposition(text: &str, labels: &[(&str, &str)]) -> Scraped {
    let line = Regex::new(r#"^(\w+)\{(.*)\} (\S+)$"#).unwrap();
    let label = Regex::new(r#"(\w+)="([^"]*)""#).unwrap();
    let series = |text: &str| {
        let parts = line.captures(text).unwrap_or_else(|| panic!("{text}"));
        let written = label.captures_iter(&parts[2]).map(|it| (it[1].to_owned(), it[2].to_owned()));
        let added = labels.iter().map(|it| (it.0.to_owned(), it.1.to_owned()));
        let name = ("__name__".to_owned(), parts[1].to_owned());
        (written.chain(added).chain([name]).collect(), parts[3].parse().unwrap())
    };
    text.lines().map(series).collect()
}

/// Whether a series is one of a selector.
fn fits(labels: &BTreeMap<String, String>, selector: &str) -> bool {
    let (name, matchers) = selector.split_once('{').unwrap();
    let matcher = Regex::new(r#"(\w+)(=~|=)"([^"]*)""#).unwrap();
    let mut all = matcher.captures_iter(matchers);
    labels["__name__"] == name
        && all.all(|it| {
            let value = labels.get(&it[1]).map_or("", String::as_str);
            match &it[2] {
                "=" => value == &it[3],
                _ => Regex::new(&format!("^(?:{})$", &it[3])).unwrap().is_match(value),
            }
        })
}

/// A Prometheus that scraped twice, a minute and ten seconds ago.
async fn prometheus(scrapes: [Scraped; 2]) -> SocketAddr {
    let scrapes = Arc::new(scrapes);
    let answer = move |Query(asked): Query<BTreeMap<String, String>>| {
        let scrapes = scrapes.clone();
        async move {
            let query = asked["query"].clone();
            let past = query.strip_prefix("last_over_time(");
            let selector = past.unwrap_or(&query).rsplit_once('[').unwrap().0;
            let found =
                scrapes[1].iter().filter(|(labels, _)| fits(labels, selector)).map(|(labels, after)| {
                    let before = scrapes[0].get(labels).copied().unwrap_or_default();
                    match past {
                        Some(_) => {
                            serde_json::json!({"metric": labels, "value": [NOW - 61, before.to_string()]})
                        }
                        None => serde_json::json!({
                            "metric": labels,
                            "values": [[NOW - 60, before.to_string()], [NOW - 10, after.to_string()]],
                        }),
                    }
                });
            let kind = if past.is_some() { "vector" } else { "matrix" };
            let result: Vec<_> = found.collect();
            let answer =
                serde_json::json!({"status": "success", "data": {"resultType": kind, "result": result}});
            axum::Json(answer).into_response()
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().route("/api/v1/query", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

fn template(address: SocketAddr, preset: &str) -> String {
    format!(
        "apiVersion: serinus.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{ name: t }}\nspec:\n  metrics:\n    \
         - name: it\n      judge: {{ sequential: {{}} }}\n      provider: {{ prometheus: {{ address: \"http://{address}\", preset: {preset} }} }}\n"
    )
}

/// Asks a preset about both sides.
#[track_caller]
fn measured(preset: &str, scrapes: [Scraped; 2]) -> Measured {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let text = template(prometheus(scrapes).await, preset);
        let read = spec::read("t.yaml", text.as_bytes());
        assert!(read.diagnostics.is_empty(), "{}", super::report(&read));
        let (_, analysis) = compile_template(&read.documents, None, &[], &"shop".into(), None).unwrap();
        let of = |pods: &str, service: &str| {
            BTreeMap::from([(Fact::Pods, pods.to_owned()), (Fact::Service, service.to_owned())])
        };
        let facts = Facts {
            canary: of("shop-b-.*", "shop-canary"),
            stable: of("shop-a-.*", "shop-stable"),
            weight: None,
        };
        let ready = measuring(&analysis, &facts, &secret_of_this_machine).unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let span = Span { began: at(NOW - 120), from: at(NOW - 120), to: at(NOW) };
        let mut memory = [Memory::default(), Memory::default()];
        let polled = ready[0].question.poll(ready[0].source.as_deref(), span, None, &mut memory).await;
        let Polled::Poll(poll, None) = polled else { panic!("{polled:?}") };
        poll.measured
    })
}

fn counts(measured: &Measured) -> [(u64, u64); 2] {
    let Measured::Counts { canary, baseline: Some(baseline) } = measured else { panic!("{measured:?}") };
    [canary, baseline].map(|it| (it.total, it.bad))
}

/// The bounds, and all requests of the canary and of stable.
fn durations(measured: Measured) -> (Vec<f64>, u64, u64) {
    let Measured::Histogram(it) = measured else { panic!("{measured:?}") };
    (it.bounds, *it.canary.last().unwrap(), *it.baseline.last().unwrap())
}

fn traefik() -> [Scraped; 2] {
    [include_str!("presets/traefik_before.prom"), include_str!("presets/traefik_after.prom")]
        .map(|it| exposition(it, &[("instance", "traefik:8082")]))
}

fn otel() -> [Scraped; 2] {
    [
        (include_str!("presets/otel_before_canary.prom"), include_str!("presets/otel_before_stable.prom")),
        (include_str!("presets/otel_after_canary.prom"), include_str!("presets/otel_after_stable.prom")),
    ]
    .map(|(canary, stable)| {
        let mut all = exposition(canary, &[("pod", "shop-b-1")]);
        all.extend(exposition(stable, &[("pod", "shop-a-1")]));
        all
    })
}

fn istio() -> [Scraped; 2] {
    [include_str!("presets/istio_before.prom"), include_str!("presets/istio_after.prom")]
        .map(|it| exposition(it, &[]))
}

#[test]
fn traefiks_services_are_told_apart_and_counted_to_the_last_request() {
    assert_eq!(counts(&measured("{ name: traefik, signal: errors }", traefik())), [(20, 4), (60, 0)]);
    let slow = durations(measured("{ name: traefik, signal: latency }", traefik()));
    assert_eq!(slow, (vec![0.1, 0.3, 1.2, 5.0], 20, 60));
}

#[test]
fn requests_counted_by_opentelemetrys_conventions_are_told_apart_by_replica() {
    assert_eq!(counts(&measured("{ name: otelHttp, signal: errors }", otel())), [(20, 5), (20, 0)]);
    let (bounds, canary, stable) = durations(measured("{ name: otelHttp, signal: latency }", otel()));
    assert_eq!((bounds.first().copied(), bounds.len(), canary, stable), (Some(0.005), 14, 20, 20));
}

#[test]
fn istio_counts_what_the_called_side_reports_and_requests_without_an_answer_as_bad() {
    assert_eq!(counts(&measured("{ name: istio, signal: errors }", istio())), [(40, 4), (50, 0)]);
    let slow = durations(measured("{ name: istio, signal: latency }", istio()));
    assert_eq!(slow, (vec![50.0, 100.0], 40, 50));
}

#[test]
fn a_label_a_side_and_more_matchers_can_be_given() {
    let preset = r#"{ name: traefik, signal: errors, label: service, arm: "$(arm.service)@file", matchers: 'code="500"' }"#;
    let with_none = exposition(include_str!("presets/traefik_before.prom"), &[]);
    let with_some = exposition(include_str!("presets/traefik_after.prom"), &[]);
    // Stable has no such series: it is not known whether it answers at all.
    let stable = r#"traefik_service_requests_total{code="500",method="GET",protocol="http",service="shop-stable@file"} 1"#;
    let scrapes = [with_none, with_some].map(|it| it.into_iter().chain(exposition(stable, &[])).collect());
    assert_eq!(counts(&measured(preset, scrapes)), [(4, 4), (0, 0)]);
}

#[test]
fn a_service_of_traefik_is_not_taken_for_another_whose_name_begins_alike() {
    let text = template("127.0.0.1:9".parse().unwrap(), "{ name: traefik, signal: errors }");
    let read = spec::read("t.yaml", text.as_bytes());
    let Document::AnalysisTemplate(it) = &read.documents[0].document else { panic!() };
    let expanded = it.spec.metrics[0].provider.expanded();
    let total = expanded.texts().into_iter().find(|it| it.0 == "total").unwrap().1;
    let of_shop =
        total.fill(|it| Some(if it.to_string() == "namespace" { "web" } else { "shop" }.to_owned()));
    let of = |service: &str| {
        let labels = [("__name__", "traefik_service_requests_total"), ("service", service)];
        fits(&labels.map(|it| (it.0.to_owned(), it.1.to_owned())).into(), &of_shop)
    };
    for it in [
        "shop@file",
        "web-shop-80@kubernetescrd",
        "web-shop-http-80@kubernetesgateway",
        "web-shop-http@kubernetes",
    ] {
        assert!(of(it), "{it}");
    }
    for it in
        ["shop-canary@file", "web-shop-canary-80@kubernetescrd", "other-shop-80@kubernetescrd", "ashop@file"]
    {
        assert!(!of(it), "{it}");
    }
}

#[test]
fn every_preset_has_series_that_it_is_tested_on() {
    let tested = ["traefik", "otelHttp", "istio"];
    assert_eq!(PresetName::ALL.iter().map(|it| it.key()).collect::<Vec<_>>(), tested);
}
