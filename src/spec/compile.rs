//! From documents to the plan that the machine runs and the analyses that the runner runs.

use std::collections::BTreeMap;

use analysis::{
    AnyJudge,
    judge::{Answers, Baseline, Leak, Needs, Pods},
};
use strategies::{
    Amount, Capacity, Guard, HumanDuration, Name, Plan, Scale, Sizing, StableCapacity, Steering, Step,
    Watches, Weight,
    recipe::{Argument, Context, Steps, TemplateKind},
};

mod facts;
mod references;
mod routes;

pub use facts::{Facts, Written};
pub use references::{Reference, Referrer};

use super::{
    CapacitySpec, Document, Metric, MetricSourceSpec, Placed, Rollout, RolloutSpec, golden,
    provider::{ProcessUse, Provider, ProxyCounts, Signal, SourceKind, Used, Whom},
    rollout::ServiceEntry,
    template::AnalysisTemplateSpec,
};
use crate::{
    object::pointer,
    router::{Proxy, Service, Traffic},
    workload::{Workload, WorkloadRef},
    written::{ArgumentText, FieldPath, MetricText, Parameter},
};

/// The guard that is always on: crashes and lost readiness.
pub const PODS: &str = "pods";
/// The guards that are there without being asked for. Analyses of these names in a document take their place, that of
/// replicas apart.
pub const BUILT_IN: [&str; 3] = [PODS, "answers", "memory"];

/// The route of the built-in proxy: all its sockets are moved as one.
pub const PROXY_ROUTE: &str = "proxy";

/// The annotation that `kubectl rollout restart` writes into a pod template.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// A Rollout with every default resolved and every reference followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// Its name.
    pub name: Name,
    /// Its namespace, in a cluster.
    pub namespace: Option<Name>,
    /// Replicas that carry all the traffic; `None`: what the workload of the cluster says.
    pub replicas: Option<u32>,
    /// What the machine runs.
    pub plan: Plan,
    /// What it refers to and nobody has. The plan has it too, so that nothing starts meanwhile.
    pub missing: Vec<Reference>,
    /// What guards and steps are judged by, by the names that the plan uses. `pods` is always one of them.
    pub analyses: BTreeMap<Name, CompiledAnalysis>,
    /// Where it runs.
    pub runtime: Runtime,
    /// What a person wrote of it, for [`Compiled::with_facts`].
    pub written: Written,
}

/// Where a Rollout runs, and what it drives there.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few, one for each thing a person wrote")]
pub enum Runtime {
    /// On this machine.
    Standalone {
        /// What is delivered.
        workload: Workload,
        /// What moves the traffic.
        proxy: Proxy,
    },
    /// In a cluster.
    Cluster {
        /// What is delivered.
        workload: WorkloadRef,
        /// What moves the traffic; none: the ratio of replicas.
        traffic: Vec<Traffic>,
        /// The Services whose clients are moved.
        services: Vec<Service>,
        /// Fields of the pod template whose change alone is no release, as JSON pointers below it.
        ignored: Vec<String>,
    },
}

/// One analysis, with every argument filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledAnalysis {
    /// Its metrics.
    pub metrics: Vec<CompiledMetric>,
}

/// One metric, with every argument filled in; parameters about sides, weight and window are left for whoever asks.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledMetric {
    /// Its name.
    pub name: Name,
    /// How often it is measured.
    pub every: HumanDuration,
    /// Its part in the combined evidence.
    pub weight: f64,
    /// Measured and never counted.
    pub dry_run: bool,
    /// How it is judged.
    pub judge: AnyJudge,
    /// Where it comes from.
    pub from: MetricFrom,
}

/// Where a metric comes from.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there are few, one for each thing a person wrote")]
pub enum MetricFrom {
    /// What the runtime itself sees of the replicas: restarts, readiness.
    Replicas,
    /// A provider, and the source it names.
    Provider {
        /// The provider.
        provider: Provider,
        /// The source that it refers to, where the file holds it.
        source: Option<Box<MetricSourceSpec>>,
    },
}

impl CompiledAnalysis {
    /// Whether any metric that counts compares with stable, and so is blind where stable answers nothing.
    #[must_use]
    pub fn needs_baseline(&self) -> bool {
        let mut counted = self.metrics.iter().filter(|it| !it.dry_run);
        counted.any(|it| it.judge.needs() == Needs::Baseline)
    }
}

impl Compiled {
    /// What the canary is compared with: fresh replicas of stable where any metric wants them.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        let mut metrics = self.analyses.values().flat_map(|it| &it.metrics);
        let fresh = metrics.any(|it| it.judge.baseline() == Baseline::Fresh);
        if fresh { Baseline::Fresh } else { Baseline::Stable }
    }

    /// The same while this is missing too: a runtime knows whether the workload and the routes are there.
    #[must_use]
    pub fn without(mut self, reference: Reference) -> Self {
        self.plan.missing.push((&reference).into());
        self.missing.push(reference);
        self
    }

    /// Whether anything but the guard on crashes can stop a bad version.
    #[must_use]
    pub fn can_gate(&self) -> bool {
        use strategies::LeaveBehavior as _;
        let guarded = self.plan.guards.iter().any(|it| !BUILT_IN.contains(&it.name.as_str()));
        guarded || self.plan.steps.iter().any(|it| it.leave.gates())
    }
}

/// The documents that a Rollout may refer to.
#[derive(Clone, Copy, Debug)]
pub struct Library<'a>(pub &'a [Placed]);

impl<'a> Library<'a> {
    /// The template of that kind and name; a built-in one is made.
    #[must_use]
    pub fn template(&self, kind: TemplateKind, name: &Name) -> Option<AnalysisTemplateSpec> {
        self.templates(kind).find(|(it, _)| *it == name).map(|(_, spec)| spec.clone()).or_else(|| {
            let built_in = kind == TemplateKind::BuiltIn && name.as_str() == golden::NAME;
            built_in.then(golden::template)
        })
    }

    /// Every template of that kind in the file.
    pub fn templates(
        &self,
        wanted: TemplateKind,
    ) -> impl Iterator<Item = (&'a Name, &'a AnalysisTemplateSpec)> {
        self.0.iter().filter_map(move |it| match (&it.document, wanted) {
            (Document::AnalysisTemplate(it), TemplateKind::AnalysisTemplate) => {
                Some((&it.metadata.name, &it.spec))
            }
            (Document::ClusterAnalysisTemplate(it), TemplateKind::ClusterAnalysisTemplate) => {
                Some((&it.metadata.name, &it.spec))
            }
            _ => None,
        })
    }

    /// Every source of that kind in the file.
    pub fn sources(&self, wanted: SourceKind) -> impl Iterator<Item = (&'a Name, &'a MetricSourceSpec)> {
        self.0.iter().filter_map(move |it| match (&it.document, wanted) {
            (Document::MetricSource(it), SourceKind::MetricSource) => Some((&it.metadata.name, &it.spec)),
            (Document::ClusterMetricSource(it), SourceKind::ClusterMetricSource) => {
                Some((&it.metadata.name, &it.spec))
            }
            _ => None,
        })
    }

    /// Every Rollout in the file.
    pub fn rollouts(&self) -> impl Iterator<Item = &'a Rollout> {
        self.0.iter().filter_map(|it| it.document.as_rollout())
    }
}

/// Why a Rollout has no plan.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CompileError {
    /// There is no Rollout of that name.
    #[error("there is no Rollout `{wanted}` in this file; it holds {}", held(held_names))]
    NoSuchRollout {
        /// The name.
        wanted: String,
        /// Those that the file holds.
        held_names: Vec<String>,
    },
    /// There are several, and none is named.
    #[error("this file holds several Rollouts: {}; name one of them", held(held_names))]
    WhichRollout {
        /// Those that the file holds.
        held_names: Vec<String>,
    },
    /// The file has mistakes; `read` says which.
    #[error("the Rollout `{0}` has mistakes; `serinus lint` shows them")]
    Mistakes(String),
}

fn held(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Compiles the Rollout called `name`, or the only one where none is named.
///
/// # Errors
///
/// No such Rollout, several of them, or one with mistakes. Documents that [`read`](super::read) found no error in
/// compile.
pub fn compile(documents: &[Placed], name: Option<&str>) -> Result<Compiled, CompileError> {
    let library = Library(documents);
    let held_names = || library.rollouts().map(|it| it.metadata.name.to_string()).collect();
    let rollout = match name {
        Some(name) => library.rollouts().find(|it| it.metadata.name.as_str() == name),
        None if 1 < library.rollouts().count() => {
            return Err(CompileError::WhichRollout { held_names: held_names() });
        }
        None => library.rollouts().next(),
    };
    let wanted = || name.unwrap_or("(any)").to_owned();
    let rollout =
        rollout.ok_or_else(|| CompileError::NoSuchRollout { wanted: wanted(), held_names: held_names() })?;
    one(rollout, library).ok_or_else(|| CompileError::Mistakes(rollout.metadata.name.to_string()))
}

/// Why a template cannot be used by itself.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// There is no template of that name.
    #[error("there is no AnalysisTemplate `{wanted}` in this file; it holds {}", held(held_names))]
    NoSuchTemplate {
        /// The name.
        wanted: String,
        /// Those that the file holds.
        held_names: Vec<String>,
    },
    /// There are several, and none is named.
    #[error("this file holds several AnalysisTemplates: {}; name one of them", held(held_names))]
    WhichTemplate {
        /// Those that the file holds.
        held_names: Vec<String>,
    },
    /// An argument has no value.
    #[error("the template needs a value for `{0}`: --arg {0}=…")]
    NoValue(Name),
    /// A value is given for no argument.
    #[error("the template has no argument `{0}`; it has {known}", known = held(.1))]
    NoArgument(Name, Vec<String>),
}

/// Compiles the template called `name`, or the only one where none is named, for use outside of a rollout. `rollout`
/// and `namespace` stand for parameters of that name.
///
/// # Errors
///
/// [`TemplateError`]: no such template, several of them, or arguments that do not fit.
pub fn compile_template(
    documents: &[Placed],
    name: Option<&str>,
    args: &[Argument],
    rollout: &Name,
    namespace: Option<&Name>,
) -> Result<(Name, CompiledAnalysis), TemplateError> {
    let library = Library(documents);
    let kinds = [TemplateKind::AnalysisTemplate, TemplateKind::ClusterAnalysisTemplate];
    let all: Vec<(TemplateKind, &Name, &AnalysisTemplateSpec)> = kinds
        .into_iter()
        .flat_map(|kind| library.templates(kind).map(move |(name, spec)| (kind, name, spec)))
        .collect();
    let held_names = || all.iter().map(|it| it.1.to_string()).collect();
    let (kind, name, spec) = match (name, all.as_slice()) {
        (Some(wanted), _) => *all.iter().find(|it| it.1.as_str() == wanted).ok_or_else(|| {
            TemplateError::NoSuchTemplate { wanted: wanted.to_owned(), held_names: held_names() }
        })?,
        (None, [one]) => *one,
        (None, []) => {
            return Err(TemplateError::NoSuchTemplate { wanted: "(any)".to_owned(), held_names: vec![] });
        }
        (None, [_, _, ..]) => return Err(TemplateError::WhichTemplate { held_names: held_names() }),
    };
    let given = |name: &Name| args.iter().any(|it| it.name == *name);
    if let Some(it) = spec.args.iter().find(|it| it.value.is_none() && !given(&it.name)) {
        return Err(TemplateError::NoValue(it.name.clone()));
    }
    if let Some(it) = args.iter().find(|it| spec.args.iter().all(|known| known.name != it.name)) {
        let known = spec.args.iter().map(|it| it.name.to_string()).collect();
        return Err(TemplateError::NoArgument(it.name.clone(), known));
    }
    let filling = Filling { rollout, namespace, library };
    let analysis = filling.analysis(kind, name, args).unwrap_or(CompiledAnalysis { metrics: vec![] });
    Ok((name.clone(), analysis))
}

/// Where stable keeps all of its replicas, one of the canary's gets as many requests as one of them, unless a step says
/// otherwise: with half of the requests on half as many replicas it would be slower for that alone. Where the replicas
/// are the split nothing but the weight sizes it.
fn sized(steps: &[Step], capacity: &Capacity, sizing: Sizing, steering: &Steering) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let apart = matches!(steering, Steering::Routes(_));
    if let (StableCapacity::Keep, Sizing::PerArm, true, Some(first)) =
        (capacity.stable, sizing, apart, steps.first_mut())
    {
        first.scale = first.scale.or(Some(Scale::Even));
    }
    steps
}

/// The analyses that guard a rollout by default.
pub(super) fn guard_names(spec: &RolloutSpec) -> Vec<Name> {
    match &spec.analyses {
        Some(given) => given.iter().map(|it| it.name.clone()).collect(),
        None if spec.traffic.iter().any(|it| it.proxy.is_some()) => vec![golden::NAME.into()],
        None => vec![],
    }
}

/// The steps of a rollout.
pub(super) fn steps(spec: &RolloutSpec) -> Steps {
    spec.strategy.steps(Context { analyses: &guard_names(spec) })
}

/// One Rollout; `None`: it has mistakes.
pub(super) fn one(rollout: &Rollout, library: Library<'_>) -> Option<Compiled> {
    let spec = &rollout.spec;
    let steps = steps(spec);
    if steps.mistakes.iter().any(|it| !it.what.is_warning()) {
        return None;
    }
    let runtime = runtime(spec)?;
    let replicas = spec.replicas.or(match &runtime {
        Runtime::Standalone { workload, .. } => Some(workload.kind().replicas()),
        Runtime::Cluster { .. } => None,
    });
    let fill =
        Filling { rollout: &rollout.metadata.name, namespace: rollout.metadata.namespace.as_ref(), library };
    let capacity = capacity(&spec.capacity);
    let sizing = match &runtime {
        Runtime::Standalone { workload, .. } => workload.kind().sizing(),
        Runtime::Cluster { workload, .. } => workload.codec()?.sizing(),
    };
    let steering = routes::steering(spec);
    let missing = references::missing(spec, &steps, library);
    let plan = Plan {
        mode: spec.mode,
        guards: guards(spec, &steps)?,
        on_verdict: spec.on_verdict,
        deadlines: spec.deadlines,
        rollback_window: spec.rollback_window,
        steps: sized(&steps.steps, &capacity, sizing, &steering),
        steering,
        capacity,
        sizing,
        missing: missing.iter().map(Into::into).collect(),
    };
    Some(Compiled {
        name: rollout.metadata.name.clone(),
        namespace: rollout.metadata.namespace.clone(),
        replicas,
        analyses: analyses(spec, &steps, &fill)?,
        missing,
        plan,
        runtime,
        written: Written { steps: steps.steps, capacity: spec.capacity },
    })
}

fn runtime(spec: &RolloutSpec) -> Option<Runtime> {
    match (&spec.workload, &spec.workload_ref) {
        (Some(workload), None) => {
            let proxy = spec.traffic.iter().find_map(|it| it.proxy.clone())?;
            Some(Runtime::Standalone { workload: workload.clone(), proxy })
        }
        (None, Some(workload)) => Some(Runtime::Cluster {
            workload: workload.clone(),
            traffic: spec.traffic.clone(),
            services: spec.services.iter().map(ServiceEntry::service).collect(),
            ignored: match &spec.ignore_template_changes {
                Some(given) => given.iter().map(FieldPath::pointer).collect(),
                None => vec![pointer(&["metadata", "annotations", RESTARTED])],
            },
        }),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// Defaults of the numbers follow from what happens to stable.
pub(super) fn capacity(spec: &CapacitySpec) -> Capacity {
    let quarter = Amount::Share(Weight::from_percent(25));
    let stable = spec.stable.unwrap_or_default();
    let (surge, unavailable) = match stable {
        StableCapacity::Keep => (Amount::FULL, Amount::ZERO),
        StableCapacity::Follow => (quarter, Amount::ZERO),
        StableCapacity::InPlace => (Amount::ZERO, quarter),
    };
    Capacity {
        stable,
        surge: spec.surge.unwrap_or(surge),
        max_unavailable: spec.max_unavailable.unwrap_or(unavailable),
        keep_canary: spec.after_abort.keep_canary,
    }
}

fn guards(spec: &RolloutSpec, steps: &Steps) -> Option<Vec<Guard>> {
    let first = &steps.steps.first()?.name;
    let pods = Guard { name: PODS.into(), from: first.clone(), watches: Watches::Replicas };
    let traffic = |name| Guard { name, from: first.clone(), watches: Watches::Traffic };
    let given = |it: &super::GuardSpec| Guard {
        name: it.name.clone(),
        from: it.from.clone().unwrap_or_else(|| first.clone()),
        watches: Watches::Traffic,
    };
    let others: Vec<Guard> = match &spec.analyses {
        Some(specs) => specs.iter().map(given).collect(),
        None => guard_names(spec).into_iter().map(traffic).collect(),
    };
    let known = |it: &Guard| steps.steps.iter().any(|step| step.name == it.from);
    let built_in = built_in(spec).into_keys().filter(|name| !others.iter().any(|it| it.name == *name));
    let built_in: Vec<Guard> = built_in.map(traffic).collect();
    let all: Vec<Guard> = std::iter::once(pods).chain(built_in).chain(others).collect();
    all.iter().all(known).then_some(all)
}

struct Filling<'a> {
    rollout: &'a Name,
    namespace: Option<&'a Name>,
    library: Library<'a>,
}

fn analyses(
    spec: &RolloutSpec,
    steps: &Steps,
    fill: &Filling<'_>,
) -> Option<BTreeMap<Name, CompiledAnalysis>> {
    let pods = CompiledMetric {
        name: PODS.into(),
        every: HumanDuration::from_secs(1),
        weight: 1.0,
        dry_run: false,
        judge: AnyJudge::Pods(Pods::default()),
        from: MetricFrom::Replicas,
    };
    let mut all = built_in(spec);
    all.insert(PODS.into(), CompiledAnalysis { metrics: vec![pods] });
    for it in spec.analyses.iter().flatten() {
        let analysis = fill.analysis(it.template_ref.kind, &it.template_ref.name, &it.args)?;
        all.insert(it.name.clone(), analysis);
    }
    if spec.analyses.is_none() {
        for name in guard_names(spec) {
            all.insert(name, fill.analysis(TemplateKind::BuiltIn, &golden::NAME.into(), &[])?);
        }
    }
    for it in &steps.uses {
        all.insert(it.analysis.clone(), fill.analysis(it.kind, &it.template, &it.args)?);
    }
    Some(all)
}

/// What is judged beside replicas without being asked for, where it can be measured: how a canary answers, and whether
/// its processes leak.
fn built_in(spec: &RolloutSpec) -> BTreeMap<Name, CompiledAnalysis> {
    let metric = |name: &str, judge: AnyJudge, provider: Provider| {
        let metric = CompiledMetric {
            name: name.into(),
            every: provider.every(),
            weight: 1.0,
            dry_run: false,
            judge,
            from: MetricFrom::Provider { provider, source: None },
        };
        (Name::from(name), CompiledAnalysis { metrics: vec![metric] })
    };
    let mut all = BTreeMap::new();
    if spec.workload.is_some() && spec.traffic.iter().any(|it| it.proxy.is_some()) {
        let counts = ProxyCounts { signal: Signal::Answers };
        all.extend([metric("answers", AnyJudge::Answers(Answers::default()), Provider::Proxy(counts))]);
    }
    if matches!(spec.workload, Some(Workload::Process(_))) {
        let usage = ProcessUse { signal: Used::Memory };
        all.extend([metric("memory", AnyJudge::Leak(Leak::default()), Provider::Process(usage))]);
    }
    all
}

impl Filling<'_> {
    fn analysis(&self, kind: TemplateKind, name: &Name, args: &[Argument]) -> Option<CompiledAnalysis> {
        let template = self.library.template(kind, name);
        // Without its template an analysis has no metrics: the plan says that it is missing, and nobody asks it.
        let Some(template) = template else {
            return (kind != TemplateKind::BuiltIn).then_some(CompiledAnalysis { metrics: vec![] });
        };
        let values: BTreeMap<&str, String> = template
            .args
            .iter()
            .filter_map(|spec| {
                let given = args.iter().find(|it| it.name == spec.name).map(|it| &it.value);
                given.or(spec.value.as_ref()).map(|value| (spec.name.as_str(), self.value(value)))
            })
            .collect();
        Some(CompiledAnalysis {
            metrics: template.metrics.iter().map(|it| self.metric(it, &values)).collect(),
        })
    }

    fn known(&self, it: &Parameter) -> Option<String> {
        match it {
            Parameter::Rollout => Some(self.rollout.to_string()),
            Parameter::Namespace => {
                Some(self.namespace.map_or_else(|| "default".to_owned(), Name::to_string))
            }
            Parameter::Argument(_)
            | Parameter::Side(..)
            | Parameter::Weight
            | Parameter::Window
            | Parameter::Port
            | Parameter::Ordinal
            | Parameter::Revision
            | Parameter::Role => None,
        }
    }

    fn value(&self, written: &Name) -> String {
        match written.as_str().parse::<ArgumentText>() {
            Ok(text) => text.fill(|it| self.known(it)),
            Err(_) => written.to_string(),
        }
    }

    fn metric(&self, metric: &Metric, values: &BTreeMap<&str, String>) -> CompiledMetric {
        let fill = |text: &MetricText| {
            text.fill_some(|it| match it {
                // A value stays one value, whatever it is put into.
                Parameter::Argument(name) => values.get(name.as_str()).map(|it| metric.provider.escape(it)),
                other @ (Parameter::Side(..)
                | Parameter::Namespace
                | Parameter::Rollout
                | Parameter::Weight
                | Parameter::Window
                | Parameter::Port
                | Parameter::Ordinal
                | Parameter::Revision
                | Parameter::Role) => self.known(other),
            })
        };
        let source = match metric.provider.whom() {
            Whom::Source { source_ref: Some(wanted), .. } => {
                let mut sources = self.library.sources(wanted.kind);
                sources.find(|(name, _)| **name == wanted.name).map(|(_, spec)| Box::new(spec.clone()))
            }
            Whom::Source { source_ref: None, .. } | Whom::ThisMachine | Whom::Engine => None,
        };
        CompiledMetric {
            name: metric.name.clone(),
            every: metric.every.unwrap_or_else(|| metric.provider.every()),
            weight: metric.weight,
            dry_run: metric.dry_run,
            judge: metric.judge.clone(),
            from: MetricFrom::Provider { provider: metric.provider.expanded().filled(&fill), source },
        }
    }
}

/// Whether traffic follows weights at all here, rather than the ratio of replicas.
pub(super) fn by_ratio(spec: &RolloutSpec) -> bool {
    spec.traffic.is_empty() && spec.workload.is_none()
}

/// How many replicas a workload of this sizing can have on both sides together, for people.
#[must_use]
pub fn peak_replicas(plan: &Plan, replicas: u32) -> u32 {
    match plan.sizing {
        Sizing::PerArm => {
            let most = |it: usize| plan.canary_replicas(&plan.goal_at(it), replicas);
            let canary = (0..plan.steps.len()).map(most).max().unwrap_or(0);
            match (&plan.steering, plan.capacity.stable) {
                (Steering::Routes(_), StableCapacity::Keep) => replicas.saturating_add(canary),
                (Steering::Ratio, _) | (_, StableCapacity::Follow | StableCapacity::InPlace) => {
                    replicas.saturating_add(plan.capacity.surge.above(replicas))
                }
            }
        }
        Sizing::Partition | Sizing::Elastic | Sizing::Fixed => replicas,
    }
}
