//! The kinds as a cluster knows them: CustomResourceDefinitions, made of the types that documents are read by.

mod structural;

use serde_json::{Map, Value, json};

use crate::written::MetricText;

use super::{
    Kind, schema,
    status::{OrderStatus, RolloutStatus, RunStatus},
};
use structural::{Differs, structural};

/// The group of every kind.
pub const GROUP: &str = "serinus.dev";
const VERSION: &str = "v1alpha1";

/// What a cluster knows of a kind beside its schema.
struct Facts {
    plural: &'static str,
    short: &'static [&'static str],
    scope: Scope,
    status: Option<Value>,
    /// Whether autoscalers can target it.
    scaled: bool,
    columns: &'static [Column],
    /// Fields that a list can be narrowed down by.
    selectable: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum Scope {
    Namespaced,
    Cluster,
}

/// A column of `kubectl get`.
struct Column {
    name: &'static str,
    path: &'static str,
    kind: &'static str,
    /// Shown with `-o wide` only.
    wide: bool,
}

const fn text(name: &'static str, path: &'static str) -> Column {
    Column { name, path, kind: "string", wide: false }
}

const fn wide(name: &'static str, path: &'static str) -> Column {
    Column { name, path, kind: "string", wide: true }
}

const AGE: Column = Column { name: "Age", path: ".metadata.creationTimestamp", kind: "date", wide: false };

const OF_ROLLOUTS: &[Column] = &[
    text("Status", ".status.phase"),
    text("Step", ".status.step"),
    text("Weight", ".status.weight"),
    text("Stable", ".status.stable"),
    text("Canary", ".status.canary"),
    text("Waiting", ".status.waiting[0]"),
    wide("Workload", ".spec.workloadRef.name"),
    wide("Message", ".status.message"),
    AGE,
];
const OF_ORDERS: &[Column] = &[
    text("Rollout", ".spec.rollout"),
    text("Action", ".spec.action"),
    text("By", ".spec.by"),
    text("Effect", ".status.effect"),
    wide("Reason", ".spec.reason"),
    wide("Message", ".status.message"),
    AGE,
];
const OF_RUNS: &[Column] = &[text("Verdict", ".status.verdict"), text("Message", ".status.message"), AGE];
const OF_TEMPLATES: &[Column] = &[text("Metrics", ".spec.metrics[*].name"), AGE];
const OF_SOURCES: &[Column] = &[text("Address", ".spec.address"), AGE];

fn facts(kind: Kind) -> Facts {
    let plain = |plural, columns| Facts {
        plural,
        short: &[],
        scope: Scope::Namespaced,
        status: None,
        scaled: false,
        columns,
        selectable: &[],
    };
    let for_all = |plural, columns| Facts { scope: Scope::Cluster, ..plain(plural, columns) };
    match kind {
        Kind::Rollout => Facts {
            short: &["srl"],
            status: Some(status::<RolloutStatus>()),
            scaled: true,
            selectable: &[".spec.workloadRef.name"],
            ..plain("rollouts", OF_ROLLOUTS)
        },
        Kind::AnalysisTemplate => plain("analysistemplates", OF_TEMPLATES),
        Kind::ClusterAnalysisTemplate => for_all("clusteranalysistemplates", OF_TEMPLATES),
        Kind::AnalysisRun => Facts { status: Some(status::<RunStatus>()), ..plain("analysisruns", OF_RUNS) },
        Kind::RolloutOrder => Facts {
            status: Some(status::<OrderStatus>()),
            selectable: &[".spec.rollout"],
            ..plain("rolloutorders", OF_ORDERS)
        },
        Kind::MetricSource => plain("metricsources", OF_SOURCES),
        Kind::ClusterMetricSource => for_all("clustermetricsources", OF_SOURCES),
    }
}

fn status<T: schemars::JsonSchema>() -> Value {
    let root = schema::of_type::<T>();
    structural(&root, &root, &Cluster)
}

/// The definition of one kind.
#[must_use]
pub fn definition(kind: Kind) -> Value {
    let Facts { plural, short, scope, status, scaled, columns, selectable } = facts(kind);
    let scope = match scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let singular = kind.name().to_lowercase();
    let mut names = json!({ "kind": kind.name(), "listKind": format!("{}List", kind.name()), "plural": plural,
        "singular": singular, "categories": ["serinus"] });
    if !short.is_empty() {
        names["shortNames"] = json!(short);
    }
    let mut version = json!({ "name": VERSION, "served": true, "storage": true,
        "schema": { "openAPIV3Schema": whole(kind, status.clone()) },
        "additionalPrinterColumns": columns.iter().map(Column::to_json).collect::<Vec<_>>() });
    if !selectable.is_empty() {
        let paths = selectable.iter().map(|it| json!({ "jsonPath": it }));
        version["selectableFields"] = paths.collect();
    }
    let mut subresources = Map::new();
    if status.is_some() {
        subresources.insert("status".into(), json!({}));
    }
    if scaled {
        let scale = json!({ "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector" });
        subresources.insert("scale".into(), scale);
    }
    if !subresources.is_empty() {
        version["subresources"] = subresources.into();
    }
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.{GROUP}") },
        "spec": { "group": GROUP, "scope": scope, "names": names, "versions": [version] } })
}

impl Column {
    fn to_json(&self) -> Value {
        let mut column = json!({ "name": self.name, "type": self.kind, "jsonPath": self.path });
        if self.wide {
            column["priority"] = 1.into();
        }
        column
    }
}

/// The schema of whole objects.
fn whole(kind: Kind, status: Option<Value>) -> Value {
    let root = schema::of(kind);
    let part = |path: &str| root.pointer(path).cloned().unwrap_or_default();
    let spec = structural(root, &part("/properties/spec"), &Cluster);
    let name = structural(root, &part("/$defs/Metadata/properties/name"), &Cluster);
    let mut properties = json!({
        "apiVersion": { "type": "string", "description": "The version of the format." },
        "kind": { "type": "string", "description": "The kind of object." },
        "metadata": { "type": "object", "properties": { "name": name } },
        "spec": spec,
    });
    if let Some(status) = status {
        properties["status"] = status;
    }
    json!({ "type": "object", "description": part("/description"), "properties": properties,
        "required": ["spec"] })
}

/// What is other in a cluster.
struct Cluster;

/// Fields for one machine.
const ELSEWHERE: &[(&str, &str)] = &[
    ("RolloutSpec", "workload"),
    ("Traffic", "proxy"),
    ("Provider", "proxy"),
    ("Provider", "process"),
    ("Provider", "command"),
    ("SecretRef", "file"),
    ("SecretRef", "env"),
];
/// Lists whose entries are told apart by name.
const BY_NAME: &[(&str, &str)] = &[
    ("RolloutSpec", "services"),
    ("RolloutSpec", "analyses"),
    ("GuardSpec", "args"),
    ("TemplateUse", "args"),
    ("AnalysisTemplateSpec", "args"),
    ("AnalysisTemplateSpec", "metrics"),
];

impl Differs for Cluster {
    fn is_elsewhere(&self, record: &str, field: &str) -> bool {
        ELSEWHERE.contains(&(record, field))
    }

    fn default(&self, record: &str, field: &str) -> Option<Value> {
        // Written down, so that what is left out keeps its meaning when later versions mean something else by it.
        (record == "RolloutSpec" && field == "profile").then(|| 1.into())
    }

    fn most(&self, record: &str, field: &str) -> Option<usize> {
        // The last of all steps is made by the strategy.
        (record == "Canary" && field == "steps").then_some(strategies::recipe::MOST_STEPS - 1)
    }

    fn longest(&self, name: &str) -> Option<usize> {
        // Rules that compare texts are weighed by how long these may be.
        match name {
            "Weight" | "Amount" | "Factor" | "Ratio" | "ByteSize" => Some(32),
            "Duration" => Some(64),
            "regex" => Some(253),
            "MetricText" => Some(8192),
            "name" | "id" | "from" | "kind" | "apiVersion" => Some(253),
            _ => None,
        }
    }

    fn pattern(&self, name: &str) -> Option<String> {
        match name {
            // Parts per million, and not finer.
            "Weight" => Some(r"^(100([.]0+)?|[0-9]{1,2}([.][0-9]{1,4}0*)?)%$".to_owned()),
            "MetricText" => Some(parameters()),
            _ => None,
        }
    }

    fn keys(&self, record: &str, field: &str) -> &'static [&'static str] {
        if BY_NAME.contains(&(record, field)) {
            &["name"]
        } else if field == "conditions" {
            &["type"]
        } else {
            &[]
        }
    }
}

/// What a text with parameters looks like: those that are known, and nothing else after `$(`.
fn parameters() -> String {
    let named = MetricText::ALLOWED.iter().map(|it| match it.strip_suffix('…') {
        Some(beginning) => format!("{}[-A-Za-z0-9_]+", beginning.replace('.', "[.]")),
        None => it.replace('.', "[.]"),
    });
    let named = named.collect::<Vec<_>>().join("|");
    format!(r"^([^$]|\$\$|\$[^$(]|\$\(({named})\))*\$?$")
}

/// All definitions as one file of YAML.
///
/// # Errors
///
/// They cannot be written as YAML.
pub fn manifest() -> Result<String, serde_saphyr::SerializeError> {
    let mut text = "# The kinds of Serinus. Written by `serinus crd`.\n".to_owned();
    for kind in Kind::ALL {
        text += "---\n";
        text += serde_saphyr::to_string(&definition(*kind))?.trim_end();
        text.push('\n');
    }
    Ok(text)
}
