use std::collections::BTreeMap;

use strategies::{Amount, HumanDuration, StableCapacity, recipe::Key, recipe::Strategy};

use super::{
    Check, Code, Diagnostic, cluster,
    command::{self, Command},
    references,
    references::Elsewhere,
    steps,
};
use crate::{
    router::{Reach, Traffic},
    spec::{
        Document, Placed, Rollout, RolloutSpec,
        compile::{self, PODS},
        rules,
    },
    workload::{Process, Readiness, Upstream, Workload},
    written::{ListenAddress, list_of, nearest},
};

const SPEC: Key = Key::Field("spec");

pub(super) fn check(rollout: &Rollout, check: &mut Check<'_>) {
    let spec = &rollout.spec;
    let elsewhere = match (&spec.workload_ref, &spec.workload) {
        (Some(_), _) => Elsewhere::Cluster,
        (None, Some(Workload::Upstream(_))) => Elsewhere::NoWithUpstreams,
        (None, Some(Workload::Process(_)) | None) => Elsewhere::No,
    };
    workload(spec, check);
    traffic(spec, check);
    guards(spec, elsewhere, check);
    capacity(spec, check);
    times(spec, check);
    let before = check.found.len();
    steps::check(rollout, elsewhere, check);
    // Whether anything gates is only worth saying of a plan that could be run.
    if check.found.len() == before {
        nothing_gates(rollout, check);
    }
}

fn workload(spec: &RolloutSpec, check: &mut Check<'_>) {
    match (&spec.workload, &spec.workload_ref) {
        (Some(_), Some(_)) => {
            let help = "`workload` is for this machine, `workloadRef` for a cluster: keep one";
            let way = [SPEC, Key::Field("workloadRef")];
            check.error(Code::NotOneOf, &way, "`workload` and `workloadRef` exclude each other", help);
        }
        (None, None) => {
            check.broken(Code::MissingField, &[SPEC], &rules::NOT_DELIVERED);
        }
        (Some(Workload::Process(it)), None) => process(it, check),
        (Some(Workload::Upstream(it)), None) => upstream(it, spec, check),
        (None, Some(it)) => cluster::check(spec, it, check),
    }
    if spec.workload.is_some() {
        for (key, given) in [
            ("services", !spec.services.is_empty()),
            ("ignoreTemplateChanges", spec.ignore_template_changes.is_some()),
        ] {
            if given {
                let help = "leave it out, or name a workload of a cluster in `workloadRef`";
                let message = format!("`{key}` is for clusters, and this workload runs on one machine");
                check.error(Code::Mismatch, &[SPEC, Key::Field(key)], message, help);
            }
        }
    }
}

fn process(process: &Process, check: &mut Check<'_>) {
    let way = |more: &[Key]| [&[SPEC, Key::Field("workload"), Key::Field("process")], more].concat();
    let readiness = &process.readiness;
    if readiness.http.is_some() && readiness.tcp.is_some() {
        let way = way(&[Key::Field("readiness"), Key::Field("tcp")]);
        check.error(Code::NotOneOf, &way, "`http` and `tcp` exclude each other", "`http` says more: keep it");
    }
    for (key, time) in [("every", readiness.every), ("timeout", readiness.timeout)] {
        if time == HumanDuration::default() {
            let way = way(&[Key::Field("readiness"), Key::Field(key)]);
            check.error(
                Code::BadValue,
                &way,
                "no time passes here",
                "write a time above zero, for example `500ms`",
            );
        }
    }
    if process.restart.max < process.restart.first {
        let way = way(&[Key::Field("restart"), Key::Field("max")]);
        let message = format!("`max` ({}) is below `first` ({})", process.restart.max, process.restart.first);
        check.error(Code::BadValue, &way, message, "raise `max` or lower `first`");
    }
    if process.logs.size.bytes() < 4096 {
        let way = way(&[Key::Field("logs"), Key::Field("size")]);
        check.error(
            Code::BadValue,
            &way,
            format!("{} is too small", process.logs.size),
            "write at least `4KiB`",
        );
    }
    if process.command.first().is_some_and(|it| it.as_str().trim().is_empty()) {
        let way = way(&[Key::Field("command"), Key::Index(0)]);
        check.error(Code::BadValue, &way, "there is no program", "begin with the program to start");
    }
    command(process, &way, check);
    probe(readiness, &way, check);
    for (index, file) in process.files.iter().enumerate() {
        let outside = file.starts_with('/') || file.split('/').any(|it| it == "..") || file.is_empty();
        if outside {
            let way = way(&[Key::Field("files"), Key::Index(index)]);
            let help = "name it relative to `workingDir`, without `..`";
            check.error(Code::BadValue, &way, format!("`{file}` is not below `workingDir`"), help);
        } else if file.contains('*') {
            let way = way(&[Key::Field("files"), Key::Index(index)]);
            let help = "name the files, or the directory they are in";
            check.error(
                Code::BadValue,
                &way,
                format!("`{file}` is no file: patterns are not supported"),
                help,
            );
        }
    }
}

/// Variables that every process gets, and what stands for each in a command.
const GIVEN: [(&str, Option<&str>); 5] = [
    ("PORT", Some("$(port)")),
    ("SERINUS_ROLLOUT", Some("$(rollout)")),
    ("SERINUS_REVISION", Some("$(revision)")),
    ("SERINUS_ROLE", Some("$(role)")),
    ("SERINUS_ORDINAL", Some("$(ordinal)")),
];

fn command(process: &Process, way: &impl Fn(&[Key]) -> Vec<Key>, check: &mut Check<'_>) {
    let named = process.env.iter().map(|it| (it.name.as_str(), None));
    let variables = GIVEN.into_iter().chain(named).collect();
    let words = process.command.iter().map(|it| it.as_str()).collect();
    command::check(&Command { words, variables }, &way(&[Key::Field("command")]), check);
}

fn probe(readiness: &Readiness, way: &impl Fn(&[Key]) -> Vec<Key>, check: &mut Check<'_>) {
    let Some(http) = &readiness.http else { return };
    let way = |more: &[Key]| [&way(&[Key::Field("readiness"), Key::Field("http")]), more].concat();
    for (index, header) in http.headers.iter().enumerate() {
        let at = way(&[Key::Field("headers"), Key::Index(index), Key::Field("name")]);
        let name = header.name.to_ascii_lowercase();
        if name == "host" && http.host.is_some() {
            let help = "keep `host`, or the header";
            check.error(Code::NotOneOf, &at, "the host is said twice", help);
        } else if ["connection", "content-length", "transfer-encoding", "upgrade", "te"]
            .contains(&name.as_str())
        {
            let message = format!("`{}` belongs to the connection, which is not yours here", header.name);
            check.error(Code::BadValue, &at, message, "leave it out");
        }
    }
}

fn upstream(upstream: &Upstream, spec: &RolloutSpec, check: &mut Check<'_>) {
    let way = |more: &[Key]| [&[SPEC, Key::Field("workload"), Key::Field("upstream")], more].concat();
    let known: Vec<&str> = upstream.releases.iter().map(|it| it.revision.as_str()).collect();
    if !known.contains(&upstream.current.as_str()) {
        let span = check.at(&way(&[Key::Field("current")]));
        let message = format!("there is no release `{}`", upstream.current);
        let mut wrong = Diagnostic::error(Code::NotFound, span, message);
        if let Some(near) = nearest(upstream.current.as_str(), known.iter().copied()) {
            wrong = wrong.label(format!("did you mean `{near}`?"));
        }
        check.found.push(wrong.help(format!("`releases` has {}", list_of(known.iter().copied(), "and"))));
    }
    let mut seen = BTreeMap::new();
    for (index, release) in upstream.releases.iter().enumerate() {
        let at = Key::Index(index);
        if known.iter().take(index).any(|it| *it == release.revision.as_str()) {
            let way = way(&[Key::Field("releases"), at, Key::Field("revision")]);
            let message = format!("there already is a release `{}`", release.revision);
            check.error(Code::DuplicateName, &way, message, "give every version its own name");
        }
        for (number, address) in release.addresses.iter().enumerate() {
            let place = way(&[Key::Field("releases"), at, Key::Field("addresses"), Key::Index(number)]);
            if let Some(first) = seen.insert(address.clone(), place.clone()) {
                let message = format!("`{address}` stands here for the second time");
                let wrong = Diagnostic::error(Code::DuplicateName, check.at(&place), message);
                let first = check.at(&first);
                check.found.push(wrong.related(first, "first here"));
            }
        }
    }
    if spec.replicas.is_some() {
        let help = "leave `replicas` out: every address is one";
        check.error(
            Code::Mismatch,
            &[SPEC, Key::Field("replicas")],
            "someone else runs these replicas",
            help,
        );
    }
}

fn traffic(spec: &RolloutSpec, check: &mut Check<'_>) {
    let machine = spec.workload.is_some() && spec.workload_ref.is_none();
    if machine && spec.traffic.is_empty() {
        let help = "write `traffic: [ { proxy: { listen: [ { address: \"127.0.0.1:8080\" } ] } } ]`";
        let message = "it is not said where users' requests come in";
        check.error(Code::MissingField, &[SPEC, Key::Field("traffic")], message, help);
    }
    for (index, entry) in spec.traffic.iter().enumerate() {
        let way = [SPEC, Key::Field("traffic"), Key::Index(index)];
        let routers = entry.routers();
        match routers.as_slice() {
            [] => {
                let help = format!("write exactly one of {}", list_of(Traffic::KEYS.iter().copied(), "or"));
                check.error(Code::NotOneOf, &way, rules::NO_ROUTER.words, help);
            }
            [(key, router)] => {
                let reach = router.reach();
                let fits = if machine { reach == Reach::Machine } else { reach == Reach::Cluster };
                if !fits && (machine || spec.workload_ref.is_some()) {
                    let (here, there) = if machine {
                        ("on this machine", "a cluster")
                    } else {
                        ("in a cluster", "one machine")
                    };
                    let message = format!("`{key}` moves traffic of {there}, and this workload runs {here}");
                    let help = if machine {
                        "use `proxy`"
                    } else {
                        "use `gatewayApi`, or no `traffic` for the ratio of replicas"
                    };
                    check.error(Code::Mismatch, &[&way[..], &[Key::Field(key)]].concat(), message, help);
                }
            }
            [(first, _), (second, _), ..] => {
                let message = format!("`{first}` and `{second}` exclude each other in one entry");
                let way = [&way[..], &[Key::Field(second)]].concat();
                check.error(Code::NotOneOf, &way, message, "write two entries: they are moved together");
            }
        }
        if 0 < index && machine && entry.proxy.is_some() {
            let help = "write all addresses into the `listen` of one entry";
            check.error(Code::Mismatch, &way, "there is one built-in proxy", help);
        }
    }
}

/// Two Rollouts of one file that listen on one address, or one that does so twice.
pub(super) fn shared_addresses(documents: &[Placed]) -> Vec<Diagnostic> {
    let mut seen: BTreeMap<ListenAddress, std::ops::Range<usize>> = BTreeMap::new();
    let mut found = Vec::new();
    for placed in documents {
        let Document::Rollout(rollout) = &placed.document else { continue };
        for (number, entry) in rollout.spec.traffic.iter().enumerate() {
            for (index, listen) in entry.proxy.iter().flat_map(|it| &it.listen).enumerate() {
                let node = placed.node.field("spec").and_then(|it| it.value.field("traffic"));
                let node = node.and_then(|it| it.value.entry(number)).and_then(|it| it.field("proxy"));
                let node = node.and_then(|it| it.value.field("listen")).and_then(|it| it.value.entry(index));
                let span = node.and_then(|it| it.field("address")).map_or(0..0, |it| it.value.span.clone());
                if listen.address.0.port() == 0 {
                    continue;
                }
                if let Some(first) = seen.get(&listen.address) {
                    let message = format!("`{}` is listened on already", listen.address);
                    let wrong = Diagnostic::error(Code::DuplicateName, span, message);
                    found.push(wrong.related(first.clone(), "here"));
                } else {
                    seen.insert(listen.address, span);
                }
            }
        }
    }
    found
}

fn guards(spec: &RolloutSpec, elsewhere: Elsewhere, check: &mut Check<'_>) {
    let guards = spec.analyses.as_deref().unwrap_or_default();
    for (index, guard) in guards.iter().enumerate() {
        let way = [SPEC, Key::Field("analyses"), Key::Index(index)];
        let name_way = [&way[..], &[Key::Field("name")]].concat();
        if guard.name.as_str() == PODS {
            check.broken(Code::DuplicateName, &name_way, &rules::PODS_IS_TAKEN);
        }
        if guards.iter().take(index).any(|it| it.name == guard.name) {
            let message = format!("there already is an analysis `{}`", guard.name);
            check.error(Code::DuplicateName, &name_way, message, "give each its own name");
        }
        let reference = [&way[..], &[Key::Field("templateRef")]].concat();
        // Arguments stand beside the reference, so that what is wrong with them is shown there.
        let template = check.library.template(guard.template_ref.kind, &guard.template_ref.name);
        let place = if template.is_some() { way.to_vec() } else { reference };
        let target = &guard.template_ref;
        references::template(target.kind, &target.name, &guard.args, &place, elsewhere, check);
    }
    let proxy = spec.traffic.iter().any(|it| it.proxy.is_some());
    if !proxy && guards.iter().any(|it| it.template_ref.kind == strategies::recipe::TemplateKind::BuiltIn) {
        check.broken(Code::NotExpressible, &[SPEC, Key::Field("analyses")], &rules::NO_GOLDEN);
    }
}

fn capacity(spec: &RolloutSpec, check: &mut Check<'_>) {
    let capacity = compile::capacity(&spec.capacity);
    let way = |field| [SPEC, Key::Field("capacity"), Key::Field(field)];
    match capacity.stable {
        StableCapacity::Keep if capacity.surge != Amount::FULL => {
            let message = format!(
                "stable keeps its replicas, and {} more are not enough for a whole canary",
                capacity.surge
            );
            check.error(Code::Capacity, &way("surge"), message, rules::ROOM_TO_KEEP.cure);
        }
        StableCapacity::Follow if capacity.surge.is_none() => {
            check.broken(Code::Capacity, &way("surge"), &rules::ROOM_TO_FOLLOW);
        }
        StableCapacity::InPlace if capacity.max_unavailable.is_none() => {
            check.broken(Code::Capacity, &way("maxUnavailable"), &rules::ROOM_IN_PLACE);
        }
        StableCapacity::Keep | StableCapacity::Follow | StableCapacity::InPlace => {}
    }
    let bakes = match &spec.strategy {
        Strategy::Canary(it) => it.bake,
        Strategy::Linear(it) => it.bake,
        Strategy::Exponential(it) => it.bake,
        Strategy::BlueGreen(it) => it.bake,
        Strategy::AbTest(it) => it.bake,
        Strategy::Shadow(it) => it.bake,
    };
    let blue_green = matches!(spec.strategy, Strategy::BlueGreen(_));
    let needs_stable = bakes.map(|_| "`bake`").or(blue_green.then_some("`blueGreen`"));
    if let (Some(what), StableCapacity::Follow | StableCapacity::InPlace) = (needs_stable, capacity.stable) {
        let help = format!("write `stable: keep`, or leave {what} out");
        check.error(Code::Capacity, &way("stable"), rules::STABLE_TO_THE_END.words, help);
    }
}

fn times(spec: &RolloutSpec, check: &mut Check<'_>) {
    for (key, time) in [("progress", spec.deadlines.progress), ("abort", spec.deadlines.abort)] {
        if time == HumanDuration::default() {
            let way = [SPEC, Key::Field("deadlines"), Key::Field(key)];
            check.broken(Code::BadValue, &way, &rules::NO_TIME_TO_PROGRESS);
        }
    }
    if let Some(window) = &spec.rollback_window
        && !(1..=16).contains(&window.revisions)
    {
        let way = [SPEC, Key::Field("rollbackWindow"), Key::Field("revisions")];
        let message = format!("{} revisions are out of bounds", window.revisions);
        check.error(Code::BadValue, &way, message, rules::WINDOW.cure);
    }
}

fn nothing_gates(rollout: &Rollout, check: &mut Check<'_>) {
    let Some(compiled) = compile::one(rollout, check.library) else { return };
    if compiled.can_gate() {
        return;
    }
    let first = if rollout.spec.traffic.iter().any(|it| it.proxy.is_some()) {
        "leave `analyses` out to have errors and latency judged by the built-in `golden`, or name your own there"
    } else {
        "name what is measured in `analyses`"
    };
    let way = [SPEC, Key::Field("strategy")];
    let wrong =
        Diagnostic::error(Code::NothingGates, check.at(&way), "nothing here could stop a bad version");
    let second = "or let a step wait for evidence or for a person: `until`, `analyze` or `approve`";
    check.found.push(wrong.label("every step only waits for time").help(first).help(second));
}
