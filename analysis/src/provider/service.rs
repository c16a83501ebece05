//! What services have in common that keep numbers by buckets of time and are asked over HTTP: which buckets are asked for,
//! how bad and all events come together, what several series mean. A service says only how it is asked and how its
//! answers are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure, Memory, Question, Reading, Slots, Source, Span, json,
    slots::{Point, Stretch},
    source::Body,
};
use crate::counter::MOST_SERIES;

/// What such a service is asked about one arm, and by which buckets.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timed {
    /// What is asked, in the service's own language.
    pub wanted: Wanted,
    /// The buckets.
    pub slots: Slots,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// One number, of the newest complete bucket.
    Value(String),
    /// Events, added up over each bucket. Several series are added up.
    Counts {
        /// Bad events.
        bad: String,
        /// All events.
        total: String,
    },
}

/// A service of this kind.
pub(super) trait Service {
    /// Most buckets that one request may ask for.
    const MOST_BUCKETS: i64 = 300;

    /// Whether it is not known if a time that it gives is where a bucket begins or where it ends. What may have begun too
    /// early is then left out, and what may not be over is waited for.
    const STAMPS_EITHER_END: bool = false;

    /// What is asked, and by which buckets.
    fn timed(&self) -> &Timed;

    /// The requests that ask all `queries` about `stretch`: one for all of them, or one for each.
    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure>;

    /// The series in an answer, each with the query of that request that it answers.
    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure>;
}

/// One request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Request {
    path: String,
    parameters: Vec<(&'static str, String)>,
    headers: Vec<(&'static str, &'static str)>,
    /// Its content type and what is sent; without it, it is a GET.
    body: Option<(&'static str, String)>,
    /// The service of AWS that it is signed for.
    signed_for: Option<&'static str>,
}

impl Request {
    /// Asks for what is at `path`, below the address of the source.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), parameters: vec![], headers: vec![], body: None, signed_for: None }
    }

    /// Sends JSON to `path`.
    pub(super) fn json(path: &str, body: &Value) -> Self {
        Self { body: Some(("application/json", body.to_string())), ..Self::get(path) }
    }

    /// Sends a text to `path`.
    pub(super) fn text(path: &str, body: String) -> Self {
        Self { body: Some(("text/plain", body)), ..Self::get(path) }
    }

    /// Sends JSON to a service of AWS, signed for it (AWS JSON 1.0).
    pub(super) fn aws(service: &'static str, target: &'static str, body: &Value) -> Self {
        Self {
            headers: vec![("x-amz-target", target)],
            body: Some(("application/x-amz-json-1.0", body.to_string())),
            signed_for: Some(service),
            ..Self::get("")
        }
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a parameter to the address, escaped for it.
    pub(super) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.parameters.push((name, value.to_string()));
        self
    }

    async fn send(&self, source: &Source) -> Result<Body, Failure> {
        let mut url = source.url().clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), self.path);
        url.set_path(&path);
        for (name, value) in &self.parameters {
            url.query_pairs_mut().append_pair(name, value);
        }
        let client = source.client();
        let keys = match self.signed_for {
            Some(service) => Some((service, source.keys()?)),
            None => None,
        };
        let built = || {
            let request = match &self.body {
                None => client.get(url.clone()),
                Some((kind, body)) => {
                    client.post(url.clone()).header("content-type", *kind).body(body.clone())
                }
            };
            let mut request =
                self.headers.iter().fold(request, |it, (name, value)| it.header(*name, *value)).build()?;
            if let Some((service, (keys, clock))) = keys {
                keys.sign(&mut request, service, clock.now());
            }
            Ok::<_, reqwest::Error>(request)
        };
        let send = || {
            let request = built();
            async move { client.execute(request?).await }
        };
        source.fetch(send).await
    }
}

/// A series that answers a query of a request, from 0.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    of: usize,
    points: Vec<Point>,
}

impl Line {
    /// Reads numbers, each with where its bucket begins, in milliseconds. `null` is no number.
    pub(super) fn of<V: Written>(
        of: usize,
        points: impl IntoIterator<Item = (i64, V)>,
    ) -> Result<Self, Failure> {
        let number = |(at, it): (i64, V)| Ok((at, it.written().map(json::number).transpose()?));
        Ok(Self { of, points: points.into_iter().map(number).collect::<Result<_, Failure>>()? })
    }
}

/// A number as it may stand in an answer.
pub(super) trait Written {
    fn written(&self) -> Option<&Value>;
}

impl Written for Option<&Value> {
    fn written(&self) -> Option<&Value> {
        self.filter(|it| !it.is_null())
    }
}

impl Written for &Option<Value> {
    fn written(&self) -> Option<&Value> {
        self.as_ref().filter(|it| !it.is_null())
    }
}

impl Stretch {
    /// The length of a bucket, where a service counts in seconds.
    pub(super) fn seconds(self) -> i64 {
        self.bucket / 1000
    }
}

impl<T> Question for T
where
    T: Service + Clone + PartialEq + Serialize + serde::de::DeserializeOwned + Sync,
{
    async fn ask(
        &self,
        source: Option<&Source>,
        span: Span,
        memory: &mut Memory,
    ) -> Result<Reading, Failure> {
        let source = source.ok_or(Failure::Question("it names no source"))?;
        let Timed { wanted, slots } = self.timed();
        slots.check()?;
        let span = if T::STAMPS_EITHER_END { later(span, slots.bucket) } else { span };
        match wanted {
            Wanted::Counts { bad, total } => {
                for stretch in slots.unread(span, memory).at_most(T::MOST_BUCKETS) {
                    let [bad, total] = found(self, source, [bad, total], stretch).await?;
                    stretch.count(&added(&bad)?, &added(&total)?, memory)?;
                }
                slots.counts(span, memory)
            }
            Wanted::Value(query) => {
                if let Some(stretch) = slots.recent(span, memory) {
                    let [lines] = found(self, source, [query], stretch).await?;
                    match lines.as_slice() {
                        [] => {}
                        [one] => stretch.newest(one, memory)?,
                        [_, _, ..] => return Err(Failure::NotOneNumber("several series")),
                    }
                }
                slots.value(span, memory)
            }
        }
    }
}

/// The same, with what began in the first bucket left out.
fn later(span: Span, bucket: Duration) -> Span {
    let millis = i64::try_from(bucket.as_millis()).unwrap_or(i64::MAX);
    let began = Timestamp::from_millisecond(span.began.as_millisecond().saturating_add(millis));
    Span { began: began.unwrap_or(span.began), ..span }
}

/// Asks, one request after the other: the series that answer each query.
async fn found<const N: usize>(
    service: &impl Service,
    source: &Source,
    queries: [&String; N],
    stretch: Stretch,
) -> Result<[Vec<Vec<Point>>; N], Failure> {
    let mut found = [const { vec![] }; N];
    let requests = service.requests(&queries.map(String::as_str), stretch)?;
    let one_for_each = requests.len() == N;
    for (index, request) in requests.iter().enumerate() {
        for line in service.read(&request.send(source).await?, stretch)? {
            let query = if one_for_each { index + line.of } else { line.of };
            found.get_mut(query).ok_or(Failure::NotThis("an answer to what was asked"))?.push(line.points);
        }
    }
    if found.iter().any(|it| MOST_SERIES < it.len()) {
        return Err(Failure::TooManySeries(MOST_SERIES));
    }
    about(stretch, found.iter().flatten().flatten())?;
    Ok(found)
}

/// Refuses numbers that are all of another time than was asked about.
fn about<'a>(stretch: Stretch, points: impl Iterator<Item = &'a Point>) -> Result<(), Failure> {
    let away = |at: i64| (stretch.from - at).max(at + stretch.bucket - stretch.until).max(0);
    match points.filter(|it| it.1.is_some()).map(|it| away(it.0)).min() {
        Some(away @ 1..) => Err(Failure::Stale(Duration::from_millis(away.unsigned_abs()))),
        Some(_) | None => Ok(()),
    }
}

/// The sum of several series, bucket by bucket. Where none of them has a number, there is none.
fn added(lines: &[Vec<Point>]) -> Result<Vec<Point>, Failure> {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    for line in lines {
        let mut own = BTreeSet::new();
        for (at, value) in line.iter().filter_map(|(at, value)| Some((*at, (*value)?))) {
            if !own.insert(at) {
                return Err(Failure::Contradictory("two numbers of one bucket"));
            }
            *sums.entry(at).or_default() += value;
        }
    }
    Ok(sums.into_iter().map(|(at, sum)| (at, Some(sum))).collect())
}
