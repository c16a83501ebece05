//! From metrics as documents say them to questions that can be asked: parameters filled in, sources set up.
//!
//! Deliberately absent: asking (that is `analysis::provider`'s), and deciding anything.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use analysis::{
    provider::{AnswerLimits, AwsKeys, Credentials, Egress, PerArm, Secret, Source, SourceConfig, Tls},
    run,
    written::Span,
};
use strategies::Name;

use crate::{
    spec::{
        Credentials as WrittenCredentials, MetricSourceSpec, SecretRef,
        compile::{CompiledAnalysis, CompiledMetric, MetricFrom},
        provider::{Provider, Whom},
    },
    written::{Fact, MetricText, Parameter, Side},
};

/// What is known of the two sides and of the moment.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Of the canary.
    pub canary: BTreeMap<Fact, String>,
    /// Of stable.
    pub stable: BTreeMap<Fact, String>,
    /// The canary's share of the requests, in percent without the sign.
    pub weight: Option<String>,
}

/// One metric, ready to be measured.
#[derive(Clone, Debug)]
pub struct Measuring {
    /// How it is judged.
    pub metric: run::Metric,
    /// What both sides are asked.
    pub question: PerArm,
    /// Who is asked.
    pub source: Option<Arc<Source>>,
}

/// Why a metric cannot be measured.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CannotMeasure {
    /// Only a running rollout knows it.
    #[error("metric `{0}` is what a running rollout counts by itself; nobody else can be asked for it")]
    OfTheEngine(Name),
    /// A parameter has no value.
    #[error("metric `{metric}` uses {}, which is not known here", list(missing))]
    NotKnown {
        /// The metric.
        metric: Name,
        /// The parameters, as they are written.
        missing: Vec<String>,
    },
    /// Its record is not complete.
    #[error("metric `{0}` does not say what is asked")]
    Incomplete(Name),
    /// The file does not hold its source.
    #[error("metric `{metric}` asks the source `{source_name}`, which is not in this file")]
    NoSource {
        /// The metric.
        metric: Name,
        /// The source.
        source_name: Name,
    },
    /// Its source cannot be set up.
    #[error("the source of metric `{metric}`: {why}")]
    Source {
        /// The metric.
        metric: Name,
        /// Why.
        why: String,
    },
}

fn list(all: &[String]) -> String {
    all.iter().map(|it| format!("`$({it})`")).collect::<Vec<_>>().join(", ")
}

/// Prepares every metric. `secret` fetches what a document only refers to.
///
/// # Errors
///
/// Everything that stands against it.
pub fn measuring(
    analysis: &CompiledAnalysis,
    facts: &Facts,
    secret: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<Vec<Measuring>, Vec<CannotMeasure>> {
    let (mut ready, mut wrong) = (vec![], vec![]);
    for metric in &analysis.metrics {
        match one(metric, facts, secret) {
            Ok(it) => ready.push(it),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok(ready) } else { Err(wrong) }
}

fn one(
    metric: &CompiledMetric,
    facts: &Facts,
    secret: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<Measuring, CannotMeasure> {
    let prepared = prepare(metric, secret)?;
    Ok(Measuring {
        metric: run::Metric {
            name: metric.name.to_string(),
            every: Span(metric.every.0),
            judge: metric.judge.clone(),
            weight: metric.weight,
            dry_run: metric.dry_run,
        },
        question: prepared.question(facts)?,
        source: prepared.source,
    })
}

/// One metric whose source is set up; what is known of the sides is filled in whenever it is asked for.
#[derive(Clone, Debug)]
pub struct Prepared {
    metric: Name,
    every: Duration,
    provider: Provider,
    /// Who is asked.
    pub source: Option<Arc<Source>>,
}

/// By analysis and metric: how others are asked for it, or why they cannot be.
pub type Sources = BTreeMap<(Name, Name), Result<Arc<Prepared>, String>>;

/// Sets up whoever is asked. A secret that cannot be had stops its metric, and nothing else.
#[must_use]
pub fn sources(
    analyses: &BTreeMap<Name, CompiledAnalysis>,
    secret: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Sources {
    let metrics = analyses.iter().flat_map(|(name, it)| it.metrics.iter().map(move |metric| (name, metric)));
    let asked = metrics.filter(|(_, it)| match &it.from {
        MetricFrom::Replicas => false,
        MetricFrom::Provider { provider, .. } => provider.whom() != Whom::Engine,
    });
    let prepared = |(name, metric): (&Name, &CompiledMetric)| {
        let prepared = prepare(metric, secret);
        let prepared = prepared.map(Arc::new).map_err(|why| format!("analysis `{name}`: {why}"));
        ((name.clone(), metric.name.clone()), prepared)
    };
    asked.map(prepared).collect()
}

/// Sets the source of a metric up. `secret` fetches what a document only refers to.
///
/// # Errors
///
/// What stands against it.
pub fn prepare(
    metric: &CompiledMetric,
    secret: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<Prepared, CannotMeasure> {
    let of_engine = || CannotMeasure::OfTheEngine(metric.name.clone());
    let MetricFrom::Provider { provider, source } = &metric.from else { return Err(of_engine()) };
    let config = match provider.whom() {
        Whom::Engine => return Err(of_engine()),
        Whom::ThisMachine => None,
        Whom::Source { source_ref: None, address } => address.map(SourceConfig::new),
        Whom::Source { source_ref: Some(wanted), .. } => {
            let spec = source.as_ref().ok_or_else(|| CannotMeasure::NoSource {
                metric: metric.name.clone(),
                source_name: wanted.name.clone(),
            })?;
            let config = config(spec, secret);
            Some(config.map_err(|why| CannotMeasure::Source { metric: metric.name.clone(), why })?)
        }
    };
    let source = config
        .map(Source::new)
        .transpose()
        .map_err(|error| CannotMeasure::Source { metric: metric.name.clone(), why: error.to_string() })?;
    Ok(Prepared {
        metric: metric.name.clone(),
        every: metric.every.0,
        provider: provider.clone(),
        source: source.map(Arc::new),
    })
}

impl Prepared {
    /// The question to each side; one question only where no text tells the sides apart.
    ///
    /// # Errors
    ///
    /// Something that its texts use is not known.
    pub fn question(&self, facts: &Facts) -> Result<PerArm, CannotMeasure> {
        let provider = &self.provider;
        let missing = RefCell::new(BTreeSet::new());
        let value = |arm: Side, it: &Parameter| -> Option<String> {
            let known = match it {
                Parameter::Side(side, fact) => {
                    let side = if *side == Side::Arm { arm } else { *side };
                    let of = if side == Side::Canary { &facts.canary } else { &facts.stable };
                    of.get(fact).map(|it| provider.escape(it))
                }
                Parameter::Weight => facts.weight.clone(),
                Parameter::Window => Some(format!("{}s", self.every.as_secs().max(1))),
                Parameter::Argument(_)
                | Parameter::Namespace
                | Parameter::Rollout
                | Parameter::Port
                | Parameter::Ordinal
                | Parameter::Revision
                | Parameter::Role => None,
            };
            if known.is_none() {
                let shown = if let Parameter::Side(Side::Arm, fact) = it {
                    Parameter::Side(arm, *fact).to_string()
                } else {
                    it.to_string()
                };
                missing.borrow_mut().insert(shown);
            }
            known
        };
        let tells_apart =
            |it: &MetricText| it.parameters().any(|it| matches!(it, Parameter::Side(Side::Arm, _)));
        let both = provider.texts().iter().any(|(_, text)| tells_apart(text));
        let ask = |arm: Side| provider.question(&|text: &MetricText| text.fill(|it| value(arm, it)));
        let incomplete = || CannotMeasure::Incomplete(self.metric.clone());
        let canary = ask(Side::Canary).ok_or_else(incomplete)?;
        let baseline = if both { Some(ask(Side::Stable).ok_or_else(incomplete)?) } else { None };
        let missing: Vec<String> = missing.into_inner().into_iter().collect();
        if !missing.is_empty() {
            return Err(CannotMeasure::NotKnown { metric: self.metric.clone(), missing });
        }
        Ok(PerArm { canary, baseline })
    }
}

/// A source as its document says it.
fn config(
    spec: &MetricSourceSpec,
    secret: &dyn Fn(&SecretRef) -> Result<Secret, String>,
) -> Result<SourceConfig, String> {
    let MetricSourceSpec { address, credentials, headers, secret_headers, tls, limits } = spec;
    let credentials = match credentials {
        None => None,
        Some(WrittenCredentials::Bearer(it)) => Some(Credentials::Bearer(secret(it)?)),
        Some(WrittenCredentials::Basic(it)) => {
            Some(Credentials::Basic { username: secret(&it.username)?, password: secret(&it.password)? })
        }
        Some(WrittenCredentials::Authorization(it)) => {
            Some(Credentials::Authorization { scheme: it.scheme.clone(), token: secret(&it.token)? })
        }
        Some(WrittenCredentials::Aws(it)) => Some(Credentials::Aws(AwsKeys {
            region: it.region.clone(),
            access_key: secret(&it.access_key)?,
            secret_key: secret(&it.secret_key)?,
            session_token: it.session_token.as_ref().map(secret).transpose()?,
        })),
    };
    let plain = headers.iter().map(|(name, value)| Ok((name.clone(), Secret::new(value.clone()))));
    let kept = secret_headers.iter().map(|(name, value)| Ok((name.clone(), secret(value)?)));
    let headers = plain.chain(kept).collect::<Result<_, String>>()?;
    let tls = match tls {
        None => Tls::default(),
        Some(it) => Tls {
            authorities: it.ca.as_ref().map(secret).transpose()?.map(|it| it.into_bytes()),
            server_name: it.server_name.clone(),
            insecure_skip_verify: it.insecure_skip_verify,
        },
    };
    Ok(SourceConfig {
        credentials,
        headers,
        tls,
        limits: AnswerLimits {
            timeout: limits.timeout.0.max(Duration::from_millis(1)),
            answer: limits.response.bytes(),
            concurrency: limits.concurrency,
        },
        egress: Egress::of_operator(),
        ..SourceConfig::new(address.clone())
    })
}

/// A secret of this machine: from a file, without its last line feed, or from the environment.
///
/// # Errors
///
/// Why it cannot be had, without a word of it.
pub fn secret_of_this_machine(it: &SecretRef) -> Result<Secret, String> {
    match it {
        SecretRef::File(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
            Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text)))
        }
        SecretRef::Env(name) => {
            let value = std::env::var(name).map_err(|_| format!("the variable {name} is not set"))?;
            Ok(Secret::new(value))
        }
        SecretRef::Secret(it) => {
            Err(format!("`{}` is a Secret of a cluster; give `file:` or `env:` on one machine", it.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use analysis::provider::{AnyQuestion, Prometheus};

    use super::*;
    use crate::spec::{self, compile::compile_template};

    const TEMPLATE: &str = r#"
apiVersion: serinus.dev/v1alpha1
kind: AnalysisTemplate
metadata: { name: golden-signals }
spec:
  args: [ { name: service } ]
  metrics:
    - name: errors
      judge: { sequential: {} }
      provider:
        prometheus:
          address: http://127.0.0.1:9090
          bad: http_requests_total{service="$(args.service)",pod=~"$(arm.pods)",code=~"5.."}
          total: http_requests_total{service="$(args.service)",pod=~"$(arm.pods)"}
    - name: queue
      every: 1m
      judge: { threshold: { pass: "result < 10.0" } }
      provider: { prometheus: { address: "http://127.0.0.1:9090", query: "max(queue{service=\"$(args.service)\"}[$(window)])" } }
"#;

    fn compiled(service: &str) -> CompiledAnalysis {
        let read = spec::read("template.yaml", TEMPLATE.as_bytes());
        assert!(read.diagnostics.is_empty(), "{:?}", read.diagnostics);
        let args = [strategies::recipe::Argument { name: "service".into(), value: service.into() }];
        compile_template(&read.documents, None, &args, &"shop".into(), None).unwrap().1
    }

    fn facts() -> Facts {
        let of = |pods: &str| BTreeMap::from([(Fact::Pods, pods.to_owned())]);
        Facts { canary: of("shop-b-.*"), stable: of("shop-a-.*"), weight: None }
    }

    fn counts(it: &AnyQuestion) -> (&str, &str) {
        let AnyQuestion::Prometheus(Prometheus::Counts { bad, total }) = it else { panic!("{it:?}") };
        (bad, total)
    }

    #[test]
    fn each_side_is_asked_about_itself() {
        let ready = measuring(&compiled("shop"), &facts(), &secret_of_this_machine).unwrap();
        let (bad, total) = counts(&ready[0].question.canary);
        assert_eq!(bad, r#"http_requests_total{service="shop",pod=~"shop-b-.*",code=~"5.."}"#);
        assert_eq!(total, r#"http_requests_total{service="shop",pod=~"shop-b-.*"}"#);
        let (_, total) = counts(ready[0].question.baseline.as_ref().unwrap());
        assert_eq!(total, r#"http_requests_total{service="shop",pod=~"shop-a-.*"}"#);
        assert_eq!(ready[1].question.baseline, None);
        let asked = Prometheus::Query(r#"max(queue{service="shop"}[60s])"#.to_owned());
        assert_eq!(ready[1].question.canary, AnyQuestion::Prometheus(asked));
    }

    #[test]
    fn a_value_stays_one_value_whatever_is_in_it() {
        let ready = measuring(&compiled("a\"} or up{x=\"\\"), &facts(), &secret_of_this_machine).unwrap();
        let (_, total) = counts(&ready[0].question.canary);
        assert_eq!(total, r#"http_requests_total{service="a\"} or up{x=\"\\",pod=~"shop-b-.*"}"#);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let facts = Facts { stable: BTreeMap::new(), ..facts() };
        let wrong = measuring(&compiled("shop"), &facts, &secret_of_this_machine).unwrap_err();
        assert_eq!(wrong.len(), 1);
        assert_eq!(wrong[0].to_string(), "metric `errors` uses `$(stable.pods)`, which is not known here");
    }
}
