//! Rules about Rollouts and orders.

use serde_json::{Value, json};

use super::Rule;
use crate::workload::{CODECS, WorkloadRef};

macro_rules! rules {
    ($($(#[$doc:meta])* $NAME:ident = ($record:literal, $field:literal) $cel:expr, $words:expr, $cure:expr;)*) => {
        $($(#[$doc])* pub(in crate::spec) const $NAME: Rule =
            Rule { on: ($record, $field), cel: $cel, words: $words, cure: $cure };)*
        pub(super) const ALL: &[Rule] = &[$($NAME),*];
    };
}
pub(super) use rules;

rules! {
    NOT_DELIVERED = ("RolloutSpec", "workloadRef") "has(self.workload) || has(self.workloadRef)",
        "it is not said what is delivered",
        "write `workload: { process: … }` for this machine, or `workloadRef` for a cluster";
    STANDALONE = ("RolloutSpec", "workload") "!has(self.workload)",
        "`workload` runs on one machine, and this is a cluster",
        "name what is delivered here in `workloadRef`, or hand this document to `serinus run` on that machine";
    NO_SERVICE = ("RolloutSpec", "traffic") "!{gateway} || (has(self.services) && size(self.services) > 0)",
        "routes lead to Services, and none is named here",
        "list the Service that the routes lead to: `services: [ { name: … } ]`";
    SAME_SERVICE = ("RolloutSpec", "services")
        "!has(self.services) || [self.services.map(s, s.name) + self.services.map(s, has(s.stable) ? s.stable.name : s.name + '-stable') \
         + self.services.map(s, has(s.canary) ? s.canary.name : s.name + '-canary')]\
         .all(names, names.all(a, names.exists_one(b, a == b)))",
        "a Service would be two things at once",
        "the user's own, stable's and the canary's are three Services";
    SAME_ROUTE = ("RolloutSpec", "traffic")
        "!has(self.traffic) || self.traffic.all(t, !has(t.gatewayApi) || t.gatewayApi.routes.all(r, self.traffic.map(u, \
         has(u.gatewayApi) ? u.gatewayApi.routes.filter(q, q.name == r.name && (has(q.kind) ? q.kind : 'HTTPRoute') \
         == (has(r.kind) ? r.kind : 'HTTPRoute')).size() : 0).sum() == 1))",
        "a route is named twice", "name every route once";
    PROXY = ("Traffic", "proxy") "!has(self.proxy)",
        "`proxy` moves traffic of one machine, and this workload runs in a cluster",
        "use `gatewayApi`, or no `traffic` for the ratio of replicas";
    NO_ROUTER = ("Traffic", "gatewayApi") "has(self.proxy) || has(self.gatewayApi)",
        "this entry has no router", "write `gatewayApi`";
    NOT_STICKY = ("RolloutSpec", "traffic")
        "!{gateway} || !(({a step}(s, has(s.sticky))) || ({abTest} && (has(self.strategy.abTest.sticky) || \
         (has(self.strategy.abTest.weight) && !self.strategy.abTest.weight.matches({none})))))",
        "gatewayApi cannot keep clients where they were first sent",
        "leave it out, or use a router that can";

    PODS_IS_TAKEN = ("GuardSpec", "name") "self.name != 'pods'",
        "`pods` is the name of the guard that is always on", "choose another name";
    NO_GOLDEN = ("TemplateRef", "kind") "!has(self.kind) || self.kind != 'BuiltIn'",
        "`golden` is what the built-in proxy counts, and there is none",
        "write an AnalysisTemplate for what counts your requests";
    NO_GOLDEN_IN_STEP = ("TemplateUse", "kind") NO_GOLDEN.cel, NO_GOLDEN.words, NO_GOLDEN.cure;

    ROOM_TO_KEEP = ("CapacitySpec", "surge")
        "(has(self.stable) && self.stable != 'keep') || !has(self.surge) || \
         (type(self.surge) == string && string(self.surge).matches({all}))",
        "stable keeps its replicas, and this is not enough for a whole canary",
        "write `surge: 100%`, or `stable: follow`";
    ROOM_TO_FOLLOW = ("CapacitySpec", "surge")
        "!has(self.stable) || self.stable != 'follow' || !has(self.surge) || !string(self.surge).matches({none})",
        "no replica of the canary could start: there is no room beside stable",
        "write `surge: 25%`, or `stable: inPlace` to make room first";
    ROOM_IN_PLACE = ("CapacitySpec", "maxUnavailable")
        "!has(self.stable) || self.stable != 'inPlace' || !has(self.maxUnavailable) || \
         !string(self.maxUnavailable).matches({none})",
        "no replica of stable may be missing, so no room can be made",
        "write `maxUnavailable: 25%`, or `stable: keep`";
    STABLE_TO_THE_END = ("RolloutSpec", "capacity")
        "!has(self.capacity) || !has(self.capacity.stable) || self.capacity.stable == 'keep' || !has(self.strategy) || \
         !(has(self.strategy.blueGreen) || (has(self.strategy.canary) && has(self.strategy.canary.bake)) || \
         (has(self.strategy.linear) && has(self.strategy.linear.bake)) || \
         (has(self.strategy.exponential) && has(self.strategy.exponential.bake)) || \
         (has(self.strategy.abTest) && has(self.strategy.abTest.bake)) || \
         (has(self.strategy.shadow) && has(self.strategy.shadow.bake)))",
        "stable's replicas are needed until the end, and here they leave before",
        "write `stable: keep`, or leave out what needs them";

    NO_PREVIEW = ("RolloutSpec", "strategy") "{routed} || !has(self.strategy) || !has(self.strategy.blueGreen)",
        "without a router every replica of the new version gets requests: there is no preview",
        "name a router in `traffic`, or use `canary`";
    NO_BAKE = ("RolloutSpec", "strategy")
        "{routed} || !has(self.strategy) || !((has(self.strategy.canary) && has(self.strategy.canary.bake)) || \
         (has(self.strategy.linear) && has(self.strategy.linear.bake)) || \
         (has(self.strategy.exponential) && has(self.strategy.exponential.bake)) || \
         (has(self.strategy.abTest) && has(self.strategy.abTest.bake)) || \
         (has(self.strategy.shadow) && has(self.strategy.shadow.bake)))",
        "without a router nothing of stable is left to go back to once everything is on the canary",
        "leave `bake` out, or name a router in `traffic`";
    RATIO_MATCH = ("RolloutSpec", "strategy")
        "{routed} || !(({a step}(s, has(s.match) && has(s.match.anyOf) && size(s.match.anyOf) > 0)) || ({abTest} && \
         has(self.strategy.abTest.matches) && size(self.strategy.abTest.matches) > 0))",
        "without a router requests cannot be sent by what they carry", "name a router in `traffic`";
    RATIO_MIRROR = ("RolloutSpec", "strategy")
        "{routed} || !(({a step}(s, has(s.mirror) && !s.mirror.matches({none}))) || (has(self.strategy) && \
         has(self.strategy.shadow)))",
        "without a router requests cannot be copied", "name a router in `traffic`";
    RATIO_STICKY = ("RolloutSpec", "strategy")
        "{routed} || !(({a step}(s, has(s.sticky))) || ({abTest} && has(self.strategy.abTest.sticky)))",
        "without a router requests cannot be kept on one side", "name a router in `traffic`";
    RATIO_SCALE = ("RolloutSpec", "strategy") "{routed} || !({a step}(s, has(s.scale) && !has(s.scale.traffic)))",
        "without a router the replicas are the split, so the weight says how many there are",
        "leave `scale` out, or name a router in `traffic`";
    RATIO_DIRECT = ("RolloutSpec", "services")
        "{routed} || !has(self.services) || !self.services.exists(s, has(s.direct) && s.direct == 'stable')",
        "without a router no request would ever reach the canary",
        "leave `direct` out, or name a router in `traffic`";

    NOTHING_MEASURED = ("RolloutSpec", "strategy")
        "{own} || (has(self.strategy) && !(has(self.strategy.canary) && (!has(self.strategy.canary.steps) || \
         self.strategy.canary.steps.exists(x, {asks own}))) && !((has(self.strategy.linear) && \
         !has(self.strategy.linear.leave)) || (has(self.strategy.exponential) && \
         !has(self.strategy.exponential.leave))))",
        "nothing is measured in this step", "name templates in this step, or give the rollout `analyses`";
    NOTHING_MEASURED_AT_A_SHARE = ("RolloutSpec", "strategy")
        "{own} || !has(self.strategy) || !((has(self.strategy.linear) && has(self.strategy.linear.leave) && \
         [self.strategy.linear.leave].exists(x, {asks own})) || (has(self.strategy.exponential) && \
         has(self.strategy.exponential.leave) && [self.strategy.exponential.leave].exists(x, {asks own})) || \
         (has(self.strategy.abTest) && has(self.strategy.abTest.leave) && \
         [self.strategy.abTest.leave].exists(x, {asks own})) || (has(self.strategy.shadow) && \
         has(self.strategy.shadow.leave) && [self.strategy.shadow.leave].exists(x, {asks own})) || \
         (has(self.strategy.blueGreen) && ((has(self.strategy.blueGreen.before) && \
         self.strategy.blueGreen.before.exists(x, {asks own})) || (has(self.strategy.blueGreen.after) && \
         self.strategy.blueGreen.after.exists(x, {asks own})))))",
        NOTHING_MEASURED.words, NOTHING_MEASURED.cure;
    NOTHING_GATES = ("RolloutSpec", "strategy")
        "{own} || !has(self.strategy) || (has(self.strategy.canary) && (!has(self.strategy.canary.steps) || \
         self.strategy.canary.steps.exists(x, {gates}))) || (has(self.strategy.linear) && \
         (!has(self.strategy.linear.leave) || [self.strategy.linear.leave].exists(x, {gates}))) || \
         (has(self.strategy.exponential) && (!has(self.strategy.exponential.leave) || \
         [self.strategy.exponential.leave].exists(x, {gates}))) || (has(self.strategy.abTest) && \
         (!has(self.strategy.abTest.leave) || [self.strategy.abTest.leave].exists(x, {gates}))) || \
         (has(self.strategy.shadow) && (!has(self.strategy.shadow.leave) || \
         [self.strategy.shadow.leave].exists(x, {gates}))) || (has(self.strategy.blueGreen) && \
         ((has(self.strategy.blueGreen.promote) && has(self.strategy.blueGreen.promote.manual)) || \
         (has(self.strategy.blueGreen.before) && self.strategy.blueGreen.before.exists(x, {gates})) || \
         (has(self.strategy.blueGreen.after) && self.strategy.blueGreen.after.exists(x, {gates}))))",
        "nothing here could stop a bad version",
        "name what is measured in `analyses`, or let a step wait for evidence or for a person: `until`, `analyze` or `approve`";
    GUARD_FROM_NOWHERE = ("RolloutSpec", "analyses")
        "!has(self.analyses) || !has(self.strategy) || !has(self.strategy.canary) || !has(self.strategy.canary.steps) || \
         self.analyses.all(g, !has(g.from) || g.from in ['promote', 'bake'] || \
         self.strategy.canary.steps.exists(s, !has(s.name) || s.name == g.from))",
        "a guard begins with a step that is not there", "write the name of one of the steps";

    UNPINNED = ("RolloutSpec", "services")
        "!{routed} || !has(self.services) || !self.services.exists(s, has(s.direct) && s.direct == 'proportional') || \
         !(({a step}(s, (has(s.mirror) && !s.mirror.matches({none})) || (has(s.scale) && !has(s.scale.traffic)))) || \
         (has(self.strategy) && (has(self.strategy.shadow) || (has(self.strategy.canary) && has(self.strategy.canary.steps) && \
         size(self.strategy.canary.steps) > 0 && !has(self.strategy.canary.steps[0].weight)))))",
        "clients of a Service that is not pinned meet the canary as often as it has replicas, and a step asks for something else",
        "write `direct: stable` for it, or leave this out";

    WINDOW = ("RollbackWindow", "revisions") "self.revisions >= 1 && self.revisions <= 16",
        "so many revisions are out of bounds", "write a number from 1 to 16, or leave `rollbackWindow` out";
    NO_TIME_TO_PROGRESS = ("Deadlines", "progress") "!has(self.progress) || !self.progress.matches({no time})",
        "no time passes here", "write a time above zero, for example `10m`";
    NO_TIME_TO_ABORT = ("Deadlines", "abort") "!has(self.abort) || !self.abort.matches({no time})",
        NO_TIME_TO_PROGRESS.words, NO_TIME_TO_PROGRESS.cure;
    NO_TIME_TO_BAKE = ("Bake", "for") "!self.__for__.matches({no time})",
        NO_TIME_TO_PROGRESS.words, NO_TIME_TO_PROGRESS.cure;
    NO_TIME_TO_ANALYZE = ("Analyze", "for") "!has(self.__for__) || !self.__for__.matches({no time})",
        NO_TIME_TO_PROGRESS.words, NO_TIME_TO_PROGRESS.cure;

    // What strategies say of themselves, in `strategies::recipe::Wrong`; a test compares the words.
    NO_STEPS = ("Canary", "steps") "!has(self.steps) || size(self.steps) > 0",
        "an empty list of steps", "leave `steps` out to get 5, 10, 25 and 50 %, each as the evidence allows";
    SAME_STEP = ("Canary", "steps")
        "!has(self.steps) || self.steps.all(s, !has(s.name) || self.steps.exists_one(t, has(t.name) && t.name == s.name))",
        "two steps have one name", "orders and guards name steps: give each its own name";
    FIRST_JUDGED = ("Canary", "steps")
        "!has(self.steps) || size(self.steps) == 0 || !has(self.steps[0].until) || \
         (has(self.steps[0].weight) && !self.steps[0].weight.matches({none})) || \
         (has(self.steps[0].match) && has(self.steps[0].match.anyOf) && size(self.steps[0].match.anyOf) > 0) || \
         (has(self.steps[0].mirror) && !self.steps[0].mirror.matches({none}))",
        "the canary gets no request in this step, so there is nothing to judge",
        "give the step a `weight`, a `match` or a `mirror`, or leave it by `approve` or `pause`";
    ENDS_NOTHING = ("Canary", "steps")
        "!has(self.steps) || self.steps.all(s, !has(s.match) || (has(s.match.anyOf) && size(s.match.anyOf) > 0) || \
         self.steps.exists(t, has(t.match) && t.match.id == s.match.id && has(t.match.anyOf) && size(t.match.anyOf) > 0))",
        "a match is ended that never begins", "fill `anyOf`, or use the `id` of an earlier step's match";
    STEP_WITHOUT_END = ("Step", "until") "{ends} > 0",
        "this step has no end",
        "give it one of `until`, `analyze`, `approve`, `pause` or `atOnce`, for example `until: {}` to leave when the evidence suffices";
    STEP_WITH_ENDS = ("Step", "until") "{ends} <= 1", "this step has several ends",
        "keep one; to have them one after the other, write several steps";
    LEAVING_WITHOUT_END = ("Leaving", "until") STEP_WITHOUT_END.cel, STEP_WITHOUT_END.words, STEP_WITHOUT_END.cure;
    LEAVING_WITH_ENDS = ("Leaving", "until") STEP_WITH_ENDS.cel, STEP_WITH_ENDS.words, STEP_WITH_ENDS.cure;
    NOTHING_TO_MIRROR = ("Step", "mirror")
        "!(has(self.weight) && self.weight.matches({all}) && has(self.mirror) && !self.mirror.matches({none}))",
        "stable answers no request in this step, so there is nothing to copy",
        "lower `weight`, or leave `mirror` out";
    DOES_NOTHING = ("Step", "atOnce")
        "!has(self.atOnce) || has(self.weight) || has(self.match) || has(self.mirror) || has(self.sticky) || has(self.scale)",
        "this step changes nothing and waits for nothing", "remove it, or change `weight`, `match`, `mirror` or `scale`";
    EVERY_REQUEST = ("RequestMatch", "headers")
        "(has(self.headers) && size(self.headers) > 0) || (has(self.cookies) && size(self.cookies) > 0) || \
         (has(self.query) && size(self.query) > 0) || has(self.path)",
        "this would match every request", "say what it looks at: `headers`, `cookies`, `query` or `path`";
    // What cannot be read as one makes the expression fail, and with it the rule.
    REGEX = ("Pattern", "regex") "!has(self.regex) || ''.matches(self.regex) in [true, false]",
        "this is no regular expression", "no look-around, no back-references";
    REGEX_OF_A_FIELD = ("Field", "regex") REGEX.cel, REGEX.words, REGEX.cure;
    MIN_ABOVE_MAX = ("Until", "min")
        "[[has(self.min) ? self.min : '1m', has(self.max) ? self.max : '30m']].all(it, !it.all(t, t.matches({time})) || \
         duration(it[0]) <= duration(it[1]))",
        "`min` is above `max`", "raise `max` or lower `min`";
    LINEAR_GROWS = ("Linear", "by") "!has(self.by) || !self.by.matches({none})",
        "the canary's share would never grow", "let it grow: `by` above 0%, `factor` above 1x";
    EXPONENTIAL_GROWS = ("Exponential", "factor")
        "(!has(self.factor) || !self.factor.matches('^0*1([.]0+)?x$')) && (!has(self.from) || !self.from.matches({none}))",
        LINEAR_GROWS.words, LINEAR_GROWS.cure;
    LINEAR_BACKWARDS = ("Linear", "upTo")
        "double((has(self.from) ? self.from : has(self.by) ? self.by : '10%').replace('%', '')) <= \
         double((has(self.upTo) ? self.upTo : '50%').replace('%', ''))",
        "`from` is above `upTo`, so the weights go nowhere", "lower `from` or raise `upTo`";
    EXPONENTIAL_BACKWARDS = ("Exponential", "upTo")
        "double((has(self.from) ? self.from : '1%').replace('%', '')) <= double((has(self.upTo) ? self.upTo : '50%').replace('%', ''))",
        LINEAR_BACKWARDS.words, LINEAR_BACKWARDS.cure;
    LINEAR_ENDS = ("Linear", "by")
        "[double((has(self.by) ? self.by : '10%').replace('%', ''))].all(by, by == 0.0 || \
         (double((has(self.upTo) ? self.upTo : '50%').replace('%', '')) - \
         double((has(self.from) ? self.from : has(self.by) ? self.by : '10%').replace('%', ''))) / by <= 98.001)",
        "these are too many steps", "let each share grow by more";
    NOBODY_CHOSEN = ("AbTest", "matches")
        "(has(self.matches) && size(self.matches) > 0) || (has(self.weight) && !self.weight.matches({none}))",
        "nobody takes part in this test",
        "say which clients take part with `matches`, or what share of all with `weight`";
    SHADOW_OF_NOTHING = ("Shadow", "mirror") "!has(self.mirror) || !self.mirror.matches({none})",
        FIRST_JUDGED.words, FIRST_JUDGED.cure;

    NEVER_CHANGES = ("RolloutOrderSpec", "") "self == oldSelf", "an order never changes", "write another one";
}

/// Whether anything drives workloads of a kind.
pub(super) fn driven() -> Value {
    let one = |it: &&dyn crate::workload::Workloads| {
        format!("(self.apiVersion == '{}' && self.kind == '{}')", it.kind().api_version, it.kind().kind)
    };
    let rule = CODECS.iter().map(one).collect::<Vec<_>>().join(" || ");
    json!({ "rule": rule, "fieldPath": ".kind",
        "message": format!("workloads of this kind are not driven: these kinds are: {}", WorkloadRef::driven()) })
}
