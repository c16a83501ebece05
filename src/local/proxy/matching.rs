//! Matches: an OR of ANDs over header, cookie, query and path, compiled once per configuration.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header::COOKIE, request::Parts};
use regex::Regex;

use super::config::{Condition, MatchConfig, Named, Text};

/// Largest compiled regular expression, bytes.
const REGEX_SIZE: usize = 1 << 20;

/// A match that can't be compiled.
#[derive(Debug, thiserror::Error)]
pub(super) enum MatchError {
    #[error("{text:?} is not a regular expression this proxy can run: {source}")]
    Regex { text: String, source: Box<regex::Error> },
    #[error("{0:?} is not a header name")]
    HeaderName(String),
}

/// A compiled match.
pub(super) struct Match {
    any_of: Vec<Vec<Test>>,
    /// Index of the arm.
    pub(super) to: usize,
}

enum Test {
    Header(HeaderName, TextTest),
    Cookie(String, TextTest),
    Query(String, TextTest),
    Path(TextTest),
}

enum TextTest {
    Exact(String),
    Prefix(String),
    Regex(Regex),
    Present,
}

impl Match {
    pub(super) fn compile(config: &MatchConfig, to: usize) -> Result<Self, MatchError> {
        let all_of = |all: &Vec<Condition>| all.iter().map(Test::compile).collect::<Result<Vec<_>, _>>();
        let any_of = config.any_of.iter().map(all_of).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { any_of, to })
    }

    pub(super) fn fits(&self, request: &Parts) -> bool {
        self.any_of.iter().any(|all| all.iter().all(|test| test.fits(request)))
    }
}

impl Test {
    fn compile(condition: &Condition) -> Result<Self, MatchError> {
        Ok(match condition {
            Condition::Header(Named { name, value }) => {
                let header = HeaderName::from_bytes(name.as_bytes());
                Self::Header(
                    header.map_err(|_| MatchError::HeaderName(name.clone()))?,
                    TextTest::compile(value)?,
                )
            }
            Condition::Cookie(Named { name, value }) => Self::Cookie(name.clone(), TextTest::compile(value)?),
            Condition::Query(Named { name, value }) => Self::Query(name.clone(), TextTest::compile(value)?),
            Condition::Path(value) => Self::Path(TextTest::compile(value)?),
        })
    }

    fn fits(&self, request: &Parts) -> bool {
        match self {
            Self::Header(name, test) => {
                request.headers.get_all(name).iter().any(|value| test.fits(value.as_bytes()))
            }
            Self::Cookie(name, test) => cookies(&request.headers, name).any(|value| test.fits(value)),
            Self::Query(name, test) => request.uri.query().is_some_and(|query| {
                parameters(query).any(|(key, value)| key == name.as_bytes() && test.fits(&value))
            }),
            Self::Path(test) => test.fits(request.uri.path().as_bytes()),
        }
    }
}

impl TextTest {
    fn compile(text: &Text) -> Result<Self, MatchError> {
        Ok(match text {
            Text::Exact(text) => Self::Exact(text.clone()),
            Text::Prefix(text) => Self::Prefix(text.clone()),
            Text::Present => Self::Present,
            Text::Regex(text) => {
                let whole = regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(REGEX_SIZE).build();
                let failed = |source| MatchError::Regex { text: text.clone(), source: Box::new(source) };
                Self::Regex(whole.map_err(failed)?)
            }
        })
    }

    fn fits(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text.as_bytes(),
            Self::Prefix(text) => value.starts_with(text.as_bytes()),
            Self::Regex(regex) => std::str::from_utf8(value).is_ok_and(|value| regex.is_match(value)),
            Self::Present => true,
        }
    }
}

/// The values of every cookie of that name; quotes around a value are taken off.
pub(super) fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let rest = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(rest.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(rest))
    })
}

fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key), decode(value))
    })
}

/// Percent-decodes, with `+` as space; a broken escape stays as it is.
fn decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|&byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex_pair);
        match (bytes[at], escaped) {
            (_, Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', None) => decoded.push(b' '),
            (byte, None) => decoded.push(byte),
        }
        at += 1;
    }
    Cow::Owned(decoded)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let &[high, low] = pair else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn named(name: &str, value: Text) -> Named {
        Named { name: name.into(), value }
    }

    fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::builder().uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check(any_of: Vec<Vec<Condition>>, request: &Parts, expected: bool) {
        let config = MatchConfig { id: "m".into(), any_of, to: "canary".into() };
        assert_eq!(Match::compile(&config, 0).unwrap().fits(request), expected, "{config:?}");
    }

    #[test]
    fn each_kind_of_condition_fits_what_it_says() {
        let exact = |text: &str| Text::Exact(text.into());
        let got = request(
            "/shop/cart?a=1&name=J%C3%BCrg+K&b",
            &[("X-Canary", "yes"), ("cookie", "a=1; user=\"eve\"")],
        );
        check(vec![vec![Condition::Header(named("x-canary", exact("yes")))]], &got, true);
        check(vec![vec![Condition::Header(named("x-canary", exact("ye")))]], &got, false);
        check(vec![vec![Condition::Header(named("X-CANARY", Text::Prefix("ye".into())))]], &got, true);
        check(vec![vec![Condition::Header(named("x-none", Text::Present))]], &got, false);
        check(vec![vec![Condition::Cookie(named("user", exact("eve")))]], &got, true);
        check(vec![vec![Condition::Cookie(named("use", Text::Present))]], &got, false);
        check(vec![vec![Condition::Query(named("name", exact("Jürg K")))]], &got, true);
        check(vec![vec![Condition::Query(named("b", Text::Present))]], &got, true);
        check(vec![vec![Condition::Query(named("c", Text::Present))]], &got, false);
        check(vec![vec![Condition::Path(exact("/shop/cart"))]], &got, true);
        check(vec![vec![Condition::Path(Text::Regex("/shop/c.*".into()))]], &got, true);
        check(vec![vec![Condition::Path(Text::Regex("shop".into()))]], &got, false);
    }

    #[test]
    fn any_of_is_an_or_of_ands() {
        let got = request("/a", &[("x", "1"), ("y", "2")]);
        let is = |name: &str, value: &str| Condition::Header(named(name, Text::Exact(value.into())));
        check(vec![vec![is("x", "1"), is("y", "0")], vec![is("y", "2")]], &got, true);
        check(vec![vec![is("x", "1"), is("y", "0")]], &got, false);
        check(vec![], &got, false);
        check(vec![vec![]], &got, true);
    }

    #[test]
    fn an_expression_that_would_grow_without_bound_is_refused() {
        let condition = Condition::Path(Text::Regex("(a{1000}){1000}".into()));
        let config = MatchConfig { id: "m".into(), any_of: vec![vec![condition]], to: "c".into() };
        assert!(Match::compile(&config, 0).is_err());
    }

    proptest! {
        #[test]
        fn decoding_any_text_never_fails(text in ".{0,60}") {
            let _ = decode(&text);
            let _ = parameters(&text).count();
        }

        #[test]
        fn any_cookie_header_can_be_read(bytes in proptest::collection::vec(32u8..127, 0..80)) {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, http::HeaderValue::from_bytes(&bytes).unwrap());
            let _ = cookies(&headers, "a").count();
        }
    }
}
