//! The rules of a route: as their owner wrote them, and as a split changes them.
//!
//! A split is always written onto the owner's own rules, never onto an earlier split, so that nothing adds up.

use serde_json::{Map, Value, json};
use strategies::{Dest, RequestMatch, Share, Split, Weight};

use super::{
    super::codec::Service,
    matches,
    originals::Originals,
    weights::{self, Rule},
};

/// Most rules of one route.
const MOST: usize = 16;

/// Who stands in the backends of a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Backend {
    User,
    Stable,
    Canary,
    Other,
}

/// What is needed to tell whose a backend is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names<'a> {
    pub services: &'a [Service],
    pub namespace: Option<&'a str>,
}

/// How a split divides the requests of every rule that leads to one of the services.
#[derive(Debug)]
enum Division {
    /// As the owner wrote it.
    Untouched,
    /// The canary's share.
    Canary(Weight),
}

impl Names<'_> {
    pub(super) fn of(&self, backend: &Value) -> (Backend, Option<&Service>) {
        let text = |key: &str| backend.get(key).and_then(Value::as_str);
        let is_service =
            text("group").unwrap_or_default().is_empty() && text("kind").unwrap_or("Service") == "Service";
        let here = text("namespace").is_none_or(|it| Some(it) == self.namespace);
        let Some(name) = text("name").filter(|_| is_service && here) else { return (Backend::Other, None) };
        let found = self.services.iter().find_map(|it| {
            let sides =
                [(&it.name, Backend::User), (&it.stable, Backend::Stable), (&it.canary, Backend::Canary)];
            sides.into_iter().find(|(side, _)| side.as_str() == name).map(|(_, who)| (who, Some(it)))
        });
        found.unwrap_or((Backend::Other, None))
    }

    fn who(&self, backend: &Value) -> Backend {
        self.of(backend).0
    }

    /// Whether a rule leads to any of the services.
    pub(super) fn leads_here(&self, rule: &Value) -> bool {
        backends(rule).iter().any(|it| self.who(it) != Backend::Other)
    }

    /// Whether a filter copies requests to a canary.
    fn copies_to_canary(&self, filter: &Value) -> bool {
        filter["type"] == "RequestMirror"
            && filter.pointer("/requestMirror/backendRef").is_some_and(|it| self.who(it) == Backend::Canary)
    }

    /// The owner's rules among those that stand there.
    pub(super) fn own<'v>(
        &self,
        rules: &'v [Value],
        ahead: usize,
        originals: Option<&Originals>,
    ) -> Vec<&'v Value> {
        let made = |(index, rule): &(usize, &Value)| {
            let alone = |it: &Value| matches!(backends(it), [one] if matches!(self.who(one), Backend::Canary | Backend::Stable));
            *index < ahead && alone(rule) && !originals.is_some_and(|it| it.holds(rule))
        };
        rules.iter().enumerate().filter(|it| !made(it)).map(|(_, rule)| rule).collect()
    }

    /// A rule as its owner wrote it: fields that a split changes have the stored value, all others the present one.
    pub(super) fn restored(&self, rule: &Value, stored: Option<&Value>) -> Value {
        let mut rule = rule.clone();
        let Some(map) = rule.as_object_mut() else { return rule };
        match stored {
            Some(stored) => {
                for key in ["backendRefs", "filters"] {
                    match stored.get(key) {
                        Some(value) => drop(map.insert(key.to_owned(), value.clone())),
                        None if key == "filters" => self.without_copies(map),
                        None => drop(map.shift_remove(key)),
                    }
                }
            }
            None => {
                self.without_copies(map);
                self.merge(map);
            }
        }
        rule
    }

    fn without_copies(&self, rule: &mut Map<String, Value>) {
        let Some(filters) = rule.get_mut("filters").and_then(Value::as_array_mut) else { return };
        let before = filters.len();
        filters.retain(|it| !self.copies_to_canary(it));
        if filters.is_empty() && before > 0 {
            rule.shift_remove("filters");
        }
    }

    /// Backends of ours in a rule that nobody stored: the user's Service in their place.
    fn merge(&self, rule: &mut Map<String, Value>) {
        let Some(all) = rule.get_mut("backendRefs").and_then(Value::as_array_mut) else { return };
        if all.iter().any(|it| self.who(it) == Backend::User) {
            return;
        }
        let Some((at, service)) = all.iter().enumerate().find_map(|(at, it)| match self.of(it) {
            (Backend::Stable | Backend::Canary, Some(service)) => Some((at, service.clone())),
            (Backend::User | Backend::Stable | Backend::Canary | Backend::Other, _) => None,
        }) else {
            return;
        };
        if let Some(map) = all[at].as_object_mut() {
            map.insert("name".to_owned(), json!(service.name.as_str()));
            map.shift_remove("weight");
        }
        let mut index = 0;
        all.retain(|it| {
            index += 1;
            index == at + 1 || !matches!(self.who(it), Backend::Stable | Backend::Canary)
        });
    }

    /// The rules of a split, those for matches first, and how many those are.
    ///
    /// # Errors
    /// What cannot be said in a route, in words.
    pub(super) fn split(&self, own: &[Value], split: &Split) -> Result<(Vec<Value>, usize), String> {
        let division = self.division(split)?;
        let mut ahead = vec![];
        for matched in &split.matches {
            for rule in own.iter().filter(|it| self.leads_here(it)) {
                ahead.extend(self.matched(rule, &matched.any_of, &matched.to)?);
            }
        }
        let count = ahead.len();
        let mut rules = ahead;
        for rule in own {
            rules.push(match self.leads_here(rule) {
                true => self.divided(rule, &division, split)?,
                false => rule.clone(),
            });
        }
        match rules.len() {
            0..=MOST => Ok((rules, count)),
            many => Err(format!("{many} rules, where a route takes {MOST}: use fewer matches")),
        }
    }

    fn division(&self, split: &Split) -> Result<Division, String> {
        let Share::Fixed(weights) = &split.share else {
            return Err("shares that follow the ready replicas: a route leads to Services".to_owned());
        };
        let mut canary = Weight::ZERO;
        for (dest, weight) in weights {
            match self.side(dest) {
                Some(Backend::User) if *weight == Weight::FULL => return Ok(Division::Untouched),
                Some(Backend::Canary) => canary = canary.saturating_add(*weight),
                Some(Backend::Stable) => {}
                Some(Backend::User | Backend::Other) | None => return Err(unknown(dest)),
            }
        }
        Ok(Division::Canary(canary))
    }

    /// Which side of any service a destination is.
    fn side(&self, dest: &Dest) -> Option<Backend> {
        self.services.iter().find_map(|it| {
            let sides = [
                (it.through(), Backend::User),
                (it.to_stable(), Backend::Stable),
                (it.to_canary(), Backend::Canary),
            ];
            sides.into_iter().find(|(side, _)| side == dest).map(|(_, who)| who)
        })
    }

    /// A rule of ours for requests that a match claims; `None`: none can meet both the rule and the match.
    fn matched(&self, rule: &Value, any_of: &[RequestMatch], to: &Dest) -> Result<Option<Value>, String> {
        let side = self.side(to).ok_or_else(|| unknown(to))?;
        let both = matches::both(rule.get("matches"), any_of)?;
        let mut made = rule.clone();
        let ours = backends(rule).iter().find_map(|it| Some((it, self.of(it).1?)));
        let (Some(map), Some((backend, service)), false) = (made.as_object_mut(), ours, both.is_empty())
        else {
            return Ok(None);
        };
        // A name stands for one rule of a route.
        map.shift_remove("name");
        map.insert("matches".to_owned(), Value::Array(both));
        map.insert("backendRefs".to_owned(), Value::Array(vec![named(backend, service, side, None)]));
        Ok(Some(made))
    }

    fn divided(&self, rule: &Value, division: &Division, split: &Split) -> Result<Value, String> {
        let mut rule = rule.clone();
        if let Division::Canary(canary) = division {
            let refs = self.backends_of(&rule, *canary)?;
            if let Some(map) = rule.as_object_mut() {
                map.insert("backendRefs".to_owned(), Value::Array(refs));
            }
        }
        for (to, share) in &split.mirrors {
            self.copy(&mut rule, to, *share)?;
        }
        Ok(rule)
    }

    fn backends_of(&self, rule: &Value, canary: Weight) -> Result<Vec<Value>, String> {
        let all = backends(rule);
        let other = |it: &&Value| self.who(it) == Backend::Other;
        let weights = Rule {
            ours: all.iter().filter(|it| !other(it)).map(weight).sum(),
            others: all.iter().filter(other).map(weight).collect(),
        };
        let refused = || {
            format!(
                "{canary} of a rule whose other backends weigh {:?}: no whole weights up to a million give it",
                weights.others
            )
        };
        if weights.ours == 0 {
            return Ok(all.to_vec());
        }
        let written = weights.split(canary).ok_or_else(refused)?;
        let mut others = written.others.iter();
        let mut refs: Vec<Value> = vec![];
        let mut placed = false;
        for it in all {
            match self.of(it) {
                (Backend::Other, _) | (_, None) => refs.push(weighing(it, others.next().copied())),
                // Both stand there already and only their weights are ours.
                (Backend::Stable, Some(_)) => refs.push(weighing(it, Some(written.stable))),
                (Backend::Canary, Some(_)) => refs.push(weighing(it, Some(written.canary))),
                (Backend::User, Some(service)) if !placed => {
                    placed = true;
                    refs.push(named(it, service, Backend::Stable, Some(written.stable)));
                    if written.canary > 0 {
                        refs.push(named(it, service, Backend::Canary, Some(written.canary)));
                    }
                }
                (Backend::User, Some(_)) => {}
            }
        }
        Ok(refs)
    }

    fn copy(&self, rule: &mut Value, to: &Dest, share: Weight) -> Result<(), String> {
        let side = self.side(to).ok_or_else(|| unknown(to))?;
        let ours = backends(rule).iter().find_map(|it| Some((it, self.of(it).1?)));
        let Some((backend, service)) = ours else { return Ok(()) };
        let mut backend = named(backend, service, side, None);
        if let Some(map) = backend.as_object_mut() {
            map.shift_remove("filters");
        }
        let mut mirror = json!({ "backendRef": backend });
        match share.ppm() {
            1_000_000 => {}
            ppm if ppm % 10_000 == 0 => mirror["percent"] = json!(ppm / 10_000),
            ppm => mirror["fraction"] = json!({ "numerator": ppm, "denominator": 1_000_000 }),
        }
        let filter = json!({ "type": "RequestMirror", "requestMirror": mirror });
        if let Some(map) = rule.as_object_mut() {
            let filters = map.entry("filters").or_insert_with(|| json!([]));
            filters.as_array_mut().into_iter().for_each(|it| it.push(filter.clone()));
        }
        Ok(())
    }

    /// What the rules say of the two sides, whoever wrote them: the canary's largest share in any of them.
    pub(super) fn asked(&self, rules: &[Value]) -> Option<Split> {
        let (mut most, mut leads, mut untouched) = (Weight::ZERO, false, true);
        for rule in rules.iter().filter(|it| self.leads_here(it)) {
            let sum = |who: Backend| backends(rule).iter().filter(|it| self.who(it) == who).map(weight).sum();
            let share = weights::share(sum(Backend::Canary), sum(Backend::Stable) + sum(Backend::User));
            most = most.max(share);
            untouched &=
                backends(rule).iter().all(|it| !matches!(self.who(it), Backend::Stable | Backend::Canary));
            leads = true;
        }
        // A split names the sides of the first Service for those of all.
        let service = self.services.first().filter(|_| leads)?;
        if untouched {
            return Some(Split::all_to(service.through()));
        }
        let weights = [(service.to_stable(), most.complement()), (service.to_canary(), most)];
        Some(Split::fixed(weights.into()))
    }
}

fn unknown(dest: &Dest) -> String {
    match dest {
        Dest::Arm(arm) => {
            format!("replicas of {arm} themselves: a route leads to Services; list them under `services`")
        }
        Dest::Route(route) => format!("{route}, which is none of the Services of this Rollout"),
    }
}

pub(super) fn backends(rule: &Value) -> &[Value] {
    rule.get("backendRefs").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn weight(backend: &Value) -> u64 {
    backend.get("weight").and_then(Value::as_u64).unwrap_or(1)
}

fn weighing(backend: &Value, weight: Option<u64>) -> Value {
    let mut it = backend.clone();
    let present = self::weight(&it);
    if let (Some(map), Some(weight)) = (it.as_object_mut(), weight)
        && weight != present
    {
        map.insert("weight".to_owned(), json!(weight));
    }
    it
}

/// The same backend under another name, everything else that stands in it kept.
fn named(backend: &Value, service: &Service, side: Backend, weight: Option<u64>) -> Value {
    let name = match side {
        Backend::Stable => &service.stable,
        Backend::Canary => &service.canary,
        Backend::User | Backend::Other => &service.name,
    };
    let mut it = backend.clone();
    if let Some(map) = it.as_object_mut() {
        map.insert("name".to_owned(), json!(name.as_str()));
        match weight {
            Some(weight) => drop(map.insert("weight".to_owned(), json!(weight))),
            None => drop(map.shift_remove("weight")),
        }
    }
    it
}

/// Rules with every default of the API server filled in, to be compared.
pub(super) fn normal(rules: &[Value]) -> Vec<Value> {
    rules.iter().cloned().map(normal_rule).collect()
}

pub(super) fn normal_rule(mut rule: Value) -> Value {
    let backend = |it: &mut Value, weighs: bool| {
        let Some(map) = it.as_object_mut() else { return };
        map.retain(|_, value| !value.is_null());
        map.entry("group").or_insert_with(|| json!(""));
        map.entry("kind").or_insert_with(|| json!("Service"));
        if weighs {
            map.entry("weight").or_insert_with(|| json!(1));
        }
    };
    let Some(map) = rule.as_object_mut() else { return rule };
    map.retain(|_, it| !it.is_null() && it.as_array().is_none_or(|it| !it.is_empty()));
    if let Some(all) = map.get_mut("backendRefs").and_then(Value::as_array_mut) {
        all.iter_mut().for_each(|it| backend(it, true));
    }
    for filter in map.get_mut("filters").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(it) = filter.pointer_mut("/requestMirror/backendRef") {
            backend(it, false);
        }
    }
    rule
}
