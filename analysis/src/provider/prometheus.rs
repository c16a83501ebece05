//! Prometheus, and what speaks like one: VictoriaMetrics, Thanos, Mimir, Cortex.
//!
//! Counters are read as raw samples, series by series, with a selector and no function: `rate` and `increase`
//! extrapolate, `sum` hides resets, and a replica that leaves would take its whole count with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_http_query::Client;
use serde::{Deserialize, Serialize};

use super::{Buckets, Failure, Memory, Native, Question, Reading, Source, Span, arms::{MOST_EXACT, Pending}};
use crate::{
    counter::{self, Grown, Ledger, Series},
};

mod answer;

use self::answer::{Data, Instant, Point};

/// How old a value may be, and how far back a counter is looked for.
const FRESH_MS: i64 = 300_000;

/// How far ahead of us a source's clock may be.
const AHEAD_MS: i64 = 60_000;

/// A longer time is read in pieces.
const PIECE_MS: i64 = 300_000;

/// No piece is shorter.
const SHORTEST_PIECE_MS: i64 = 30_000;

/// A longer question is sent as a form.
const LONGEST_IN_URL: usize = 1500;

/// What a Prometheus is asked about one arm.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Prometheus {
    /// Two counters, each a selector without aggregation.
    Counts {
        /// Bad events.
        bad: String,
        /// All events.
        total: String,
    },
    /// The buckets of a histogram, classic (`…_bucket`) or native, a selector without aggregation.
    Histogram(String),
    /// A gauge of each replica, a selector without aggregation.
    Value(String),
    /// Any query that yields one number.
    Query(String),
}

impl Question for Prometheus {
    async fn ask(
        &self,
        source: Option<&Source>,
        span: Span,
        memory: &mut Memory,
    ) -> Result<Reading, Failure> {
        let asked = Asked::new(source.ok_or(Failure::Question("it names no source"))?)?;
        self.check()?;
        match self {
            Self::Counts { bad, total } => asked.counts(bad, total, span, memory).await,
            Self::Histogram(selector) => asked.histogram(selector, span, memory).await,
            Self::Value(selector) => asked.values(selector, span.to).await,
            Self::Query(query) => asked.number(query, span.to).await.map(|it| Reading::Values(vec![it])),
        }
    }
}

impl Prometheus {
    /// Refuses functions where a selector is needed: some servers would take them, and count wrongly.
    fn check(&self) -> Result<(), Failure> {
        let selectors = match self {
            Self::Counts { bad, total } => vec![bad, total],
            Self::Histogram(it) | Self::Value(it) => vec![it],
            Self::Query(_) => vec![],
        };
        match selectors.into_iter().all(|it| is_selector(it)) {
            true => Ok(()),
            false => Err(Failure::Question("it must be a selector, without functions, ranges and operators")),
        }
    }
}

/// Whether a text is a selector of series and nothing else: a name, matchers in braces, or both.
#[must_use]
pub fn is_selector(text: &str) -> bool {
    let text = text.trim();
    let (name, matchers) = text.split_at(text.find('{').unwrap_or(text.len()));
    let name = name.trim_end();
    let letter = |it: char| it.is_ascii_alphabetic() || it == '_' || it == ':';
    let plain = name.starts_with(letter) && name.chars().all(|it| letter(it) || it.is_ascii_digit());
    match (name.is_empty(), matchers.is_empty()) {
        (true, true) => false,
        (false, true) => plain,
        (_, false) => (name.is_empty() || plain) && closes_at_its_end(matchers),
    }
}

/// Whether the brace at the beginning is closed by the last character and not before, quoted texts apart.
fn closes_at_its_end(matchers: &str) -> bool {
    let (mut quote, mut escaped) = (None, false);
    for (at, it) in matchers.char_indices() {
        match (quote, it) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), it) if open == it => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(it),
            (None, '{') if at != 0 => return false,
            (None, '}') => return at + 1 == matchers.len(),
            (None, _) => {}
        }
    }
    false
}

/// A source with the client that speaks its language.
struct Asked<'a> {
    source: &'a Source,
    client: Client,
}

/// Classic and native histograms that a selector found.
type Both = (Vec<Series<f64>>, Vec<Series<Native>>);

impl<'a> Asked<'a> {
    fn new(source: &'a Source) -> Result<Self, Failure> {
        let client = Client::from(source.client().clone(), source.url().as_str())
            .map_err(|_| Failure::NotThis("the address of a Prometheus"))?;
        Ok(Self { source, client })
    }

    /// Asks one query at one moment.
    async fn instant(&self, query: &str, at_ms: i64) -> Result<Data, Failure> {
        let time = format!("{}.{:03}", at_ms.div_euclid(1000), at_ms.rem_euclid(1000));
        let send = || {
            let it = self.client.query(query).query("time", &time);
            async move { if query.len() <= LONGEST_IN_URL { it.get_raw().await } else { it.post_raw().await } }
        };
        answer::read(self.source.fetch(send).await?.json()?)
    }

    /// The raw samples of a selector in the time before `at_ms`.
    async fn samples(&self, selector: &str, at_ms: i64, length_ms: i64) -> Result<Both, Failure> {
        let query = format!("{selector}[{length_ms}ms]");
        let Data::Matrix(found) = self.instant(&query, at_ms).await? else {
            return Err(Failure::NotOneNumber("an answer without samples over time"));
        };
        let (mut floats, mut native) = (vec![], vec![]);
        for it in found {
            if !it.values.is_empty() {
                let samples: Vec<_> = it.values.iter().map(|it| (it.millis(), it.1)).collect();
                if samples.iter().any(|(_, it)| !it.is_finite()) {
                    return Err(Failure::NotFinite);
                }
                if samples.iter().any(|(_, it)| *it < 0.0) {
                    return Err(Failure::Contradictory("a counter below zero"));
                }
                floats.push(Series { labels: it.metric.0.clone(), samples });
            }
            if !it.histograms.is_empty() {
                let samples = it.histograms.iter().map(answer::HistogramPoint::sample).collect();
                native.push(Series { labels: it.metric.0, samples });
            }
        }
        Ok((floats, native))
    }

    /// The labels, without the name of the metric, of every series of a selector that there was within the day before
    /// `at_ms`.
    async fn past(&self, selector: &str, at_ms: i64) -> Result<BTreeSet<BTreeMap<String, String>>, Failure> {
        let Data::Vector(found) = self.instant(&format!("last_over_time({selector}[1d])"), at_ms).await? else {
            return Err(Failure::NotOneNumber("an answer that is no vector"));
        };
        Ok(found.into_iter().map(|it| without_name(&it.metric.0)).collect())
    }

    async fn counts(&self, bad: &str, total: &str, span: Span, memory: &mut Memory) -> Result<Reading, Failure> {
        for piece in Pieces::of(span, memory.read_until) {
            // The bad ones first: an event that is scraped between the two questions is then never bad and not there.
            let (bad_ones, bad_native) = self.piece(bad, piece).await?;
            let (all, native) = self.piece(total, piece).await?;
            if !bad_native.is_empty() || !native.is_empty() {
                return Err(Failure::NotOneNumber("a native histogram"));
            }
            if all.is_empty() && piece.last {
                return Err(Failure::NoData);
            }
            // Nothing is remembered of a reading that is not whole.
            let (mut bads, mut totals) = (memory.bad.clone(), memory.total.clone());
            self.recognise(&mut bads, bad, &bad_ones, piece).await?;
            self.recognise(&mut totals, total, &all, piece).await?;
            let grown_bad = bads.take(&bad_ones, piece.began).map_err(too_many)?;
            let grown = totals.take(&all, piece.began).map_err(too_many)?;
            fresh(grown.newest, piece)?;
            let sum = |it: &Grown<'_, f64>| it.by_series.iter().map(|it| it.1).sum::<f64>();
            let pending = &mut memory.pending;
            pending.any |= grown.any;
            pending.bad += sum(&grown_bad);
            pending.total += sum(&grown);
            (memory.bad, memory.total, memory.read_until) = (bads, totals, Some(piece.to));
        }
        memory.pending.counts()
    }

    async fn histogram(&self, selector: &str, span: Span, memory: &mut Memory) -> Result<Reading, Failure> {
        let mut of_native = false;
        for piece in Pieces::of(span, memory.read_until) {
            let (classic, native) = self.piece(selector, piece).await?;
            if classic.is_empty() && native.is_empty() && piece.last {
                return Err(Failure::NoData);
            }
            if !classic.is_empty() && !native.is_empty() {
                return Err(Failure::NotOneNumber("classic and native histograms together"));
            }
            of_native |= !native.is_empty();
            let (mut totals, mut natives) = (memory.total.clone(), memory.native.clone());
            self.recognise(&mut totals, selector, &classic, piece).await?;
            let grown = totals.take(&classic, piece.began).map_err(too_many)?;
            let grown_native = natives.take(&native, piece.began).map_err(too_many)?;
            fresh(grown.newest.max(grown_native.newest), piece)?;
            let pending = &mut memory.pending;
            pending.any |= grown.any || grown_native.any;
            for (labels, by) in grown.by_series {
                let Some(bound) = labels.get("le") else {
                    return Err(Failure::NotThis("a histogram: a series has no bound, `le`"));
                };
                let rest: Vec<_> = labels.iter().filter(|(name, _)| *name != "le").collect();
                let of = pending.buckets.entry(format!("{rest:?}")).or_default();
                *of.entry(bound.clone()).or_default() += by;
            }
            grown_native.by_series.iter().for_each(|(_, by)| pending.native.add(by));
            (memory.total, memory.native, memory.read_until) = (totals, natives, Some(piece.to));
        }
        let pending = &memory.pending;
        if !pending.any {
            Ok(Reading::NothingNew)
        } else if of_native {
            Ok(Reading::Native(pending.native.clone()))
        } else {
            let read = classic(&pending.buckets).map(Reading::Buckets);
            if read.is_err() {
                memory.pending = Pending::default();
            }
            read
        }
    }

    /// A piece of time; in shorter ones where the answer is too large.
    async fn piece(&self, selector: &str, piece: Piece) -> Result<Both, Failure> {
        let mut length = piece.to - piece.from + FRESH_MS;
        loop {
            match self.samples(selector, piece.to, length).await {
                Err(Failure::TooLarge { .. }) if SHORTEST_PIECE_MS + (piece.to - piece.from) < length => {
                    length = (piece.to - piece.from) + ((length - (piece.to - piece.from)) / 2).max(SHORTEST_PIECE_MS);
                }
                other => return other,
            }
        }
    }

    /// Asks about the longer past of series that seem to be new. Those that are not count from their next sample.
    async fn recognise(
        &self,
        ledger: &mut Ledger<f64>,
        selector: &str,
        found: &[Series<f64>],
        piece: Piece,
    ) -> Result<(), Failure> {
        let strangers: Vec<&Series<f64>> = ledger.strangers(found, piece.began).collect();
        let Some(first) = strangers.iter().filter_map(|it| it.samples.first()).map(|it| it.0).min() else {
            return Ok(());
        };
        let past = self.past(selector, first - 1).await?;
        let known = strangers.into_iter().filter(|it| past.contains(&without_name(&it.labels)));
        let known: Vec<_> = known.map(|it| it.labels.clone()).collect();
        known.iter().for_each(|labels| ledger.recall(labels, piece.began - 1, 0.0));
        Ok(())
    }

    /// The value of every replica now.
    async fn values(&self, selector: &str, to: Timestamp) -> Result<Reading, Failure> {
        let Data::Vector(found) = self.instant(selector, to.as_millisecond()).await? else {
            return Err(Failure::NotOneNumber("an answer that is no vector"));
        };
        let mut series = vec![];
        for it in found {
            let Some(point) = it.value else { return Err(Failure::NotOneNumber("a native histogram")) };
            series.push(Series { labels: it.metric.0, samples: vec![(point.millis(), finite(point, to)?)] });
        }
        if series.is_empty() {
            return Err(Failure::NoData);
        }
        // A gauge that two jobs scrape counts once.
        let groups = counter::groups(&series);
        Ok(Reading::Values(groups.iter().map(|it| series[it[0]].samples[0].1).collect()))
    }

    async fn number(&self, query: &str, to: Timestamp) -> Result<f64, Failure> {
        match self.instant(query, to.as_millisecond()).await? {
            Data::Scalar(point) => finite(point, to),
            Data::Vector(found) => match found.as_slice() {
                [] => Err(Failure::NoData),
                [Instant { value: Some(point), .. }] => finite(*point, to),
                [_] => Err(Failure::NotOneNumber("a native histogram")),
                [_, _, ..] => Err(Failure::NotOneNumber("several series")),
            },
            Data::Matrix(_) => Err(Failure::NotOneNumber("samples over time")),
            Data::String(_) => Err(Failure::NotOneNumber("a text")),
        }
    }
}

fn without_name(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.remove("__name__");
    labels
}

/// One finite number of now.
fn finite(point: Point, to: Timestamp) -> Result<f64, Failure> {
    let ahead = point.millis() - to.as_millisecond();
    if !(-FRESH_MS..=AHEAD_MS).contains(&ahead) {
        return Err(Failure::Stale(Duration::from_millis(ahead.unsigned_abs())));
    }
    if point.1.is_finite() { Ok(point.1) } else { Err(Failure::NotFinite) }
}

fn fresh(newest: Option<i64>, piece: Piece) -> Result<(), Failure> {
    let Some(ahead) = newest.map(|it| it - piece.to).filter(|_| piece.last) else { return Ok(()) };
    if !(-FRESH_MS..=AHEAD_MS).contains(&ahead) {
        return Err(Failure::Stale(Duration::from_millis(ahead.unsigned_abs())));
    }
    Ok(())
}

fn too_many(_: counter::TooMany) -> Failure {
    Failure::TooManySeries(counter::MOST_SERIES)
}

/// Adds up classic histograms at the bounds that all of them have.
fn classic(histograms: &BTreeMap<String, BTreeMap<String, f64>>) -> Result<Buckets, Failure> {
    let mut sum: Option<Vec<(f64, f64)>> = None;
    for buckets in histograms.values() {
        let mut own = vec![];
        for (bound, count) in buckets {
            let bound: f64 = bound.parse().map_err(|_| Failure::NotThis("a histogram: a bound is no number"))?;
            own.push((bound, *count));
        }
        own.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = |bound: f64| own.iter().find(|it| it.0 == bound).map(|it| it.1);
        sum = Some(match sum {
            None => own,
            Some(sum) => {
                sum.iter().filter_map(|(bound, so_far)| count(*bound).map(|it| (*bound, so_far + it))).collect()
            }
        });
    }
    let mut up_to = sum.unwrap_or_default();
    match up_to.pop() {
        Some((_, all)) if MOST_EXACT < all => Err(Failure::Contradictory("a count too large to be exact")),
        Some((bound, all)) if bound == f64::INFINITY => Ok(Buckets { up_to, all }),
        _ => Err(Failure::NotThis("a histogram: it has no bucket `+Inf`")),
    }
}

/// A piece of the time to be read, in milliseconds.
#[derive(Clone, Copy)]
struct Piece {
    began: i64,
    from: i64,
    to: i64,
    last: bool,
}

struct Pieces {
    next: Piece,
    end: i64,
    over: bool,
}

impl Pieces {
    /// Everything from where reading ended last, at first from `began` on.
    fn of(span: Span, read_until: Option<i64>) -> Self {
        let (began, end) = (span.began.as_millisecond(), span.to.as_millisecond());
        let from = read_until.unwrap_or(began).min(end);
        let to = (from + PIECE_MS).min(end);
        Self { next: Piece { began, from, to, last: to == end }, end, over: false }
    }
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        let piece = self.next;
        self.over = piece.last;
        let to = (piece.to + PIECE_MS).min(self.end);
        self.next = Piece { began: piece.began, from: piece.to, to, last: to == self.end };
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_told_from_other_queries() {
        for it in [
            "up",
            "job:rate:sum",
            "{job=\"a\"}",
            " http_requests_total { code=~\"5..\", path='/a{b}' } ",
            "up{x=\"\\\"}\"}",
            "up{x=`}`}",
        ] {
            assert!(is_selector(it), "{it}");
        }
        for it in [
            "",
            "sum(up)",
            "up[5m]",
            "up{a=\"b\"}[5m]",
            "up{a=\"b\"} or up",
            "up + 1",
            "up offset 5m",
            "up @ 5",
            "up{a=\"b\"",
            "1",
            "rate(up{a=\"b\"}[1m])",
            "up{} up{}",
        ] {
            assert!(!is_selector(it), "{it}");
        }
    }
}
