//! InfluxDB, in InfluxQL: every version 1, and later ones by their compatible endpoint.
//!
//! Source: InfluxDB v1 documentation, "InfluxDB API reference" (`/query`) and "InfluxQL specification". A query is one
//! SELECT up to its conditions; the time it is about and the buckets are added here, so that none can be forgotten and an
//! OR cannot reach past them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What an InfluxDB is asked about one arm: SELECTs of one number, up to their conditions.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Influxql {
    /// The database.
    pub database: String,
    /// What is asked.
    pub timed: Timed,
}

/// Words after the conditions, and what writes.
const NOT_IN_A_QUERY: &[&str] =
    &["INTO", "GROUP", "ORDER", "LIMIT", "OFFSET", "SLIMIT", "SOFFSET", "FILL", "TZ"];

/// The word that is ours, even within conditions.
const TIME: &str = "TIME";

/// A slash in a parameter, until it is known where it stands: it would end a regular expression, which has an escape for it,
/// and a string has none.
pub const SLASH: char = '\u{1a}';

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Vec<Statement>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Statement {
    #[serde(default)]
    series: Vec<Series>,
    #[serde(default)]
    partial: bool,
    #[serde(default)]
    messages: Vec<Value>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Series {
    columns: Vec<String>,
    values: Vec<Vec<Value>>,
    #[serde(default)]
    partial: bool,
}

/// Checks one SELECT, and gives what comes before its conditions and the conditions.
///
/// # Errors
/// What is wrong with it.
pub fn parts(query: &str) -> Result<(&str, Option<&str>), &'static str> {
    const SELECT: &str = "it is not one SELECT";
    let words = words(query)?;
    if !words.first().is_some_and(|it| it.is("SELECT")) {
        return Err(SELECT);
    }
    let outer = |it: &&Word<'_>| it.depth == 0;
    if words.iter().filter(outer).any(|it| it.is(";")) || words.iter().any(|it| it.is(";") || it.is("INTO")) {
        return Err(SELECT);
    }
    if words.iter().filter(outer).any(|it| NOT_IN_A_QUERY.iter().any(|word| it.is(word))) {
        return Err("it must end with its conditions: buckets and order are added to it");
    }
    if words.iter().any(|it| it.is(TIME)) {
        return Err("it must not say when, nor by what time to group: both are added to it");
    }
    let mut wheres = words.iter().filter(outer).filter(|it| it.is("WHERE"));
    match (wheres.next(), wheres.next()) {
        (None, _) => Ok((query.trim(), None)),
        (Some(it), None) => {
            let (before, after) = query.split_at(it.at);
            Ok((before.trim(), Some(after[it.text.len()..].trim())))
        }
        (Some(_), Some(_)) => Err(SELECT),
    }
}

/// A word, or a character that means something, outside of quotes.
struct Word<'a> {
    text: &'a str,
    at: usize,
    /// In how many brackets.
    depth: usize,
    /// Where it ends, if it is a regular expression.
    regex: Option<usize>,
}

impl Word<'_> {
    fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }
}

/// The words outside of strings, quoted names and regular expressions.
fn words(query: &str) -> Result<Vec<Word<'_>>, &'static str> {
    const OPEN: &str = "a quote or a bracket in it is not closed";
    let (mut found, mut depth, mut at) = (vec![], 0_usize, 0);
    while let Some(first) = query[at..].chars().next() {
        let rest = &query[at..];
        let regex = first == '/' && found.last().is_some_and(|it: &Word<'_>| begins_regex(it));
        let length = match first {
            '\'' | '"' => quoted(rest, first).ok_or(OPEN)?,
            '/' if regex => quoted(rest, '/').ok_or(OPEN)?,
            '-' if rest.starts_with("--") => return Err("it holds a comment"),
            '/' if rest.starts_with("/*") => return Err("it holds a comment"),
            it if it.is_alphanumeric() || it == '_' => {
                rest.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(rest.len())
            }
            '=' if rest.starts_with("=~") => 2,
            '!' if rest.starts_with("!~") => 2,
            it => it.len_utf8(),
        };
        if first == ')' {
            depth = depth.checked_sub(1).ok_or(OPEN)?;
        }
        if !first.is_whitespace() {
            let text = if matches!(first, '\'' | '"') || regex { "" } else { &rest[..length] };
            found.push(Word { text, at, depth, regex: regex.then_some(at + length) });
        }
        depth += usize::from(first == '(');
        at += length;
    }
    if depth == 0 { Ok(found) } else { Err(OPEN) }
}

fn begins_regex(before: &Word<'_>) -> bool {
    ["=~", "!~", "FROM", ".", ",", "(", "BY"].iter().any(|it| before.is(it))
}

/// The length of a quoted text, quotes included.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(at, it)| match it {
        _ if escaped => {
            escaped = false;
            None
        }
        '\\' => {
            escaped = true;
            None
        }
        it if it == quote => Some(at + 1),
        _ => None,
    })
}

/// The query with every slash of a parameter as it is written where it stands.
fn placed(query: &str) -> Result<String, &'static str> {
    let words = words(query)?;
    let in_regex = |at: usize| words.iter().any(|it| it.regex.is_some_and(|end| (it.at..end).contains(&at)));
    let letter = |(at, it): (usize, char)| match it {
        SLASH if in_regex(at) => "\\/".to_owned(),
        SLASH => "/".to_owned(),
        it => it.to_string(),
    };
    Ok(query.char_indices().map(letter).collect())
}

impl Service for Influxql {
    fn timed(&self) -> &Timed {
        &self.timed
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let Stretch { from, until, .. } = stretch;
        let one = |query: &&str| {
            let query = placed(query).map_err(Failure::Question)?;
            let (select, conditions) = parts(&query).map_err(Failure::Question)?;
            let conditions = conditions.map_or_else(String::new, |it| format!("({it}) AND "));
            let when = format!("time >= {from}ms AND time < {until}ms");
            let whole =
                format!("{select} WHERE {conditions}{when} GROUP BY time({}s) fill(none)", stretch.seconds());
            Ok(Request::get("query").with("db", &self.database).with("epoch", "ms").with("q", whole))
        };
        queries.iter().map(one).collect()
    }

    fn read(&self, answer: &Body, _stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let Answer { results, error } = answer.shaped("an answer of an InfluxDB")?;
        let [statement] = results.as_slice() else {
            return Err(match error {
                Some(_) => Failure::Reported("`error`"),
                None => Failure::NotThis("an answer of an InfluxDB"),
            });
        };
        if error.is_some() || statement.error.is_some() {
            return Err(Failure::Reported("`error`"));
        }
        let partial = statement.partial || statement.series.iter().any(|it| it.partial);
        if partial || !statement.messages.is_empty() {
            return Err(Failure::Incomplete);
        }
        let line = |series: &Series| {
            if series.columns.len() != 2 || series.columns.first().is_none_or(|it| it != "time") {
                return Err(Failure::NotOneNumber("several columns"));
            }
            let point = |row: &Vec<Value>| match row.as_slice() {
                [at, value] => Ok((at.as_i64().ok_or(Failure::NotThis("numbers by time"))?, Some(value.clone()))),
                _ => Err(Failure::NotThis("an answer of an InfluxDB")),
            };
            let points: Vec<(i64, Option<Value>)> = series.values.iter().map(point).collect::<Result<_, _>>()?;
            Line::of(0, points.iter().map(|(at, value)| (*at, value)))
        };
        statement.series.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_found_where_they_begin() {
        for (query, expected) in [
            ("SELECT sum(n) FROM req", ("SELECT sum(n) FROM req", None)),
            (" select sum(n) from req where a = 'x' OR b=1 ", ("select sum(n) from req", Some("a = 'x' OR b=1"))),
            (
                r#"SELECT sum("where") FROM "a \" where" WHERE "b" =~ /^ where \/ ; (/"#,
                (r#"SELECT sum("where") FROM "a \" where""#, Some(r#""b" =~ /^ where \/ ; (/"#)),
            ),
            (
                "SELECT sum(x) FROM (SELECT sum(n) AS x FROM req WHERE a='b' GROUP BY pod) WHERE c = ';'",
                ("SELECT sum(x) FROM (SELECT sum(n) AS x FROM req WHERE a='b' GROUP BY pod)", Some("c = ';'")),
            ),
            ("SELECT sum(a) / sum(b) FROM /^req/", ("SELECT sum(a) / sum(b) FROM /^req/", None)),
        ] {
            assert_eq!(parts(query), Ok(expected), "{query}");
        }
    }

    #[test]
    fn a_slash_is_escaped_in_a_regular_expression_only() {
        let query = format!("SELECT sum(n) FROM /^{SLASH}/ WHERE a = '{SLASH}x' AND b =~ /^{SLASH}y$/ AND c / 2 > 1");
        let placed = placed(&query).unwrap();
        assert_eq!(placed, r"SELECT sum(n) FROM /^\// WHERE a = '/x' AND b =~ /^\/y$/ AND c / 2 > 1");
        assert!(parts(&placed).is_ok());
    }

    #[test]
    fn what_is_not_one_select_up_to_its_conditions_is_refused() {
        for query in [
            "",
            "DROP DATABASE shop",
            "SELECT n FROM req; DROP DATABASE shop",
            "SELECT n INTO other FROM req",
            "SELECT sum(n) FROM req GROUP BY time(10s)",
            "SELECT sum(n) FROM req LIMIT 1",
            "SELECT sum(n) FROM req WHERE time > now() - 1h",
            "SELECT sum(n) FROM req WHERE (TIME > 0)",
            "SELECT sum(n) FROM (SELECT n FROM req GROUP BY time(1s))",
            "SELECT sum(n) FROM req WHERE a = 'x",
            "SELECT sum(n) FROM req WHERE a = 1) OR (b = 2",
            "SELECT sum(n) FROM req WHERE (a = 1",
            "SELECT sum(n) FROM req -- WHERE",
            "SELECT sum(n) FROM req /* ; */",
            "SELECT sum(n) FROM req WHERE a = 1 WHERE b = 2",
        ] {
            assert!(parts(query).is_err(), "{query}");
        }
    }
}
