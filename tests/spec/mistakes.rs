//! One test per kind of mistake; what is said is kept in `mistakes/`, as users see it.

use serinus::spec::{self, Severity};

use super::{GOOD, rendered, report, with_fields, with_strategy};

#[track_caller]
fn says(name: &str, bytes: impl AsRef<[u8]>) {
    let text = rendered(bytes.as_ref());
    assert!(!text.is_empty(), "{name}: nothing is said");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("mistakes");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
    let Some(text) = in_cluster(bytes.as_ref()) else { return };
    if spec::read("rollout.yaml", text.as_bytes()).diagnostics.iter().any(|it| it.severity == Severity::Error)
    {
        settings.set_snapshot_path("mistakes/cluster");
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// The same mistake in a document of a cluster, which `tests/cluster` hands to an API server; `None`: there is no such.
fn in_cluster(bytes: &[u8]) -> Option<String> {
    const LONGEST: usize = 8_000;
    let text =
        std::str::from_utf8(bytes).ok().filter(|it| it.len() <= LONGEST && !it.starts_with('\u{feff}'))?;
    let here = GOOD.lines().skip(4).take(2).map(|it| format!("{it}\n")).collect::<String>();
    let guards = if text.contains("analyses:") {
        ""
    } else {
        "  analyses: [ { name: own, templateRef: { name: own } } ]\n"
    };
    let there = format!(
        "  workloadRef: {{ apiVersion: apps/v1, kind: Deployment, name: shop }}\n  services: [ {{ name: shop }} ]\n  \
         traffic: [ {{ gatewayApi: {{ routes: [ {{ name: shop }} ] }} }} ]\n{guards}"
    );
    let measured = "prometheus: { address: \"http://127.0.0.1:9090\", bad: bad_total, total: all_total }";
    let secret = regex::Regex::new(r"\{ (env|file): \S+ \}").unwrap();
    let moved = text
        .replace(&here, &there)
        .replace("proxy: { signal: errors }", measured)
        .replace("kind: BuiltIn, name: golden }", "name: golden-signals }");
    let moved = secret.replace_all(&moved, "{ secret: { name: keys, key: it } }").into_owned();
    let is_ours =
        ["workloadRef:", "kind: MetricSource", "kind: AnalysisTemplate"].iter().any(|it| moved.contains(it));
    let elsewhere = ["workload:", "proxy:"].iter().any(|it| moved.contains(it));
    let whole = moved.trim_start_matches("---\n").starts_with("apiVersion: ");
    (is_ours && !elsewhere && whole).then_some(moved)
}

#[track_caller]
fn says_nothing(bytes: impl AsRef<[u8]>) {
    let text = rendered(bytes.as_ref());
    assert!(text.is_empty(), "{text}");
}

#[test]
fn the_text_that_mistakes_are_put_into_has_none() {
    says_nothing(GOOD);
}

// Files that are no text, or too much of it.

#[test]
fn an_empty_file() {
    says("file_empty", "");
    says("file_blank", " \n\n");
    says("file_of_comments", "# nothing\n---\n");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_change_nothing() {
    says_nothing(format!("\u{feff}{GOOD}"));
    says_nothing(GOOD.replace('\n', "\r\n"));
    let broken = GOOD.replace("kind: Rollout", "kind: Rolout");
    let windows = broken.replace('\n', "\r\n");
    assert_eq!(rendered(windows.as_bytes()), rendered(broken.as_bytes()));
    assert_eq!(rendered(format!("\u{feff}{broken}").as_bytes()), rendered(broken.as_bytes()));
}

#[test]
fn ten_megabytes_are_refused_without_being_read() {
    let mut text = GOOD.to_owned();
    text.push_str(&"# more\n".repeat(1_500_000));
    says("file_too_large", text);
}

#[test]
fn bytes_that_are_no_utf8() {
    let mut bytes = GOOD.as_bytes().to_vec();
    let at = GOOD.find("shop").unwrap();
    bytes[at] = 0xff;
    says("file_not_utf8", bytes);
    says("file_utf16", [0xff, 0xfe, b'a', 0, b'p', 0]);
    says("file_binary", [0x7f, b'E', b'L', b'F', 0, 1, 2, 3]);
}

// Text that is no YAML, or too much of it.

#[test]
fn broken_yaml() {
    says("yaml_tab", GOOD.replace("  workload:", "\tworkload:"));
    says("yaml_unclosed_quote", GOOD.replace("\"127.0.0.1:8080\"", "\"127.0.0.1:8080"));
    says("yaml_unclosed_bracket", GOOD.replace("[ ./shop ]", "[ ./shop"));
    says("yaml_indentation", GOOD.replace("  strategy:", " strategy:"));
    says("yaml_unquoted_colon", GOOD.replace("./shop", "./shop a: b: c"));
}

#[test]
fn a_broken_document_does_not_hide_the_others() {
    let text = format!(
        "{}---\na: [\n---\n{}",
        GOOD.replace("canary", "canery"),
        GOOD.replace("shop }", "shop, x: 1 }")
    );
    says("documents_one_broken", text);
}

#[test]
fn deep_nesting() {
    says("yaml_deep_flow", format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000)));
    let deep: String = (0..300).map(|it| format!("{}a:\n", " ".repeat(it))).collect();
    says("yaml_deep_block", deep);
}

#[test]
fn aliases_that_grow() {
    let mut text = "a0: &a0 [ x, x, x, x, x, x, x, x, x, x ]\n".to_owned();
    for level in 1..12 {
        let before = level - 1;
        let nine = vec![format!("*a{before}"); 9].join(", ");
        text += &format!("a{level}: &a{level} [ {nine} ]\n");
    }
    says("yaml_alias_bomb", text);
    says("yaml_alias_unknown", GOOD.replace("{ canary: {} }", "*strategy"));
    says("yaml_alias_of_itself", "a: &a [ *a ]\n");
    let twice = format!("{GOOD}---\n{}", GOOD.replace("name: shop", "name: &n shop").replace("./shop", "*n"));
    says_nothing(twice.replacen("name: shop", "name: one", 1).replacen("8080", "8081", 1));
}

#[test]
fn yaml_that_readers_disagree_about() {
    says("yaml_tags", GOOD.replace("./shop", "!!binary c2hvcA==").replace("{ canary: {} }", "!canary {}"));
    says("yaml_merge_key", GOOD.replace("{ name: shop }", "{ name: shop, <<: { labels: {} } }"));
    says("yaml_list_as_key", GOOD.replace("{ name: shop }", "{ name: shop, [ a ]: b }"));
    says("yaml_off", with_fields("mode: off"));
    says_nothing(with_fields("mode: \"off\""));
    says("yaml_numbers", with_fields("replicas: 1e400").replace("./shop", ".nan"));
}

#[test]
fn duplicate_keys() {
    says("duplicate_key", with_fields("strategy: { linear: {} }"));
}

// Documents of the wrong shape.

#[test]
fn documents_of_unknown_kinds() {
    says("kind_unknown", GOOD.replace("Rollout", "Rolout"));
    says("kind_missing", GOOD.replace("kind: Rollout\n", ""));
    says("version_unknown", GOOD.replace("v1alpha1", "v1"));
    says("version_missing", GOOD.replace("apiVersion: serinus.dev/v1alpha1\n", ""));
    says("document_list", "- a\n- b\n");
    says("document_text", "hello\n");
    says("document_foreign_alone", "apiVersion: v1\nkind: Service\nmetadata: { name: shop }\n");
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: shop }\n";
    says_nothing(format!("{GOOD}{service}"));
}

#[test]
fn unknown_fields() {
    says("field_unknown", GOOD.replace("strategy:", "stategy:").replace("command", "comand"));
    says(
        "field_of_argo",
        with_strategy("{ canary: { steps: [ { setWeight: 5 }, { pause: { duration: 10m } } ] } }"),
    );
    says("field_of_flagger", with_fields("targetRef: { name: shop }\n  progressDeadlineSeconds: 60"));
    says("field_very_long", with_fields(&format!("{}: 1", "x".repeat(5_000))));
}

#[test]
fn reserved_fields() {
    says("field_reserved", with_fields("group: a\n  strategyRef: { name: b }\n  hooks: []"));
    says(
        "step_reserved",
        with_strategy("{ canary: { steps: [ { experiment: {} }, { plugin: { name: a } } ] } }"),
    );
}

#[test]
fn wrong_types() {
    says(
        "types",
        with_fields("replicas: two\n  deadlines: [ 10m ]\n  mode: 1\n  analyses: { name: a }")
            .replace("[ ./shop ]", "./shop --port 80"),
    );
    says("type_number_as_text", GOOD.replace("./shop ]", "./shop, --port, 8080, true ]"));
    says("type_choice_as_text", with_strategy("canary"));
    says("type_nothing", with_strategy("").replace("{ process: { command: [ ./shop ] } }", "{ process: }"));
    says("type_two_choices", with_strategy("{ canary: {}, linear: {} }"));
    says("type_no_choice", with_strategy("{}"));
}

#[test]
fn missing_fields() {
    says("field_missing", "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\n");
    says("field_missing_inside", GOOD.replace("command: [ ./shop ]", "").replace("name: shop", ""));
}

#[test]
fn weights() {
    for (name, weight) in [
        ("weight_negative", "-5%"),
        ("weight_above_all", "101%"),
        ("weight_without_unit", "5"),
        ("weight_decimal_without_unit", "0.5"),
        ("weight_too_fine", "0.00001%"),
        ("weight_word", "half"),
        ("weight_nan", ".nan"),
    ] {
        says(
            name,
            with_strategy(&format!("{{ canary: {{ steps: [ {{ weight: {weight}, until: {{}} }} ] }} }}")),
        );
    }
}

#[test]
fn durations() {
    let fields =
        ["10M", "1y", "10", "1.5h", "-5m", "5 minits", "\"\"", "m", "forever", "99999999999999999999h"];
    let lines: Vec<String> =
        fields.iter().map(|it| format!("    - {{ pause: {{ for: {it} }} }}\n")).collect();
    let text = GOOD.replace("  strategy: { canary: {} }\n", "  strategy:\n   canary:\n    steps:\n")
        + &lines.concat();
    says("durations", text);
}

#[test]
fn names_and_texts() {
    says("name_upper_case", GOOD.replace("name: shop", "name: My_Shop"));
    says("name_too_long", GOOD.replace("name: shop", &format!("name: {}", "a".repeat(64))));
    says("name_of_step", with_strategy("{ canary: { steps: [ { name: Step One, until: {} } ] } }"));
    says("address", GOOD.replace("\"127.0.0.1:8080\"", "localhost:8080"));
    says("address_number", GOOD.replace("\"127.0.0.1:8080\"", "8080"));
}

#[test]
fn text_parameters() {
    says(
        "parameters",
        GOOD.replace("./shop ]", r#"./shop, "--port=$(prot)", $(weight), "$(date)", "$(port", "$$(date)" ]"#),
    );
}

// Documents of the right shape that cannot be meant.

#[test]
fn steps_that_make_no_sense() {
    says(
        "step_two_gates",
        with_strategy("{ canary: { steps: [ { weight: 5%, until: {}, approve: {} } ] } }"),
    );
    says("step_no_gate", with_strategy("{ canary: { steps: [ { weight: 5% } ] } }"));
    says("steps_none", with_strategy("{ canary: { steps: [] } }"));
    says(
        "step_same_name",
        with_strategy(
            "{ canary: { steps: [ { name: a, weight: 5%, until: {} }, { name: a, weight: 6%, until: {} } ] } }",
        ),
    );
    says(
        "step_goes_back",
        with_strategy("{ canary: { steps: [ { weight: 50%, until: {} }, { weight: 5%, until: {} } ] } }"),
    );
    says(
        "step_nothing_to_judge",
        with_strategy("{ canary: { steps: [ { scale: { replicas: 1 }, until: {} } ] } }"),
    );
    says(
        "step_does_nothing",
        with_strategy("{ canary: { steps: [ { weight: 5%, until: {} }, { atOnce: {} } ] } }"),
    );
    says(
        "step_min_above_max",
        with_strategy("{ canary: { steps: [ { weight: 5%, until: { min: 1h, max: 5m } } ] } }"),
    );
    says(
        "step_match_everything",
        with_strategy("{ canary: { steps: [ { match: { id: a, anyOf: [ {} ] }, approve: {} } ] } }"),
    );
    says(
        "step_match_ends_nothing",
        with_strategy("{ canary: { steps: [ { weight: 5%, match: { id: a, anyOf: [] }, approve: {} } ] } }"),
    );
    says(
        "step_mirror_of_nothing",
        with_strategy("{ canary: { steps: [ { weight: 100%, mirror: 10%, approve: {} } ] } }"),
    );
    says(
        "step_bad_regex",
        with_strategy(
            r#"{ canary: { steps: [ { match: { id: a, anyOf: [ { path: { regex: "(" } } ] }, approve: {} } ] } }"#,
        ),
    );
}

#[test]
fn ten_thousand_steps() {
    let steps: String =
        (1..=10_000).map(|it| format!("    - {{ name: s{it}, weight: 1%, until: {{}} }}\n")).collect();
    let text = GOOD.replace("  strategy: { canary: {} }\n", "  strategy:\n   canary:\n    steps:\n") + &steps;
    says("steps_too_many", text);
    says("steps_too_many_made", with_strategy("{ linear: { by: 0.0001% } }"));
}

#[test]
fn weights_that_go_nowhere() {
    says("linear_by_nothing", with_strategy("{ linear: { by: 0% } }"));
    says("linear_backwards", with_strategy("{ linear: { from: 60%, upTo: 50% } }"));
    says("exponential_by_one", with_strategy("{ exponential: { factor: 1x } }"));
    says("exponential_factor", with_strategy("{ exponential: { factor: 2 } }"));
    says("ab_test_of_nobody", with_strategy("{ abTest: {} }"));
    says("shadow_of_nothing", with_strategy("{ shadow: { mirror: 0% } }"));
}

#[test]
fn nothing_that_gates() {
    says(
        "nothing_gates",
        with_fields("analyses: []").replace("canary: {}", "linear: { leave: { pause: { for: 5m } } }"),
    );
    says("no_analyses", with_fields("analyses: []"));
}

#[test]
fn comparisons_without_anything_to_compare_with() {
    says(
        "baseline_at_all",
        with_strategy("{ canary: { steps: [ { weight: 100%, analyze: { for: 5m } } ] } }"),
    );
    says("baseline_at_none", with_strategy("{ shadow: { leave: { until: {} } } }"));
    says("baseline_after_switch", with_strategy("{ blueGreen: { after: [ { analyze: { for: 5m } } ] } }"));
}

const TEMPLATE: &str = r#"---
apiVersion: serinus.dev/v1alpha1
kind: AnalysisTemplate
metadata: { name: golden-signals }
spec:
  args: [ { name: service }, { name: code, value: "5.." } ]
  metrics:
    - name: errors
      judge: { sequential: {} }
      provider:
        prometheus:
          address: http://127.0.0.1:9090
          bad: http_requests_total{service="$(args.service)",pod=~"$(arm.pods)",code=~"$(args.code)"}
          total: http_requests_total{service="$(args.service)",pod=~"$(arm.pods)"}
"#;

/// The same template, measured in another way.
fn measured_by(record: &str) -> String {
    let from = TEMPLATE.find("        prometheus:").unwrap_or(TEMPLATE.len());
    format!("{}        {record}\n", &TEMPLATE[..from])
}

fn with_guard(guard: &str) -> String {
    with_fields(&format!("analyses: [ {guard} ]")) + &measured_by("proxy: { signal: errors }")
}

fn source(fields: &str) -> String {
    format!(
        "apiVersion: serinus.dev/v1alpha1\nkind: MetricSource\nmetadata: {{ name: it }}\nspec:\n  address: https://api.example.com\n  {fields}\n"
    )
}

#[test]
fn secrets_stand_in_no_document_and_no_header_is_given_twice() {
    says_nothing(source(
        "secretHeaders: { DD-API-KEY: { env: API }, DD-APPLICATION-KEY: { file: /run/app } }",
    ));
    says_nothing(source("credentials: { authorization: { scheme: Api-Token, token: { env: DT } } }"));
    says_nothing(source("headers: { X-Scope-OrgID: team }"));
    says("header_secret", source("headers: { DD-API-KEY: abcdef, X-Scope-OrgID: team }"));
    says("header_twice", source("headers: { X-Team: a }\n  secretHeaders: { x-team: { env: TEAM } }"));
    says(
        "header_of_credentials",
        source("credentials: { bearer: { env: T } }\n  secretHeaders: { Authorization: { env: T } }"),
    );
    says("header_no_name", source("secretHeaders: { \"X Team\": { env: TEAM } }"));
}

#[test]
fn presets_that_make_no_question() {
    let of = |record: &str| {
        measured_by(&format!("prometheus: {{ address: \"http://127.0.0.1:9090\", {record} }}"))
    };
    says_nothing(of("preset: { name: traefik, signal: latency, matchers: 'entrypoint=\"web\"' }"));
    says("preset_unknown", of("preset: { name: traffic, signal: errors }"));
    says("preset_and_query", of("query: up, preset: { name: traefik, signal: errors }"));
    says(
        "preset_no_matchers",
        of("preset: { name: istio, signal: errors, matchers: 'a=\"b\"} or up{c=\"d\"' }"),
    );
}

#[test]
fn questions_that_a_service_would_answer_wrongly() {
    let of = |key: &str, record: &str| {
        measured_by(&format!("{key}: {{ address: \"https://api.example.com\", {record} }}"))
    };
    says("datadog_rates", of("datadog", "bad: \"sum:errors{*}\", total: \"sum:hits{*}.as_count()\""));
    says(
        "new_relic_says_when",
        of("newRelic", "account: 1, value: \"SELECT average(duration) FROM Transaction SINCE 1 hour ago\""),
    );
    says(
        "influxql_says_when",
        of("influxql", "database: shop, value: SELECT mean(n) FROM a WHERE time > now() - 1h"),
    );
    says("influxql_groups", of("influxql", "database: shop, value: 'SELECT mean(n) FROM a GROUP BY pod'"));
    says(
        "flux_by_end",
        of(
            "flux",
            "org: shop, value: 'from(bucket: \"a\") |> range(start: v.timeRangeStart, stop: v.timeRangeStop) |> aggregateWindow(every: \
             v.windowPeriod, fn: mean)'",
        ),
    );
    says(
        "flux_without_time",
        of("flux", "org: shop, value: 'from(bucket: \"a\") |> range(start: -1h) |> mean()'"),
    );
    says(
        "cloud_watch_averages",
        of(
            "cloudWatch",
            "bad: '{\"Metric\":{},\"Stat\":\"Average\"}', total: '{\"Metric\":{},\"Stat\":\"Sum\",\"Period\":60}', bucket: 90s",
        ),
    );
    says("splunk_published", of("splunk", "value: \"data('a').mean().publish()\""));
    says("service_two_questions", of("dynatrace", "value: a, total: b, bucket: 90s"));
    says("bucket_of_wavefront", of("wavefront", "value: 'ts(a)', bucket: 10s"));
    says(
        "sky_walking_clock",
        of("skyWalking", "service: shop, value: service_cpm, bucket: 5m, utcOffset: '+99:00'"),
    );
    says("project", of("cloudMonitoring", "project: '../other', bad: a, total: b, align: p99"));
}

#[test]
fn what_is_asked_must_be_known_where_it_is_asked() {
    let guard = "{ name: g, templateRef: { name: golden-signals }, args: [ { name: service, value: a } ] }";
    let of = |template: &str| with_fields(&format!("analyses: [ {guard} ]")) + template;
    says_nothing(of(TEMPLATE));
    says("service_on_one_machine", of(&TEMPLATE.replace("pod=~\"$(arm.pods)\"", "svc=\"$(arm.service)\"")));
    let run = "---\napiVersion: serinus.dev/v1alpha1\nkind: AnalysisRun\nmetadata: { name: r }\nspec: { templates: [ { name: golden-signals, args: [ { name: service, value: a } ] } ] }\n";
    says(
        "template_of_a_program_in_a_cluster",
        measured_by("command: { command: [ ./m ], prints: counts }") + run,
    );
}

#[test]
fn references_that_lead_nowhere() {
    says_nothing(with_guard(
        "{ name: g, templateRef: { name: golden-signals }, args: [ { name: service, value: a } ] }",
    ));
    says("template_unknown", with_guard("{ name: g, templateRef: { name: golden-signal } }"));
    says("template_built_in_unknown", with_guard("{ name: g, templateRef: { kind: BuiltIn, name: gold } }"));
    says(
        "argument_unknown",
        with_guard(
            "{ name: g, templateRef: { name: golden-signals }, args: [ { name: servce, value: a } ] }",
        ),
    );
    says(
        "argument_parameter",
        with_guard(
            "{ name: g, templateRef: { name: golden-signals }, args: [ { name: service, value: $(rolout) } ] }",
        ),
    );
    says(
        "guard_from_nowhere",
        with_guard("{ name: g, templateRef: { kind: BuiltIn, name: golden }, from: weight-15 }"),
    );
    says(
        "guard_same_name",
        with_guard(
            "{ name: g, templateRef: { kind: BuiltIn, name: golden } }, { name: g, templateRef: { kind: BuiltIn, name: golden } }",
        ),
    );
    says("guard_reserved_name", with_guard("{ name: pods, templateRef: { kind: BuiltIn, name: golden } }"));
    let step =
        "{ canary: { steps: [ { weight: 5%, analyze: { templates: [ { name: golden-signals } ] } } ] } }";
    says("argument_missing_in_step", with_strategy(step) + &measured_by("proxy: { signal: errors }"));
}

#[test]
fn templates() {
    let with = |from: &str, to: &str| format!("{GOOD}{}", TEMPLATE.replace(from, to));
    says("template_argument", with("$(args.service)", "$(args.servce)"));
    says("template_parameter", with("$(arm.pods)", "$(arm.pod)"));
    says(
        "template_nothing_asked",
        with("          total: http_requests_total{service=\"$(args.service)\",pod=~\"$(arm.pods)\"}\n", ""),
    );
    says("template_nobody_asked", with("          address: http://127.0.0.1:9090\n", ""));
    says(
        "template_judge",
        with("sequential: {}", "sequential: { rollBack: { worseThan: 3x }, objective: 10% }"),
    );
    says("template_judge_unknown", with("sequential: {}", "sequental: {}"));
    says("template_fraction", with("sequential: {}", "sequential: { rollBack: { alpha: 5 } }"));
    says("template_condition", with("sequential: {}", "threshold: { pass: \"reslt > 1 &&\" }"));
    says("template_dry", with("judge:", "dryRun: true\n      judge:"));
    says("template_no_metrics", with("metrics:", "metrics: []\n  more:"));
    let web = |record: &str| format!("{GOOD}{}", measured_by(&format!("web: {record}")));
    says_nothing(web(
        "{ address: \"http://127.0.0.1:1\", path: /stats?of=$(args.service), bad: $.bad, total: $.total }",
    ));
    says(
        "template_selector",
        with("total: http_requests_total{", "total: sum(http_requests_total{")
            .replace("$(arm.pods)\"}\n", "$(arm.pods)\"})\n"),
    );
    says("template_web_unclear", web("{ address: \"http://127.0.0.1:1\", path: /stats, bad: $.bad }"));
    says("template_web_paths", web("{ path: stats, value: \"$.[\" }"));
}

#[test]
fn two_documents_of_one_name() {
    says("document_twice", format!("{GOOD}---\n{}", GOOD.replace("8080", "8081")));
    says("address_twice", format!("{GOOD}---\n{}", GOOD.replace("name: shop", "name: other")));
}

#[test]
fn what_does_not_belong_together() {
    let cluster = "{ apiVersion: apps/v1, kind: Deployment, name: shop }";
    let workload = "workload: { process: { command: [ ./shop ] } }";
    says("workload_twice", with_fields(&format!("workloadRef: {cluster}")));
    says("workload_none", GOOD.replace(&format!("  {workload}\n"), ""));
    says("proxy_in_cluster", GOOD.replace(workload, &format!("workloadRef: {cluster}")));
    says(
        "gateway_on_machine",
        GOOD.replace(
            "{ proxy: { listen: [ { address: \"127.0.0.1:8080\" } ] } }",
            "{ gatewayApi: { routes: [ { name: shop } ] } }",
        ),
    );
    says(
        "traffic_none",
        GOOD.replace("  traffic: [ { proxy: { listen: [ { address: \"127.0.0.1:8080\" } ] } } ]\n", ""),
    );
    says(
        "traffic_no_router",
        GOOD.replace("{ proxy: { listen: [ { address: \"127.0.0.1:8080\" } ] } }", "{ settle: 3s }"),
    );
    says("traffic_two_routers", GOOD.replace("] } } ]", "] }, gatewayApi: { routes: [ { name: a } ] } } ]"));
    says("services_on_machine", with_fields("services: [ { name: shop } ]"));
    says("process_details", GOOD.replace("command: [ ./shop ]", "command: [ ./shop ], files: [ ../a, 'b/*' ], readiness: { http: {}, tcp: {}, every: 0s }, restart: { first: 1m, max: 1s }, logs: { size: 1KiB }"));
}

/// With another command, and more fields beside it.
fn with_command(command: &str) -> String {
    GOOD.replace("command: [ ./shop ]", &format!("command: {command}"))
}

#[test]
fn what_only_a_shell_would_understand_in_a_command_that_none_reads() {
    says(
        "command_port",
        with_command("[ ./shop, $PORT, '--port=${PORT}', --revision, \"$SERINUS_REVISION\" ]"),
    );
    says(
        "command_variable",
        with_command("[ ./shop, $HOME/data, $DATA ], env: [ { name: DATA, value: /srv } ]"),
    );
    says("command_in_one_word", with_command("[ node server.js ]"));
    says("command_with_option_in_one_word", with_command("[ ./shop --port 8080, --fast ]"));
    says("command_option_and_value", with_command("[ ./shop, \"--port $(port)\" ]"));
    says("command_operators", with_command("[ ./migrate, \"&&\", ./shop, \">\", log ]"));
    says("command_assignment", with_command("[ LEVEL=debug, ./shop ]"));
    says("command_home", with_command("[ ~/bin/shop ]"));
    says("command_of_java", with_command("[ java, -jar, shop.jar, \"--server.port=${PORT}\" ]"));
}

#[test]
fn what_a_shell_or_a_script_reads_is_left_to_it() {
    for command in [
        "[ sh, -c, \"exec ./shop --port $PORT > log 2>&1 && echo\" ]",
        "[ /bin/bash, -ec, 'LEVEL=debug node server.js', $PORT ]",
        "[ env, LEVEL=debug, sh, -c, \"./shop $PORT | tee log\" ]",
        "[ su, app, -c, \"./shop --port $PORT\" ]",
        "[ node, -e, \"console.log('$PORT')\" ]",
        "[ awk, '{ print $NF }' ]",
        "[ perl, -e, 'print $ENV' ]",
        "[ ./shop, --title, My shop, --price, 5$ ]",
        "[ /srv/My Shop/shop, --port, \"$(port)\" ]",
        "[ ./shop, \"$$(date)\" ]",
    ] {
        says_nothing(with_command(command));
    }
}

#[test]
fn a_readiness_question_that_contradicts_itself() {
    let asked = |http: &str| with_command(&format!("[ ./shop ], readiness: {{ http: {http} }}"));
    says("readiness_host_twice", asked("{ host: shop.example, headers: [ { name: Host, value: other } ] }"));
    says("readiness_of_connection", asked("{ headers: [ { name: Connection, value: keep-alive } ] }"));
    says("readiness_host_bad", asked("{ host: 'a b', headers: [ { name: 'x y', value: z } ] }"));
    says_nothing(asked(
        "{ host: 'shop.example:443', headers: [ { name: X-Forwarded-Proto, value: https } ] }",
    ));
    says_nothing(asked("{ path: /healthz, headers: [ { name: Host, value: shop.example } ] }"));
}

#[test]
fn upstreams() {
    let upstream = |text: &str| GOOD.replace("{ process: { command: [ ./shop ] } }", text);
    says_nothing(upstream(
        "{ upstream: { current: v1, releases: [ { revision: v1, addresses: [ \"10.0.0.1:80\" ] } ] } }",
    ));
    says(
        "upstream_fresh_baseline",
        format!(
            "{}---\napiVersion: serinus.dev/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{ name: own }}\nspec:\n  metrics:\n    - \
             name: errors\n      provider: {{ proxy: {{ signal: errors }} }}\n      judge: {{ sequential: {{ baseline: fresh }} }}\n",
            upstream("{ upstream: { current: v1, releases: [ { revision: v1, addresses: [ \"10.0.0.1:80\" ] } ] } }")
                .replace("  strategy:", "  analyses: [ { name: own, templateRef: { name: own } } ]\n  strategy:")
        ),
    );
    says(
        "upstream_unknown",
        upstream(
            "{ upstream: { current: v2, releases: [ { revision: v1, addresses: [ \"10.0.0.1:80\" ] } ] } }",
        ),
    );
    says("upstream_twice", upstream("{ upstream: { current: v1, releases: [ { revision: v1, addresses: [ \"a:80\", \"a:80\" ] }, { revision: v1, addresses: [ \"b\" ] } ] } }").replace("\"b\"", "\"b:1\""));
}

#[test]
fn what_a_router_cannot_do() {
    let cluster = |strategy: &str| {
        format!(
            "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: {{ name: shop }}\nspec:\n  workloadRef: {{ apiVersion: apps/v1, kind: Deployment, name: shop }}\n  services: [ {{ name: shop }} ]\n  traffic: [ {{ gatewayApi: {{ routes: [ {{ kind: HTTPRoute, name: shop }} ] }} }} ]\n  strategy: {strategy}\n"
        )
    };
    let cookie = "{ abTest: { matches: [ { id: a, anyOf: [ { cookies: [ { name: b, exact: c } ] } ] } ], weight: 5% } }";
    says("router_cookies_and_sticky", cluster(cookie));
    says(
        "ratio_mirror",
        cluster("{ shadow: {} }")
            .replace("  traffic: [ { gatewayApi: { routes: [ { kind: HTTPRoute, name: shop } ] } } ]\n", ""),
    );
}

/// Workloads, Services and routes of a cluster.
#[test]
fn what_nobody_drives_and_what_is_named_twice() {
    let check = |workload: &str, fields: &str, parts: &[&str]| {
        let text = format!(
            "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: {{ name: shop }}\nspec:\n  workloadRef: {{ {workload}, name: shop }}\n{fields}  strategy: {{ canary: {{ steps: [ {{ weight: 20%, approve: {{}} }} ] }} }}\n"
        );
        let said = rendered(text.as_bytes());
        assert_eq!(parts.is_empty(), said.is_empty(), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not said:\n{said}");
        }
    };
    let deployment = "apiVersion: apps/v1, kind: Deployment";
    let route = "  traffic: [ { gatewayApi: { routes: [ { name: shop } ] } } ]\n";
    let service = "  services: [ { name: shop } ]\n";
    check(deployment, &format!("{service}{route}"), &[]);
    check("apiVersion: batch/v1, kind: Job", "", &["`Job` are not driven", "Deployment (apps/v1)", ":5:"]);
    check("apiVersion: apps/v1, kind: Deploymnet", "", &["did you mean `Deployment`?"]);
    check("apiVersion: extensions/v1beta1, kind: Deployment", "", &["write `apps/v1`"]);
    check(deployment, route, &["routes lead to Services", "services: [ { name: … } ]"]);
    check(
        deployment,
        &format!(
            "  services: [ {{ name: shop }}, {{ name: api, stable: {{ name: shop-canary }} }} ]\n{route}"
        ),
        &["the Service `shop-canary` would be two things at once", "first here"],
    );
    let twice = "  traffic: [ { gatewayApi: { routes: [ { name: shop } ] } }, { gatewayApi: { routes: [ { name: shop } ] } } ]\n";
    check(deployment, &format!("{service}{twice}"), &["HTTPRoute/shop is named twice"]);
    let both =
        "  traffic: [ { gatewayApi: { routes: [ { name: shop }, { kind: GRPCRoute, name: shop } ] } } ]\n";
    check(deployment, &format!("{service}{both}"), &[]);
}

/// Without a router the replicas are the split.
#[test]
fn what_the_ratio_of_replicas_cannot_do() {
    let check = |fields: &str, strategy: &str, parts: &[&str]| {
        let text = format!(
            "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: {{ name: shop }}\nspec:\n  workloadRef: {{ apiVersion: apps/v1, kind: Deployment, name: shop }}\n  {fields}\n  strategy: {strategy}\n"
        );
        let said = rendered(text.as_bytes());
        assert_eq!(parts.is_empty(), said.is_empty(), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not said:\n{said}");
        }
    };
    let approved =
        |weight: &str| format!("{{ canary: {{ steps: [ {{ weight: {weight}, approve: {{}} }} ] }} }}");
    check("replicas: 10", &approved("20%"), &[]);
    check("replicas: 10", "{ blueGreen: { before: [ { approve: {} } ] } }", &["there is no preview", ":7:"]);
    check(
        "replicas: 10",
        "{ canary: { steps: [ { weight: 20%, scale: { share: 100% }, approve: {} } ], bake: { for: 5m } } }",
        &["leave `bake` out", "leave `scale` out", ":7:"],
    );
    check("replicas: 10", &approved("5%"), &["cannot express 5%", "would get 10%", "use 10%"]);
    check("replicas: 3", &approved("50%"), &["use 33.3334% or 66.6667%"]);
    check(
        "services: [ { name: shop, direct: stable } ]",
        &approved("20%"),
        &["no request would ever reach the canary"],
    );
}

#[test]
fn replicas_that_cannot_be_there() {
    let said = |capacity: &str| {
        rendered(with_fields(&format!("capacity: {{ stable: inPlace, {capacity} }}")).as_bytes())
    };
    assert_eq!(said("maxUnavailable: 1"), "");
    assert_eq!(said("maxUnavailable: 30%, surge: 2"), "");
    assert!(said("maxUnavailable: 0").contains("no replica of stable may be missing"));
    assert!(said("surge: some").contains("`some` is no amount"), "{}", said("surge: some"));
    assert!(said("surge: 1.5").contains("1.5"), "{}", said("surge: 1.5"));
    says("capacity_keep", with_fields("capacity: { stable: keep, surge: 50% }"));
    says("capacity_follow", with_fields("capacity: { stable: follow, surge: 0% }"));
    says("capacity_in_place", with_fields("capacity: { stable: inPlace, maxUnavailable: 0% }"));
    says(
        "capacity_bake",
        with_fields("capacity: { stable: follow }").replace("canary: {}", "canary: { bake: { for: 5m } }"),
    );
    says(
        "window_and_deadlines",
        with_fields("rollbackWindow: { revisions: 17, age: 1h }\n  deadlines: { progress: 0s }"),
    );
}

#[test]
fn all_mistakes_are_counted_and_the_first_hundred_are_shown() {
    let fields: String = (0..250).map(|it| format!("  unknown{it}: 1\n")).collect();
    let read = spec::read("rollout.yaml", format!("{GOOD}{fields}").as_bytes());
    assert_eq!(read.diagnostics.len(), 250);
    assert!(report(&read).ends_with("and 150 more in rollout.yaml"));
}

// Mistakes of different kinds in one file are said in one run.

#[test]
fn mistakes_of_form_do_not_hide_mistakes_of_meaning() {
    let text = "\
apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: { name: shop }
spec:
  replicas: -2
  workload:
    process:
      comand: [ ./shop ]
  traffic:
    - proxy: { listen: [ { address: \"127.0.0.1:8080\" } ] }
  strategy:
    canary:
      steps:
        - { weight: 5, until: { evidence: {}, max: 10M } }
        - { weight: 101%, pause: {}, approve: {} }
  analyses:
    - { name: g, templateRef: { name: nope } }
";
    says("form_and_meaning", text);
}

#[test]
fn what_clients_of_an_unpinned_service_cannot_be_kept_from() {
    let text = |steps: &str, direct: &str| {
        format!(
            "apiVersion: serinus.dev/v1alpha1\nkind: Rollout\nmetadata: {{ name: shop }}\nspec:\n  workloadRef: {{ apiVersion: apps/v1, kind: Deployment, name: shop }}\n  services: [ {{ name: shop, direct: {direct} }} ]\n  traffic: [ {{ gatewayApi: {{ routes: [ {{ name: shop }} ] }} }} ]\n  strategy: {{ canary: {{ steps:\n{steps} }} }}\n"
        )
    };
    let plain = "    [ { weight: 5%, approve: {} } ]";
    says_nothing(text(plain, "proportional"));
    let staff = "match: { id: staff, anyOf: [ { headers: [ { name: x, exact: z } ] } ] }";
    let asked = format!(
        "    [ {{ name: staff, {staff}, approve: {{}} }},\n      {{ weight: 5%, mirror: 10%, approve: {{}} }},\n      {{ weight: 50%, scale: {{ share: 100% }}, mirror: 0%, approve: {{}} }} ]"
    );
    says("direct_proportional", text(&asked, "proportional"));
    says_nothing(text(&asked, "stable"));
}
