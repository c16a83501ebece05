//! History for a server, by remote write: protobuf and snappy, both by hand, for there is little of them.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// What is written of one series.
pub(crate) struct Written {
    pub(crate) labels: Vec<(String, String)>,
    /// Milliseconds and value.
    pub(crate) samples: Vec<(i64, f64)>,
    /// Milliseconds and counts of the buckets from `(0.5, 1]` on, each twice as wide as the one before.
    pub(crate) histograms: Vec<(i64, Vec<u64>)>,
}

/// A series with plain samples.
pub(crate) fn series(labels: &[(&str, &str)], samples: Vec<(i64, f64)>) -> Written {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Written { labels, samples, histograms: vec![] }
}

/// Sends all of it; the server must take it.
pub(crate) fn send(server: SocketAddr, all: &[Written]) {
    for some in all.chunks(200) {
        let body = snappy(&some.iter().flat_map(|it| field(1, &time_series(it))).collect::<Vec<u8>>());
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nhost: {server}\r\ncontent-encoding: snappy\r\ncontent-type: application/x-protobuf\r\n\
             x-prometheus-remote-write-version: 0.1.0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(server).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    }
}

fn time_series(it: &Written) -> Vec<u8> {
    let mut labels = it.labels.clone();
    labels.sort();
    let mut bytes = vec![];
    for (name, value) in labels {
        bytes.extend(field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    for (at, value) in &it.samples {
        bytes.extend(field(2, &[double(1, *value), number(2, *at as u64)].concat()));
    }
    for (at, counts) in &it.histograms {
        bytes.extend(field(4, &histogram(*at, counts)));
    }
    bytes
}

fn histogram(at: i64, counts: &[u64]) -> Vec<u8> {
    let mut before = 0;
    let mut deltas = vec![];
    for count in counts {
        deltas.extend(varint(zigzag(*count as i64 - before)));
        before = *count as i64;
    }
    // Schema 0: bucket `i` ends at the i-th power of two; the first one here ends at 1.
    let span = [number(1, zigzag(0)), number(2, counts.len() as u64)].concat();
    [
        number(1, counts.iter().sum()),
        double(3, 1.0),
        number(4, zigzag(0)),
        double(5, 1e-9),
        number(6, 0),
        field(11, &span),
        field(12, &deltas),
        number(15, at as u64),
    ]
    .concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = vec![];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(tag << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn double(tag: u64, value: f64) -> Vec<u8> {
    [varint(tag << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

/// A snappy block without any compression: its length, then literals.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut packed = varint(bytes.len() as u64);
    for piece in bytes.chunks(65536) {
        packed.push(61 << 2);
        packed.extend(((piece.len() - 1) as u16).to_le_bytes());
        packed.extend(piece);
    }
    packed
}
