//! Rules about templates and sources.

use super::{Rule, rollout::rules};

rules! {
    ALL_DRY = ("AnalysisTemplateSpec", "metrics") "!self.metrics.all(it, has(it.dryRun) && it.dryRun)",
        "every metric of this template is a dry run", "take `dryRun` from at least one";
    NO_TIME_BETWEEN = ("Metric", "every") "!has(self.every) || !self.every.matches({no time})",
        "no time passes here", "write a time above zero, for example `10s`";
    PODS_OF_THE_ENGINE = ("Metric", "judge") "!has(self.judge.pods)",
        "`pods` judges what the engine itself sees, not a metric",
        "leave the metric out: crashes and lost readiness are always watched";
    ANSWERS_OF_THE_PROXY = ("Metric", "judge") "!has(self.judge.answers) || has(self.provider.proxy)",
        "`answers` compares classes of answers, which only the built-in proxy counts",
        "write `provider: { proxy: { signal: answers } }`";
    LEAK_OF_MEMORY = ("Metric", "judge") "!has(self.judge.leak) || has(self.provider.process)",
        "`leak` looks at the memory of processes over time",
        "write `provider: { process: { signal: memory } }`";
    THRESHOLD_OF_BUCKETS = ("Metric", "judge")
        "!(has(self.judge.threshold) && has(self.provider.prometheus) && (has(self.provider.prometheus.histogram) || \
         (has(self.provider.prometheus.preset) && self.provider.prometheus.preset.signal == 'latency')))",
        "a threshold looks at one number, this metric yields buckets",
        "judge it by `sequential: {}`, or ask for one number with `query`";
    SEQUENTIAL_OF_A_QUERY = ("Metric", "judge")
        "!(has(self.judge.sequential) && has(self.provider.prometheus) && has(self.provider.prometheus.query))",
        "a sequential test compares stable and canary, and `query` yields one number",
        "give `bad` and `total`, `histogram` or `value` as selectors, or judge it by `threshold`";
    TWO_SOURCES = ("*", "address") "!(has(self.sourceRef) && has(self.address))",
        "`sourceRef` and `address` exclude each other", "remove one of them";
    NO_SOURCE = ("*", "sourceRef") "has(self.sourceRef) || has(self.address)",
        "it is not said who is asked",
        "write `sourceRef: { kind: ClusterMetricSource, name: … }`, or `address: http://…` in standalone mode";
    ONE_QUESTION_OF_A_SERVICE = ("*", "bucket")
        "has(self.value) ? !has(self.bad) && !has(self.total) : has(self.bad) && has(self.total)",
        "it is not said what is asked, or it is said in two ways", "give `value`, or `bad` and `total`";
    ONE_QUESTION_OF_PROMETHEUS = ("Prometheus", "query")
        "has(self.bad) == has(self.total) && [has(self.bad), has(self.histogram), has(self.value), has(self.query), \
         has(self.preset)].filter(it, it).size() == 1",
        ONE_QUESTION_OF_A_SERVICE.words,
        "give `bad` and `total`, or `histogram`, or `value`, or `query`, or `preset`";
    SELECTORS = ("Prometheus", "bad")
        "[has(self.bad) ? self.bad : '', has(self.total) ? self.total : '', has(self.histogram) ? self.histogram : '', \
         has(self.value) ? self.value : ''].all(it, !it.matches('^ *[a-zA-Z_:][a-zA-Z0-9_:]* *[(]'))",
        "these must be selectors, without functions",
        "write the name of the metric with its matchers, such as `http_requests_total{code=~\"5..\"}`; functions belong \
         into `query`";
    ONE_NUMBER_OF_WEB = ("Web", "value") ONE_QUESTION_OF_A_SERVICE.cel,
        "it is not said where in the answer the number is, or it is said in two ways",
        "give `value`, or `bad` and `total`";
    PATH_OF_WEB = ("Web", "path") "self.path.startsWith('/')",
        "a path begins with `/`", "the rest of the address is the source's";
    COUNTED_BY_THE_PROXY = ("Provider", "proxy") "!has(self.proxy)",
        "this is what the built-in proxy counts, and there is none in a cluster",
        "ask a source over the network: `prometheus` or `web`";
    MEASURED_ON_ONE_MACHINE = ("Provider", "process") "!has(self.process)",
        "this is measured of processes that Serinus starts, and in a cluster it starts none",
        COUNTED_BY_THE_PROXY.cure;
    MEASURED_BY_A_PROGRAM = ("Provider", "command") "!has(self.command)",
        "this is measured by a program, which runs on one machine only", COUNTED_BY_THE_PROXY.cure;

    SECRET_IN_A_FILE = ("SecretRef", "file") "!has(self.file)",
        "in a cluster a secret is kept in a Secret", "write `secret: { name: …, key: … }`";
    SECRET_IN_THE_ENVIRONMENT = ("SecretRef", "env") "!has(self.env)", SECRET_IN_A_FILE.words, SECRET_IN_A_FILE.cure;
    SECRET_IN_A_HEADER = ("MetricSourceSpec", "headers")
        "!has(self.headers) || !['authorization', 'proxy-authorization', 'cookie', 'api-key', 'x-api-key', 'x-auth-token', \
         'x-sf-token', 'dd-api-key', 'dd-application-key', 'private-token', 'Authorization', 'Proxy-Authorization', 'Cookie', \
         'Api-Key', 'X-Api-Key', 'X-API-Key', 'X-Auth-Token', 'X-SF-Token', 'X-SF-TOKEN', 'DD-API-KEY', 'DD-APPLICATION-KEY', \
         'Private-Token', 'PRIVATE-TOKEN', 'AUTHORIZATION', 'API-KEY', 'X-API-KEY'].exists(it, it in self.headers)",
        "a header here is a secret, which must not stand in a document",
        "move it to `secretHeaders`, with where its value is kept: `{ env: … }`, `{ file: … }` or `{ secret: … }`";
    AUTHORIZED_TWICE = ("MetricSourceSpec", "secretHeaders")
        "!has(self.credentials) || !has(self.secretHeaders) || !('Authorization' in self.secretHeaders || 'authorization' in self.secretHeaders)",
        "`credentials` is sent as `Authorization` as well", "remove one of them";
}
