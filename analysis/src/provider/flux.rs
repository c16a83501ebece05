//! InfluxDB, in Flux: version 2 and its cloud.
//!
//! Source: InfluxDB v2 documentation, "InfluxDB v2 API reference" (`POST /api/v2/query`) and "Annotated CSV". A query says
//! when and by which buckets with `v.timeRangeStart`, `v.timeRangeStop` and `v.windowPeriod`, as it does in the user
//! interface of InfluxDB; they are set here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Failure,
    service::{Line, Request, Service, Timed},
    slots::Stretch,
    source::Body,
};

/// What an InfluxDB is asked about one arm: scripts that yield one table with `_time` and `_value`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Flux {
    /// The organization.
    pub org: String,
    /// What is asked.
    pub timed: Timed,
}

/// What a script must name so that it is about the buckets that are asked for.
pub const NEEDED: [&str; 3] = ["v.timeRangeStart", "v.timeRangeStop", "v.windowPeriod"];

impl Service for Flux {
    fn timed(&self) -> &Timed {
        &self.timed
    }

    fn requests(&self, queries: &[&str], stretch: Stretch) -> Result<Vec<Request>, Failure> {
        let time = |millis| {
            let at = Timestamp::from_millisecond(millis);
            at.map(|it| it.to_string()).map_err(|_| Failure::Question("its time is none"))
        };
        let option = format!(
            "option v = {{timeRangeStart: {}, timeRangeStop: {}, windowPeriod: {}s}}",
            time(stretch.from)?,
            time(stretch.until)?,
            stretch.seconds()
        );
        let one = |query: &&str| {
            if NEEDED.iter().any(|it| !query.contains(it)) {
                return Err(Failure::Question("it does not use `v.timeRangeStart`, `v.timeRangeStop` and `v.windowPeriod`"));
            }
            let dialect = json!({"annotations": ["datatype", "default"], "delimiter": ",", "header": true});
            let body = json!({"query": format!("{option}\n{query}"), "type": "flux", "dialect": dialect});
            Ok(Request::json("api/v2/query", &body).header("accept", "application/csv").with("org", &self.org))
        };
        queries.iter().map(one).collect()
    }

    fn read(&self, answer: &Body, stretch: Stretch) -> Result<Vec<Line>, Failure> {
        let mut lines: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        let text = answer.text("text/csv")?;
        if text.is_empty() {
            // An answer without tables still ends with a line feed.
            return Err(Failure::NotThis("CSV"));
        }
        for table in tables(text)? {
            let Some(columns) = table.columns()? else { continue };
            for row in &table.rows {
                let (at, id, value) = columns.of(row)?;
                if at == stretch.until {
                    return Err(Failure::Question("its buckets are named by their end: write `timeSrc: \"_start\"`"));
                }
                lines.entry(id).or_default().push((at, value));
            }
        }
        lines.values().map(|points| Line::of(0, points.iter().map(|(at, value)| (*at, value)))).collect()
    }
}

/// When a bucket begins, in milliseconds, and its number.
type Row = (i64, Option<Value>);

/// Rows of equal columns.
struct Table {
    types: Vec<String>,
    defaults: Vec<String>,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Where in a row is what.
struct Columns<'a> {
    table: &'a Table,
    result: Option<usize>,
    id: usize,
    time: usize,
    value: usize,
}

impl Table {
    /// `None`: it is empty.
    fn columns(&self) -> Result<Option<Columns<'_>>, Failure> {
        let has = |name: &str| self.header.iter().any(|it| it == name);
        if has("error") && !has("_value") {
            return Err(Failure::Reported("`error`"));
        }
        if self.rows.is_empty() {
            return Ok(None);
        }
        let twice = |(at, name): (usize, &String)| !name.is_empty() && self.header.iter().take(at).any(|it| it == name);
        if self.header.iter().enumerate().any(twice) {
            return Err(Failure::NotThis("CSV: a column comes twice"));
        }
        let at = |name: &str| self.header.iter().position(|it| it == name);
        let (Some(id), Some(time), Some(value)) = (at("table"), at("_time"), at("_value")) else {
            return Err(Failure::NotThis("numbers by time: a table has no `_time` or no `_value`"));
        };
        match self.types.get(value).map(String::as_str) {
            Some("double" | "long" | "unsignedLong") => {
                Ok(Some(Columns { table: self, result: at("result"), id, time, value }))
            },
            Some("string") => Err(Failure::NotOneNumber("a text")),
            Some("boolean") => Err(Failure::NotOneNumber("a yes or no")),
            _ => Err(Failure::NotOneNumber("something else")),
        }
    }
}

impl Columns<'_> {
    /// The time of a row, its table, and its number.
    fn of(&self, row: &[String]) -> Result<(i64, String, Option<Value>), Failure> {
        if row.len() != self.table.header.len() {
            return Err(Failure::NotThis("CSV"));
        }
        let cell = |index: usize| match row.get(index).map(String::as_str) {
            Some("") | None => self.table.defaults.get(index).cloned().unwrap_or_default(),
            Some(it) => it.to_owned(),
        };
        let at: Timestamp = cell(self.time).parse().map_err(|_| Failure::NotThis("numbers by time"))?;
        let value = cell(self.value);
        let id = format!("{},{}", self.result.map(cell).unwrap_or_default(), cell(self.id));
        Ok((at.as_millisecond(), id, Some(value).filter(|it| !it.is_empty()).map(Value::String)))
    }
}

/// The tables of annotated CSV, each with its annotations; a blank line or new annotations begin another one.
fn tables(text: &str) -> Result<Vec<Table>, Failure> {
    let mut all: Vec<Table> = vec![];
    let mut fresh = true;
    for record in records(text)? {
        if record.iter().all(String::is_empty) {
            fresh = true;
            continue;
        }
        let annotation = record.first().filter(|it| it.starts_with('#')).cloned();
        let goes_on = all.last().is_some_and(|it| !fresh && (annotation.is_none() || it.header.is_empty()));
        if !goes_on {
            all.push(Table { types: vec![], defaults: vec![], header: vec![], rows: vec![] });
            fresh = false;
        }
        let Some(table) = all.last_mut() else { continue };
        match annotation.as_deref() {
            Some("#datatype") => table.types = record,
            Some("#default") => table.defaults = record,
            Some(_) => {}
            None if table.header.is_empty() => table.header = record,
            None => table.rows.push(record),
        }
    }
    Ok(all)
}

/// The records of CSV (RFC 4180); a blank line is a record of one empty cell.
fn records(text: &str) -> Result<Vec<Vec<String>>, Failure> {
    let (mut all, mut record, mut cell) = (vec![], vec![], String::new());
    let mut characters = text.chars().peekable();
    let mut quoted = false;
    while let Some(it) = characters.next() {
        match it {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            it if quoted => cell.push(it),
            ',' => record.push(std::mem::take(&mut cell)),
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' => {
                record.push(std::mem::take(&mut cell));
                all.push(std::mem::take(&mut record));
            }
            it => cell.push(it),
        }
    }
    // A last line without its end is one that was cut off.
    if quoted || !record.is_empty() || !cell.is_empty() { Err(Failure::NotThis("CSV")) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_cells_hold_commas_quotes_and_line_feeds() {
        let found = records("a,\"b,\"\"c\"\"\nd\",\r\n\r\n").unwrap();
        assert_eq!(found, [vec!["a", "b,\"c\"\nd", ""], vec![""]]);
        assert!(records("a,b").is_err());
        assert!(records("a,\"b\n").is_err());
    }

    #[test]
    fn a_blank_line_or_annotations_begin_a_table() {
        let text = "#datatype,string,long\n#default,_result,\n,result,table\n,,0\n,,0\n\n,error,reference\n,broken,\n";
        let found = tables(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].rows.len(), found[0].defaults[1].as_str()), (2, "_result"));
        assert_eq!(found[1].header[1], "error");
    }
}
