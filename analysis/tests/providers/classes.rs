//! What a source can reply, class by class, and what each kind of question must make of it: the table is the test.

use analysis::Missing;

use crate::server::Reply;

/// What a reply must be taken for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Taken {
    /// One finite, fresh number: the only thing that a threshold may pass.
    Number(f64),
    /// So many numbers: what a comparison of replicas can use, and a threshold can't.
    Values(usize),
    /// Events, and how many of them were bad.
    Counts(u64, u64),
    /// A histogram of so many requests.
    Histogram(u64),
    /// Nothing that can be judged.
    Not(Missing),
}

use Missing::{Error, NoData, NotFinite, NotOneNumber, Partial, Stale};
use Taken::{Counts, Histogram, Not, Number, Values};

/// What is in a reply that arrives whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Content {
    Scalar,
    Text,
    One,
    Nothing,
    Two,
    Many,
    OverTime,
    NativeHistogram,
    /// One number, written so.
    Value(&'static str),
    /// Something else where a number belongs, written so.
    Literal(&'static str),
    /// One number, so many seconds away from now.
    Away(i64),
    ErrorInside,
    Warnings,
    PartialAnswer,
    Twice,
    WrongTypes,
}

/// How a reply arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Class {
    /// Whole, with this content.
    Whole(Content),
    /// A whole answer, spoiled.
    Truncated,
    OneByteTooLong,
    Flood,
    Bomb,
    Deep,
    NotUtf8,
    Html,
    Empty,
    WrongKind,
    Unfinished,
    Refused,
    Silence,
    Slow,
    Reset,
    BadTls,
    Redirect,
    Status(u16),
}

/// One row: the class, what it is taken for, by kind of question.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// `query`: one number.
    pub(crate) query: Taken,
    /// `value`: a number of each replica.
    pub(crate) value: Taken,
    /// `bad` and `total`.
    pub(crate) counts: Taken,
    /// `histogram`.
    pub(crate) histogram: Taken,
}

const fn row(name: &'static str, class: Class, [query, value, counts, histogram]: [Taken; 4]) -> Row {
    Row { name, class, query, value, counts, histogram }
}

const fn whole(content: Content) -> Class {
    Class::Whole(content)
}

const fn all(missing: Missing) -> [Taken; 4] {
    [Not(missing); 4]
}

/// The 46 classes.
pub(crate) static TABLE: [Row; 46] = [
    // Status 200, and an answer of a source. Two numbers, of a counter in two scrapes: only the last one is at issue.
    row(
        "scalar",
        whole(Content::Scalar),
        [Number(5.0), Not(NotOneNumber), Not(NotOneNumber), Not(NotOneNumber)],
    ),
    row("string", whole(Content::Text), all(NotOneNumber)),
    row("vector of one", whole(Content::One), [Number(5.0), Number(5.0), Counts(5, 5), Histogram(5)]),
    row("vector of none", whole(Content::Nothing), all(NoData)),
    row("vector of two", whole(Content::Two), [Not(NotOneNumber), Values(2), Counts(10, 10), Histogram(10)]),
    row(
        "vector of ten thousand",
        whole(Content::Many),
        [Not(NotOneNumber), Values(10_000), Not(Error), Not(Error)],
    ),
    row(
        "matrix",
        whole(Content::OverTime),
        [Not(NotOneNumber), Not(NotOneNumber), Counts(5, 5), Histogram(5)],
    ),
    row(
        "native histogram",
        whole(Content::NativeHistogram),
        [Not(NotOneNumber), Not(NotOneNumber), Not(NotOneNumber), Histogram(5)],
    ),
    row("NaN", whole(Content::Value("NaN")), all(NotFinite)),
    row("+Inf", whole(Content::Value("+Inf")), all(NotFinite)),
    row("-Inf", whole(Content::Value("-Inf")), all(NotFinite)),
    row("-0", whole(Content::Value("-0")), [Number(0.0), Number(0.0), Counts(0, 0), Histogram(0)]),
    row("1e308", whole(Content::Value("1e308")), [Number(1e308), Number(1e308), Not(Error), Not(Error)]),
    row(
        "denormal",
        whole(Content::Value("5e-324")),
        [Number(5e-324), Number(5e-324), Counts(0, 0), Histogram(0)],
    ),
    row("1e400", whole(Content::Value("1e400")), all(NotFinite)),
    row("integer", whole(Content::Value("7")), [Number(7.0), Number(7.0), Counts(7, 7), Histogram(7)]),
    row("null", whole(Content::Literal("null")), all(Error)),
    row("empty string", whole(Content::Value("")), all(Error)),
    row("future timestamp", whole(Content::Away(3600)), all(Stale)),
    row("older than five minutes", whole(Content::Away(-301)), all(Stale)),
    row("staleness marker", whole(Content::Value("nan")), all(NotFinite)),
    row("status error with 200", whole(Content::ErrorInside), all(Error)),
    row("warnings", whole(Content::Warnings), all(Partial)),
    row("partial answer", whole(Content::PartialAnswer), all(Partial)),
    row("keys that come twice", whole(Content::Twice), all(Error)),
    row("wrong types", whole(Content::WrongTypes), all(Error)),
    // Status 200, and something else.
    row("truncated JSON", Class::Truncated, all(Error)),
    row("1 MiB and one byte", Class::OneByteTooLong, all(Error)),
    row("1 GB", Class::Flood, all(Error)),
    row("gzip bomb", Class::Bomb, all(Error)),
    row("nested ten thousand deep", Class::Deep, all(Error)),
    row("not UTF-8", Class::NotUtf8, all(Error)),
    row("HTML", Class::Html, all(Error)),
    row("empty body", Class::Empty, all(Error)),
    row("wrong content type", Class::WrongKind, all(Error)),
    row("chunk that never ends", Class::Unfinished, all(Error)),
    // No answer, or a refusal.
    row("refused", Class::Refused, all(Error)),
    row("black hole", Class::Silence, all(Error)),
    row("one byte a second", Class::Slow, all(Error)),
    row("reset", Class::Reset, all(Error)),
    row("bad certificate", Class::BadTls, all(Error)),
    row("redirect to another host", Class::Redirect, all(Error)),
    row("401", Class::Status(401), all(Error)),
    row("429 with Retry-After", Class::Status(429), all(Error)),
    row("500", Class::Status(500), all(Error)),
    row("503", Class::Status(503), all(Error)),
];

impl Class {
    /// The reply, given the body by its content, and the type that good answers have.
    pub(crate) fn reply(self, body: &dyn Fn(Content) -> Vec<u8>, kind: &str, elsewhere: &str) -> Reply {
        let good = || body(Content::One);
        let whole = |body: Vec<u8>| whole_reply(kind, &body);
        match self {
            Self::Whole(content) => whole(body(content)),
            Self::Truncated => {
                let good = good();
                whole(good[..good.len() - 2].to_vec())
            }
            Self::OneByteTooLong => {
                let mut good = good();
                good.resize(1024 * 1024 + 1, b' ');
                whole(good)
            }
            Self::Flood => Reply::Flood,
            Self::Bomb => raw("200 OK", &format!("content-type: {kind}\r\ncontent-encoding: gzip"), GZIPPED),
            Self::Deep => whole([vec![b'['; 10_000], vec![b']'; 10_000]].concat()),
            Self::NotUtf8 => {
                let mut bad = good();
                let at = bad.iter().position(|it| *it == b'{').unwrap() + 2;
                bad[at] = 0xff;
                whole(bad)
            }
            Self::Html => raw("200 OK", "content-type: text/html", b"<html>hunter2</html>"),
            Self::Empty => whole(vec![]),
            Self::WrongKind => raw("200 OK", "content-type: text/plain", &good()),
            Self::Unfinished => Reply::Unfinished,
            Self::Silence | Self::Refused => Reply::Silence,
            Self::Slow => Reply::Dripping(good()),
            Self::Reset => Reply::Reset,
            Self::BadTls => Reply::BadTls,
            Self::Redirect => raw("302 Found", &format!("location: {elsewhere}"), b"hunter2"),
            Self::Status(429) => raw("429 Too Many Requests", "retry-after: 0", b"hunter2"),
            Self::Status(code) => {
                raw(&format!("{code} hunter2"), "content-type: application/json", b"{\"error\":\"hunter2\"}")
            }
        }
    }

    /// Whether nothing that can be waited for ever comes.
    pub(crate) fn hangs(self) -> bool {
        matches!(self, Self::Unfinished | Self::Silence | Self::Slow)
    }

    /// How often the question is sent.
    pub(crate) fn requests(self) -> usize {
        match self {
            Self::Reset | Self::Status(429 | 500 | 503) => 3,
            Self::Refused => 0,
            _ => 1,
        }
    }
}

/// Status 200, and the connection stays.
fn whole_reply(kind: &str, body: &[u8]) -> Reply {
    match kind {
        "application/json" => Reply::Json(body.to_vec()),
        other => raw("200 OK", &format!("content-type: {other}"), body),
    }
}

fn raw(status: &str, headers: &str, body: &[u8]) -> Reply {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Reply::Raw([head.as_bytes(), body].concat())
}

/// The first bytes of what unpacks to a gigabyte of blanks; it is never unpacked.
const GZIPPED: &[u8] =
    &[0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf];
