//! Anything that answers a GET with JSON: JSONPath (RFC 9535) says where the number is.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;
use url::Url;

use super::{Failure, Memory, Question, Reading, Refused, Source, Span, json};
use crate::counter::Series;

/// How old an answer may be that says its time.
const FRESH_S: f64 = 300.0;

/// How far ahead of us a source's clock may be.
const AHEAD_S: f64 = 60.0;

/// Seconds since the epoch beyond which a number must be milliseconds.
const MILLIS_FROM: f64 = 1e11;

/// What a web service is asked about one arm.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Web {
    /// Path and query, appended to the source's address; begins with `/`.
    pub path: String,
    /// Where in the answer is what.
    pub pick: Pick,
    /// Where in the answer its own time is: seconds or milliseconds since the epoch, or RFC 3339. Without it an answer
    /// counts as of now.
    pub time: Option<String>,
}

/// Where in an answer is what, as JSONPaths.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Pick {
    /// One number.
    Value(String),
    /// Two counters that only rise: what counts is what comes on top between two answers.
    Counts {
        /// Bad events.
        bad: String,
        /// All events.
        total: String,
    },
}

/// Whether `path` is a JSONPath.
///
/// # Errors
/// What is wrong with it, and where.
pub fn check_path(path: &str) -> Result<(), String> {
    JsonPath::parse(path).map(drop).map_err(|error| format!("at character {}: {}", error.position() + 1, error.message()))
}

impl Question for Web {
    async fn ask(
        &self,
        source: Option<&Source>,
        span: Span,
        memory: &mut Memory,
    ) -> Result<Reading, Failure> {
        let source = source.ok_or(Failure::Question("it names no source"))?;
        let url = self.url(source.url())?;
        let body = source.fetch(|| source.client().get(url.clone()).send()).await?;
        let answer = json::read(body.json()?)?;
        let at = match &self.time {
            Some(path) => fresh(one(&answer, path)?, span.to)?,
            None => span.to.as_millisecond(),
        };
        match &self.pick {
            Pick::Value(path) => Ok(Reading::Values(vec![json::number(one(&answer, path)?)?])),
            Pick::Counts { bad, total } => {
                let [bad, total] = [bad, total].map(|path| json::number(one(&answer, path)?));
                counted(bad?, total?, at, span, memory)
            }
        }
    }
}

impl Web {
    /// The address to ask: it stays at the source, whatever the path says.
    fn url(&self, base: &Url) -> Result<Url, Failure> {
        let elsewhere = Failure::Egress(Refused::Written("its path does not begin with `/`"));
        if !self.path.starts_with('/') || self.path.chars().any(|it| it.is_control() || it == '\\') {
            return Err(elsewhere);
        }
        let whole = format!("{}{}", base.as_str().trim_end_matches('/'), self.path);
        let url = Url::parse(&whole).map_err(|_| elsewhere.clone())?;
        if url.origin() == base.origin() { Ok(url) } else { Err(elsewhere) }
    }
}

/// The one place that a path leads to.
fn one<'a>(answer: &'a Value, path: &str) -> Result<&'a Value, Failure> {
    let path = JsonPath::parse(path).map_err(|_| Failure::Question("it holds something that is no JSONPath"))?;
    match path.query(answer).all().as_slice() {
        [] => Err(Failure::NoData),
        [one] => Ok(*one),
        [_, _, ..] => Err(Failure::NotOneNumber("several values")),
    }
}

/// The time of an answer in milliseconds, if it is fresh.
fn fresh(value: &Value, to: Timestamp) -> Result<i64, Failure> {
    let words = value.as_str().filter(|text| text.parse::<f64>().is_err());
    let seconds = match words {
        Some(text) => {
            let at: Timestamp = text.parse().map_err(|_| Failure::NotThis("a time"))?;
            at.as_millisecond() as f64 / 1000.0
        }
        None => match json::number(value)? {
            millis if MILLIS_FROM < millis => millis / 1000.0,
            seconds => seconds,
        },
    };
    let ahead = seconds - to.as_millisecond() as f64 / 1000.0;
    if !(-FRESH_S..=AHEAD_S).contains(&ahead) {
        return Err(Failure::Stale(Duration::try_from_secs_f64(ahead.abs()).unwrap_or(Duration::MAX)));
    }
    Ok((seconds * 1000.0).round() as i64)
}

/// What came on top since the last answer; the first one is the base.
fn counted(bad: f64, total: f64, at: i64, span: Span, memory: &mut Memory) -> Result<Reading, Failure> {
    if bad < 0.0 || total < bad {
        return Err(Failure::Contradictory("more bad events than events, or fewer than none"));
    }
    let began = span.began.as_millisecond();
    let series = |value: f64| [Series { labels: BTreeMap::new(), samples: vec![(at, value)] }];
    let mut grown = [0.0; 2];
    let mut any = false;
    for (sum, (ledger, value)) in grown.iter_mut().zip([(&mut memory.bad, bad), (&mut memory.total, total)]) {
        ledger.recall(&BTreeMap::new(), began - 1, 0.0);
        let series = series(value);
        let it = ledger.take(&series, began).map_err(|_| Failure::TooManySeries(1))?;
        any |= it.any;
        *sum = it.by_series.iter().map(|it| it.1).sum();
    }
    let pending = &mut memory.pending;
    pending.any |= any;
    pending.bad += grown[0];
    pending.total += grown[1];
    pending.counts()
}
