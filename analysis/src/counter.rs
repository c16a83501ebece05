//! Counters of many series, read again and again, become counts of intervals: each increment once, whatever restarts,
//! leaves, is scraped twice or comes late.
//!
//! - An increment belongs to the reading that first sees it. A sample that comes late is in the next one.
//! - A counter that falls began anew at zero. One that ends takes nothing with it.
//! - A series that existed before counting began counts from its first sample after that; one that is born later
//!   counts from zero, for the first error of a process is born together with its series.
//! - One counter scraped by two jobs counts once. It is recognised by its address and its other labels, and where no
//!   label of the job tells the two apart, by times of scrape that have nothing in common.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most series of one metric and one arm.
pub const MOST_SERIES: usize = 10_000;

/// A series without a sample for so long may be forgotten.
const FORGOTTEN_AFTER_MS: i64 = 3_600_000;

/// Of two scrapes of one counter the second one steps in when the first has been silent for so long.
const SILENT_AFTER_MS: i64 = 120_000;

/// Labels that say who scraped, not what.
const OF_THE_JOB: [&str; 4] = ["job", "prometheus", "prometheus_replica", "receive_replica"];

/// Labels that a scrape adds, or an application does.
const OF_EITHER: [&str; 3] = ["service", "endpoint", "container"];

/// How a counter went on.
#[derive(Clone, Debug, PartialEq)]
pub enum Growth<V> {
    /// It grew by so much, or by nothing.
    Grew(V),
    /// It fell: it began anew at zero.
    BeganAnew,
    /// The two values cannot be compared.
    Unclear,
}

/// What a counter counts: a number, or many at once.
pub trait Count: Clone + PartialEq {
    /// How it went on since it stood at `before`.
    fn since(&self, before: &Self) -> Growth<Self>;

    /// Whether it stands at zero.
    fn is_zero(&self) -> bool;
}

impl Count for f64 {
    fn since(&self, before: &Self) -> Growth<Self> {
        if before <= self { Growth::Grew(self - before) } else { Growth::BeganAnew }
    }

    fn is_zero(&self) -> bool {
        *self == 0.0
    }
}

/// Samples of one series in order of time, milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<V> {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its samples.
    pub samples: Vec<(i64, V)>,
}

/// What is remembered of one counter between two readings.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger<V> {
    series: BTreeMap<String, Entry<V>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<V> {
    /// Time and value of the last sample that was seen.
    at: i64,
    value: V,
    /// The series that is counted instead, for both are the same counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counted_by: Option<String>,
}

/// What a reading brought.
#[derive(Clone, Debug, PartialEq)]
pub struct Grown<'a, V> {
    /// What came on top, by series; empty where nothing was new.
    pub by_series: Vec<(&'a BTreeMap<String, String>, V)>,
    /// The time of the newest sample of all, new or not.
    pub newest: Option<i64>,
    /// Whether any sample is new and counts.
    pub any: bool,
}

impl<V: Count> Ledger<V> {
    /// Those of `series` that are not known here, stand above zero, and were not there at `began`: whether they are
    /// really new must be asked of a longer past, and told by [`Ledger::recall`].
    pub fn strangers<'a>(&self, series: &'a [Series<V>], began: i64) -> impl Iterator<Item = &'a Series<V>> {
        series.iter().filter(move |it| {
            it.samples.first().is_some_and(|(at, value)| began < *at && !value.is_zero())
                && !self.series.contains_key(&key(&it.labels))
        })
    }

    /// Takes note of a series that stood at `value` at the time `at`.
    pub fn recall(&mut self, labels: &BTreeMap<String, String>, at: i64, value: V) {
        self.series.entry(key(labels)).or_insert(Entry { at, value, counted_by: None });
    }

    /// Takes a reading, and says what came on top since the last one and since `began`.
    ///
    /// # Errors
    /// When there are more series than [`MOST_SERIES`].
    pub fn take<'a>(&mut self, series: &'a [Series<V>], began: i64) -> Result<Grown<'a, V>, TooMany> {
        if MOST_SERIES < series.len() {
            return Err(TooMany);
        }
        let keys: Vec<String> = series.iter().map(|it| key(&it.labels)).collect();
        let mut grown = Grown { by_series: vec![], newest: None, any: false };
        for group in groups(series) {
            let counted = self.counted_one(&group, series, &keys);
            for index in group {
                let (it, key) = (&series[index], &keys[index]);
                let newest = it.samples.last().map(|(at, _)| *at);
                grown.newest = grown.newest.max(newest);
                let sum = self.follow(it, key, began);
                match counted {
                    Some(counted) if index != counted => {
                        if let Some(entry) = self.series.get_mut(key) {
                            entry.counted_by = Some(keys[counted].clone());
                        }
                    }
                    Some(_) => {
                        grown.any |= !sum.is_empty();
                        grown.by_series.extend(sum.into_iter().map(|by| (&it.labels, by)));
                    }
                    None => {}
                }
            }
        }
        if let Some(newest) = grown.newest {
            self.series.retain(|_, it| newest - it.at < FORGOTTEN_AFTER_MS);
        }
        Ok(grown)
    }

    /// Which of several scrapes of one counter counts; `None`: another one does that was recognised earlier. Where
    /// that changes, the new one goes on from the old one's value: it is the same counter.
    fn counted_one(&mut self, group: &[usize], series: &[Series<V>], keys: &[String]) -> Option<usize> {
        let last = |index: &usize| series[*index].samples.last().map_or(i64::MIN, |(at, _)| *at);
        let newest = group.iter().map(last).max().unwrap_or(i64::MIN);
        let silent = |index: &usize| last(index).saturating_add(SILENT_AFTER_MS) < newest;
        let counted_by = |index: &usize| self.series.get(&keys[*index])?.counted_by.clone();
        let other = counted_by(&group[0]).and_then(|it| keys.iter().position(|key| *key == it));
        if other.is_some_and(|it| !group.contains(&it) && !silent(&it)) {
            return None;
        }
        let stands_back = |index: &usize| counted_by(index).is_some();
        let speaking = || group.iter().copied().filter(|it| !silent(it));
        let known = speaking().find(|it| self.series.contains_key(&keys[*it]) && !stands_back(it));
        let chosen = known.or_else(|| speaking().next()).unwrap_or(group[0]);
        let before = self.series.get(&keys[chosen]).and_then(|it| it.counted_by.clone());
        if let Some(before) = before.and_then(|it| self.series.get(&it).cloned()) {
            self.series.insert(keys[chosen].clone(), Entry { counted_by: None, ..before });
        }
        Some(chosen)
    }

    /// Moves one series forward, and says what each new sample that counts adds.
    fn follow(&mut self, series: &Series<V>, key: &str, began: i64) -> Vec<V> {
        let mut added = vec![];
        let mut last = self.series.get(key).map(|it| (it.at, it.value.clone()));
        for (at, value) in &series.samples {
            match &last {
                Some((before, _)) if at <= before => continue,
                // The first sample from `began` on is the base.
                Some((before, _)) if *before < began => {}
                Some((_, before)) => match value.since(before) {
                    Growth::Grew(by) => added.push(by),
                    Growth::BeganAnew => added.push(value.clone()),
                    Growth::Unclear => {}
                },
                None if began < *at => added.push(value.clone()),
                None => {}
            }
            last = Some((*at, value.clone()));
        }
        if let Some((at, value)) = last {
            let counted_by = self.series.get(key).and_then(|it| it.counted_by.clone());
            self.series.insert(key.to_owned(), Entry { at, value, counted_by });
        }
        added
    }
}

/// More series than one metric may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooMany;

/// The name of a series in a ledger: a digest of its labels.
fn key(labels: &BTreeMap<String, String>) -> String {
    let mut hash = Sha256::new();
    for (name, value) in labels {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((value.len() as u64).to_be_bytes());
        hash.update(value);
    }
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Series by counter: those of one group are scrapes of the same one, in a fixed order.
pub(crate) fn groups<V>(series: &[Series<V>]) -> Vec<Vec<usize>> {
    let mut alike: BTreeMap<Vec<(&str, &str)>, Vec<usize>> = BTreeMap::new();
    let mut groups = vec![];
    for (index, it) in series.iter().enumerate() {
        if !it.labels.contains_key("instance") {
            groups.push(vec![index]);
            continue;
        }
        let rest = it.labels.iter().filter(|(name, _)| !is_of_a_scrape(name));
        let rest = rest.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        alike.entry(rest).or_default().push(index);
    }
    for members in alike.into_values() {
        let mut found: Vec<Vec<usize>> = vec![];
        for index in members {
            let same = |group: &&mut Vec<usize>| {
                group.iter().all(|it| is_same_counter(&series[*it], &series[index]))
            };
            match found.iter_mut().find(same) {
                Some(group) => group.push(index),
                None => found.push(vec![index]),
            }
        }
        groups.extend(found);
    }
    for group in &mut groups {
        group.sort_by(|a, b| series[*a].labels.cmp(&series[*b].labels));
    }
    groups
}

fn is_of_a_scrape(name: &str) -> bool {
    OF_THE_JOB.contains(&name) || OF_EITHER.contains(&name)
}

/// Whether two series that differ in labels of a scrape only come from two scrapes.
fn is_same_counter<V>(a: &Series<V>, b: &Series<V>) -> bool {
    if OF_THE_JOB.iter().any(|it| a.labels.get(*it) != b.labels.get(*it)) {
        return true;
    }
    if a.samples.len() < 2 || b.samples.len() < 2 {
        return false;
    }
    let times = |it: &Series<V>| it.samples.iter().map(|(at, _)| *at).collect::<BTreeSet<_>>();
    let span = |it: &Series<V>| (it.samples[0].0, it.samples[it.samples.len() - 1].0);
    let overlap = span(a).0 < span(b).1 && span(b).0 < span(a).1;
    overlap && times(a).is_disjoint(&times(b))
}

#[cfg(test)]
mod tests;
