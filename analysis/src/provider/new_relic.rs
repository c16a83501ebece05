//! New Relic, by NRQL through its GraphQL.
//!
//! Sources: New Relic documentation, "NerdGraph tutorial: Query your data using NRQL" and "Set a query's time range":
//! buckets of `TIMESERIES` count back from the end of the time asked for, so that whole buckets come back whole.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What New Relic is asked about one arm: NRQL that selects one number, without any words about time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewRelic {
    /// The account that is asked.
    pub account: u64,
    /// What is asked.
    pub timed: Timed,
}

/// Words that say when, or make several numbers of one. The end of a query belongs to us.
const NOT_IN_A_QUERY: &[&str] = &["SINCE", "UNTIL", "TIMESERIES", "FACET", "COMPARE", "LIMIT", "SLIDE"];

/// The first word of a query that is not allowed in it, if there is one. Quoted texts may hold any.
#[must_use]
pub fn forbidden_word(query: &str) -> Option<&'static str> {
    let mut outside = String::new();
    let (mut quote, mut escaped) = (None, false);
    for it in query.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if it == '\\' => escaped = true,
            Some(open) if it == open => quote = None,
            Some(_) => {}
            None if it == '\'' || it == '"' || it == '`' => quote = Some(it),
            None => outside.push(it),
        }
    }
    let words: Vec<String> =
        outside.split(|it: char| !it.is_alphanumeric() && it != '_' && it != '.').map(str::to_uppercase).collect();
    NOT_IN_A_QUERY.iter().find(|it| words.iter().any(|word| word == *it)).copied()
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    errors: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Data {
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    account: BTreeMap<String, Option<Nrql>>,
}

#[derive(Deserialize)]
struct Nrql {
    results: Vec<BTreeMap<String, Value>>,
}

impl Service for NewRelic {
    fn timed(&self) -> &Timed {
        &self.timed
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        if queries.iter().any(|it| forbidden_word(it).is_some()) {
            return Err(Failure::Question("its NRQL must not say when, nor by what to split"));
        }
        let seconds = stretch.seconds();
        let Stretch { from, until, .. } = stretch;
        let numbers = 0..queries.len();
        let declared: String = numbers.clone().map(|it| format!(",$q{it}:Nrql!")).collect();
        let fields: String = numbers.map(|it| format!(" q{it}:nrql(query:$q{it}){{results}}")).collect();
        let mut variables = json!({"account": self.account});
        for (index, query) in queries.iter().enumerate() {
            let whole = format!("{query} SINCE {from} UNTIL {until} TIMESERIES {seconds} seconds");
            variables[format!("q{index}")] = whole.into();
        }
        let query = format!("query($account:Int!{declared}){{actor{{account(id:$account){{{fields}}}}}}}");
        Ok(vec![Request::json("graphql", &json!({"query": query, "variables": variables}))])
    }

    fn read(&self, answer: &Body, _stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { data, errors } = answer.shaped("an answer of New Relic")?;
        if errors.is_some_and(|it| !it.is_empty()) {
            return Err(Failure::Reported("`errors`"));
        }
        let whole = || Failure::NotThis("an answer of New Relic");
        let account = data.ok_or_else(whole)?.actor.account;
        let mut lines = vec![];
        for (name, nrql) in &account {
            let index = name.strip_prefix('q').and_then(|it| it.parse().ok()).ok_or_else(whole)?;
            let points = nrql.as_ref().ok_or_else(whole)?.results.iter().map(point);
            let points: Vec<_> = points.collect::<Result<_, _>>()?;
            lines.push(Line::of(index, points.iter().map(|it| (it.0, it.1)))?);
        }
        Ok(lines)
    }
}

/// The beginning of a bucket in milliseconds, and its one number.
fn point(bucket: &BTreeMap<String, Value>) -> Result<(i64, Option<&Value>), Failure> {
    let begins = bucket.get("beginTimeSeconds").and_then(Value::as_f64);
    let begins = begins.ok_or(Failure::NotThis("numbers by time"))?;
    let about = ["beginTimeSeconds", "endTimeSeconds", "inspectedCount"];
    let mut values = bucket.iter().filter(|it| !about.contains(&it.0.as_str())).map(|it| it.1);
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Failure::NotOneNumber("not one number in a bucket"));
    };
    // `percentile(…, 95)` answers with `{"95": 0.3}`.
    let value = match value.as_object().map(|it| it.values().collect::<Vec<_>>()).as_deref() {
        Some([one]) => *one,
        Some(_) => return Err(Failure::NotOneNumber("not one number in a bucket")),
        None => value,
    };
    Ok(((begins * 1000.0).round() as i64, Some(value).filter(|it| !it.is_null())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_about_time_are_found_outside_of_quotes_only() {
        assert_eq!(forbidden_word("SELECT count(*) FROM T WHERE a = 'since \\' until'"), None);
        assert_eq!(forbidden_word("SELECT count(*) FROM T WHERE limits > 5 AND x.since = 1"), None);
        assert_eq!(forbidden_word("SELECT count(*) FROM T since 1 hour ago"), Some("SINCE"));
        assert_eq!(forbidden_word("SELECT count(*) FROM T FACET(host)"), Some("FACET"));
    }
}
