//! One route as a codec.

use serde_json::{Value, json};
use strategies::{Goal, Name, Pattern, Split};

use super::{
    super::{
        Ack,
        codec::{About, AsWritten, RouteAsk, RouteCodec, RouteRead},
    },
    Own, RouteName,
    originals::{self, Originals},
    rules::{Backend, Names, backends, normal},
    status::status,
};
use crate::object::{
    Detail, EPOCH, Edits, Kind, Misshapen, Need, ObjectRef, ObjectWrite, Objects, Towards, Trouble, Verb,
    Which, annotation, epoch, fence, foreign_manager, own_entry, pointer, text,
};

/// The split that was written, as the machine says it: what a structure cannot say, such as the name of a match.
const SPLIT: &str = "serinus.dev/split";
/// How many rules at the front are ours.
const RULES: &str = "serinus.dev/rules";
/// Which ControllerRevision keeps the originals.
const ORIGINALS: &str = "serinus.dev/originals";

/// An HTTPRoute, a GRPCRoute, or one of those without matches.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayRoute {
    /// Its kind.
    pub kind: RouteName,
    /// Its name.
    pub name: Name,
    /// What is written in it.
    pub own: Own,
}

/// A route taken apart.
struct Parts<'a> {
    route: &'a Value,
    names: Names<'a>,
    rules: &'a [Value],
    stored: Option<Originals>,
    ahead: usize,
}

impl Parts<'_> {
    /// The rules as their owner wrote them.
    fn own(&self) -> Vec<Value> {
        let own = self.names.own(self.rules, self.ahead, self.stored.as_ref());
        let stored = match &self.stored {
            Some(it) => it.of(&own),
            None => vec![None; own.len()],
        };
        let touched = self.stored.is_some() || self.ahead > 0;
        let restored = |(rule, stored): (&&Value, Option<&Value>)| match touched {
            true => self.names.restored(rule, stored),
            false => (*rule).clone(),
        };
        own.iter().zip(stored).map(restored).collect()
    }

    /// What was written, if it is what stands there.
    fn written(&self) -> Option<Split> {
        let split: Split = serde_json::from_str(annotation(self.route, SPLIT)?).ok()?;
        let (rules, _) = self.names.split(&self.own(), &split).ok()?;
        (normal(&rules) == normal(self.rules)).then_some(split)
    }

    /// What stands there, whoever wrote it. Matches that were written are taken to be there still.
    fn asked(&self) -> Option<Split> {
        if let Some(split) = self.written() {
            return Some(split);
        }
        let mut asked = self.names.asked(self.rules)?;
        if let Some(it) = annotation(self.route, SPLIT).and_then(|it| serde_json::from_str::<Split>(it).ok())
        {
            let own = self.names.own(self.rules, self.ahead, self.stored.as_ref()).len();
            asked.matches = if own < self.rules.len() { it.matches } else { vec![] };
        }
        Some(asked)
    }
}

impl GatewayRoute {
    fn kind(&self) -> Kind {
        Kind::new(self.kind.api_version(), self.kind.as_str())
    }

    fn parts<'a>(&self, objects: &'a Objects, about: &'a About) -> Result<Option<Parts<'a>>, Misshapen> {
        let object = self.object();
        let Some(route) = objects.get(&object) else { return Ok(None) };
        let misshapen =
            |at: &str, why| Misshapen { object: object.to_string().into(), at: at.to_owned(), why };
        let rules = match route.pointer("/spec/rules") {
            None => &[],
            Some(Value::Array(rules)) => rules.as_slice(),
            Some(_) => return Err(misshapen("/spec/rules", "a list of rules")),
        };
        if let Some(at) = rules.iter().position(|it| !it.is_object()) {
            return Err(misshapen(&format!("/spec/rules/{at}"), "an object"));
        }
        let names = Names { services: &about.services, namespace: text(route, "/metadata/namespace") };
        let is_ours = |rule: &Value| {
            backends(rule).iter().any(|it| matches!(names.of(it).0, Backend::Stable | Backend::Canary))
        };
        let named = annotation(route, ORIGINALS);
        // A route that lost our marks and still leads to our Services is not as its owner wrote it.
        let marked = named.is_some() || rules.iter().any(is_ours);
        let stored = marked.then(|| originals::find(objects, &object, named)).flatten();
        let ahead = annotation(route, RULES).and_then(|it| it.parse().ok()).unwrap_or(0);
        Ok(Some(Parts { route, names, rules, stored, ahead }))
    }

    /// Whether both backends stand in the route already.
    fn weights_only(&self, names: &Names<'_>, rules: &[Value]) -> bool {
        let has = |rule: &Value, who: Backend| backends(rule).iter().any(|it| names.of(it).0 == who);
        match self.own {
            Own::Weights => true,
            Own::Backends => false,
            Own::Auto => {
                let mut here = rules.iter().filter(|it| names.leads_here(it)).peekable();
                here.peek().is_some()
                    && here.all(|it| !has(it, Backend::User))
                    && rules.iter().any(|it| has(it, Backend::Stable) && has(it, Backend::Canary))
            }
        }
    }

    fn edits<'a>(&self, parts: &Parts<'a>, rules: &[Value]) -> Edits<'a> {
        let mut edits = Edits::of(parts.route);
        if normal(rules) == normal(parts.rules) {
            return edits;
        }
        if rules.len() != parts.rules.len() {
            edits.set(&["spec", "rules"], Value::Array(rules.to_vec()));
            return edits;
        }
        for (at, (wanted, present)) in rules.iter().zip(parts.rules).enumerate() {
            let at = at.to_string();
            if normal(std::slice::from_ref(wanted)) == normal(std::slice::from_ref(present)) {
                continue;
            }
            let keys = wanted.as_object().into_iter().chain(present.as_object()).flat_map(|it| it.keys());
            let keys: std::collections::BTreeSet<&String> = keys.collect();
            for key in keys {
                match wanted.get(key) {
                    Some(value) => edits.set(&["spec", "rules", &at, key], value.clone()),
                    None => edits.unset(&["spec", "rules", &at, key]),
                }
            }
        }
        edits
    }

    fn split(
        &self,
        (split, under): (&Split, strategies::Epoch),
        parts: &Parts<'_>,
        objects: &Objects,
        about: &About,
    ) -> Towards<ObjectWrite> {
        let object = self.object();
        if !parts.rules.iter().any(|it| parts.names.leads_here(it)) {
            let names: Vec<&str> = about.services.iter().map(|it| it.name.as_str()).collect();
            return Towards::Refused(format!(
                "no rule of {object} leads to {}: name the Service in a backendRef, or take the route out of `traffic`",
                names.join(" or ")
            ));
        }
        let own = parts.own();
        let (rules, ahead) = match parts.names.split(&own, split) {
            Ok(it) => it,
            Err(what) => return Towards::Refused(format!("{object} cannot express {what}")),
        };
        let weights_only = self.weights_only(&parts.names, &own);
        let originals = match &parts.stored {
            Some(it) => it.clone(),
            None => match originals::taken(&parts.names, &own, weights_only) {
                Some(it) => it,
                None => Originals { rules: own },
            },
        };
        let kind = originals::kind();
        let (kept, keep) = originals.kept(&object, about);
        if objects.get(&kept).is_none() {
            return Towards::Write(keep);
        }
        if let Some((stale, it)) =
            originals::all(objects, &object, &kind).into_iter().find(|(it, _)| *it != kept)
            && annotation(parts.route, ORIGINALS) == Some(kept.name.as_str())
        {
            return Towards::Write(ObjectWrite::delete(stale, it));
        }
        let mut edits = self.edits(parts, &rules);
        edits.annotate(EPOCH, Some(under.0.to_string()));
        edits.annotate(SPLIT, serde_json::to_string(split).ok());
        edits.annotate(RULES, (ahead > 0).then(|| ahead.to_string()));
        edits.annotate(ORIGINALS, Some(kept.name.to_string()));
        match edits.is_empty() {
            true => Towards::Reached,
            false => Towards::Write(edits.write(object, Verb::Patch)),
        }
    }

    fn restore(&self, parts: &Parts<'_>, objects: &Objects) -> Towards<ObjectWrite> {
        let object = self.object();
        let mut edits = self.edits(parts, &parts.own());
        for it in [EPOCH, SPLIT, RULES, ORIGINALS] {
            edits.annotate(it, None);
        }
        if !edits.is_empty() {
            return Towards::Write(edits.write(object, Verb::Patch));
        }
        let kind = originals::kind();
        if let Some((kept, it)) = originals::all(objects, &object, &kind).into_iter().next() {
            return Towards::Write(ObjectWrite::delete(kept, it));
        }
        match own_entry(parts.route) {
            // Whoever applies the route next must not meet us as the manager of its rules.
            Some(at) => {
                let path = pointer(&["metadata", "managedFields", &at.to_string()]);
                let body = json!([{ "op": "remove", "path": path }]);
                let expected = crate::object::version(parts.route);
                Towards::Write(ObjectWrite { object, verb: Verb::Patch, expected, body })
            }
            None => Towards::Reached,
        }
    }
}

impl RouteCodec for GatewayRoute {
    fn ack(&self) -> Ack {
        Ack::Generation
    }

    fn object(&self) -> ObjectRef {
        self.kind().named(self.name.as_str())
    }

    fn needs(&self) -> Vec<Need> {
        let named = Need { kind: self.kind(), which: Which::Named(self.name.clone()), detail: Detail::Whole };
        let kept = Need { kind: originals::kind(), which: Which::Ours, detail: Detail::Whole };
        vec![named, kept]
    }

    fn read(&self, objects: &Objects, about: &About) -> Result<Option<RouteRead>, Misshapen> {
        let Some(parts) = self.parts(objects, about)? else { return Ok(None) };
        let object = self.object();
        let found = status(parts.route);
        let mut troubles = found.troubles;
        let Some(asked) = parts.asked() else {
            let what = "no rule of it leads to a Service of this Rollout, so it moves no traffic".to_owned();
            troubles.push(Trouble { object: object.to_string().into(), what });
            return Ok(Some(self.nowhere(&parts, troubles)));
        };
        let generation = parts.route.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or(0);
        Ok(Some(RouteRead {
            asked,
            epoch: epoch(parts.route),
            generation,
            confirmed: found.confirmed,
            manager: foreign_manager(parts.route, &["f:spec", "f:rules"]),
            fence: fence(parts.route),
            troubles,
        }))
    }

    fn towards(
        &self,
        ask: &RouteAsk,
        objects: &Objects,
        about: &About,
    ) -> Result<Towards<ObjectWrite>, Misshapen> {
        let Some(parts) = self.parts(objects, about)? else {
            let object = self.object();
            return Ok(match ask {
                RouteAsk::Split(..) => Towards::Refused(format!("there is no {object}: apply it first")),
                RouteAsk::Restore => Towards::Reached,
            });
        };
        Ok(match ask {
            RouteAsk::Split(split, under) => self.split((split, *under), &parts, objects, about),
            RouteAsk::Restore => self.restore(&parts, objects),
        })
    }

    fn as_written(&self, objects: &Objects, about: &About) -> Result<Option<AsWritten>, Misshapen> {
        let Some(parts) = self.parts(objects, about)? else { return Ok(None) };
        let Some(service) = about.services.first() else { return Ok(None) };
        let asked = parts.names.asked(&parts.own());
        Ok(asked.map(|asked| match asked {
            it if it == Split::all_to(service.through()) => AsWritten::Users,
            it if it == Split::all_to(service.to_stable()) => AsWritten::Stable,
            _ => AsWritten::Ours,
        }))
    }

    fn expects(&self) -> AsWritten {
        match self.own {
            Own::Weights => AsWritten::Stable,
            Own::Backends | Own::Auto => AsWritten::Users,
        }
    }

    fn refuses(&self, goal: &Goal) -> Vec<String> {
        let mut all = vec![];
        for condition in goal.matches.values().flatten() {
            if let Some(Pattern::Prefix(it)) = &condition.path
                && !it.as_str().ends_with('/')
            {
                all.push(format!(
                    "paths that begin with `{it}`: a route takes whole elements, such as `{it}/`"
                ));
            }
            let cookie_header = |it: &strategies::Field| it.name.as_str().eq_ignore_ascii_case("cookie");
            if condition.cookies.len() + condition.headers.iter().filter(|it| cookie_header(it)).count() > 1 {
                all.push("several cookies in one condition: a route looks at a header once".to_owned());
            }
        }
        all
    }
}

impl GatewayRoute {
    fn nowhere(&self, parts: &Parts<'_>, troubles: Vec<Trouble>) -> RouteRead {
        RouteRead {
            asked: Split::fixed(std::collections::BTreeMap::new()),
            epoch: epoch(parts.route),
            generation: parts.route.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or(0),
            confirmed: None,
            manager: None,
            fence: fence(parts.route),
            troubles,
        }
    }
}
