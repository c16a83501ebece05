//! What belongs together in a document, as an API server can check it, and the words for it.
//!
//! Each rule stands once: [`check`](super::check) says the same words of a file, with the place where it is wrong, and
//! the kinds of a cluster carry the expression. What an expression cannot say, `check` says alone, and in a cluster the
//! status of the object.

mod analyses;
mod rollout;

use serde_json::{Map, Value, json};

use crate::written::list_of;

/// One rule about the records of one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// The record, and the field of it that is wrong; every record with these fields where the name is `*`.
    pub(super) on: (&'static str, &'static str),
    /// What must hold, in the Common Expression Language of Kubernetes. `{…}` stands for an [abbreviation](ABBREVIATED).
    pub(super) cel: &'static str,
    /// What is said where it does not hold.
    pub(super) words: &'static str,
    /// What to do about it.
    pub(super) cure: &'static str,
}

/// What stands in expressions again and again.
const ABBREVIATED: &[(&str, &str)] = &[
    ("{all}", r"'^100([.]0+)?%$'"),
    // Of a weight or an amount.
    ("{none}", r"'^0+([.]0+)?%?$'"),
    ("{no time}", "'^[0 a-z]+$'"),
    // Of a duration that this language can read too.
    ("{time}", "'^([0-9]+(ms|s|m|h))+$'"),
    (
        "{ends}",
        "[has(self.until), has(self.analyze), has(self.approve), has(self.pause), has(self.atOnce)].filter(it, it).size()",
    ),
    ("{routed}", "(has(self.traffic) && size(self.traffic) > 0)"),
    ("{gateway}", "(has(self.traffic) && self.traffic.exists(t, has(t.gatewayApi)))"),
    (
        "{a step}",
        "has(self.strategy) && has(self.strategy.canary) && has(self.strategy.canary.steps) && self.strategy.canary.steps.exists",
    ),
    ("{own}", "(has(self.analyses) && size(self.analyses) > 0)"),
    // Of a step or of what ends several: whether the rollout's own analyses are asked, and whether it can end badly.
    (
        "{asks own}",
        "(has(x.until) && (!has(x.until.evidence) || !has(x.until.evidence.templates) || size(x.until.evidence.templates) == 0)) || \
         (has(x.analyze) && (!has(x.analyze.templates) || size(x.analyze.templates) == 0))",
    ),
    (
        "{gates}",
        "has(x.until) || has(x.analyze) || has(x.approve) || (has(x.pause) && !has(x.pause.__for__))",
    ),
    ("{abTest}", "(has(self.strategy) && has(self.strategy.abTest))"),
];

impl Rule {
    /// The words with what is to be done about it.
    fn message(&self) -> String {
        if self.cure.is_empty() { self.words.to_owned() } else { format!("{}: {}", self.words, self.cure) }
    }

    fn expression(&self) -> String {
        ABBREVIATED.iter().fold(self.cel.to_owned(), |cel, (short, long)| cel.replace(short, long))
    }

    fn is_on(&self, record: &str, fields: &Map<String, Value>) -> bool {
        let (of, field) = self.on;
        let also = if of == "*" { "sourceRef" } else { field };
        (of == record || of == "*")
            && [field, also].iter().all(|it| it.is_empty() || fields.contains_key(*it))
    }

    fn to_json(self) -> Value {
        let mut rule = json!({ "rule": self.expression(), "message": self.message() });
        if !self.on.1.is_empty() {
            rule["fieldPath"] = format!(".{}", self.on.1).into();
        }
        rule
    }
}

/// What is said of a choice: exactly one of these keys.
pub(super) fn one_of<'a>(keys: impl IntoIterator<Item = &'a str>) -> String {
    format!("exactly one of {} can be used", list_of(keys, "or"))
}

/// Exactly one of `keys` is given; `here`: those that can be used in a cluster.
pub(super) fn exactly_one(keys: &[&str], here: &[&str]) -> Value {
    let each: Vec<String> = keys.iter().map(|it| format!("has(self.{it})")).collect();
    let cel = format!("[{}].filter(it, it).size() == 1", each.join(", "));
    json!({ "rule": cel, "message": one_of(here.iter().copied()) })
}

/// The rules about a record of this name with these fields, as they stand in a kind's schema.
pub(super) fn of(record: &str, fields: &Map<String, Value>) -> Vec<Value> {
    let all = rollout::ALL.iter().chain(analyses::ALL);
    let mut found: Vec<Value> = all.filter(|it| it.is_on(record, fields)).map(|it| it.to_json()).collect();
    if record == "WorkloadRef" {
        found.push(rollout::driven());
    }
    found
}

pub(super) use self::{analyses::*, rollout::*};

#[cfg(test)]
mod tests {
    use strategies::recipe::Wrong;

    use super::*;
    use crate::spec::{Kind, crd};

    #[test]
    fn strategies_say_the_same_words() {
        for (rule, wrong) in [
            (NO_STEPS, Wrong::NoSteps),
            (FIRST_JUDGED, Wrong::NothingToJudge),
            (STEP_WITHOUT_END, Wrong::NoWayToLeave),
            (NOTHING_TO_MIRROR, Wrong::NothingToMirror),
            (DOES_NOTHING, Wrong::DoesNothing),
            (LINEAR_GROWS, Wrong::NeverGrows),
            (NOBODY_CHOSEN, Wrong::NobodyChosen),
            (NO_TIME_TO_BAKE, Wrong::NoTime),
            (NOTHING_MEASURED, Wrong::NoAnalyses),
        ] {
            assert_eq!((rule.words, rule.cure), (wrong.to_string().as_str(), wrong.cure().as_str()));
        }
    }

    #[test]
    fn every_rule_stands_in_some_kind() {
        let kinds: String = Kind::ALL.iter().map(|it| crd::definition(*it).to_string()).collect();
        for rule in rollout::ALL.iter().chain(analyses::ALL) {
            let cel = Value::from(rule.expression()).to_string();
            assert!(
                kinds.contains(&cel),
                "no record is `{}`, or it has no `{}`: {}",
                rule.on.0,
                rule.on.1,
                rule.words
            );
            assert!(!cel.contains('{'), "an abbreviation is not known: {cel}");
        }
    }
}
