//! What a proxy must do to heads: refuse what two parsers could read differently, take off what was meant for
//! this connection only, and say who the client is.
//!
//! Framing itself is safe by construction: bodies are decoded by hyper and framed anew, so a backend never sees
//! the client's own `Transfer-Encoding`. Sources: RFC 9110 §7.6, RFC 9112 §3, §6, RFC 9113 §8.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};

use hyper::body::Body;

use super::{
    config::Upstream,
    media::Grpc,
    origin::{self, ClientIs},
    refusal::Refusal,
    request_body::RequestBody,
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
/// Which of the headers that need work are there, found in one pass.
#[derive(Default)]
struct Facts {
    connection: bool,
    keep_alive: bool,
    proxy_connection: bool,
    te: bool,
    transfer_encoding: u8,
    content_length: u8,
    upgrade: u8,
    expect: bool,
    hosts: u8,
    http2_settings: bool,
    cookies: u8,
    /// Some header says who the client is.
    origin: bool,
}

impl Facts {
    fn of(headers: &HeaderMap) -> Self {
        let mut facts = Self::default();
        for name in headers.iter().map(|(name, _)| name) {
            match name.as_str() {
                "connection" => facts.connection = true,
                "keep-alive" => facts.keep_alive = true,
                "proxy-connection" => facts.proxy_connection = true,
                "te" => facts.te = true,
                "transfer-encoding" => facts.transfer_encoding = facts.transfer_encoding.saturating_add(1),
                "content-length" => facts.content_length = facts.content_length.saturating_add(1),
                "upgrade" => facts.upgrade = facts.upgrade.saturating_add(1),
                "expect" => facts.expect = true,
                "host" => facts.hosts = facts.hosts.saturating_add(1),
                "http2-settings" => facts.http2_settings = true,
                "cookie" => facts.cookies = facts.cookies.saturating_add(1),
                name => facts.origin |= origin::says_who(name),
            }
        }
        facts
    }
}

/// What a request asks of the way to the backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    /// To turn the connection into something else; `Connection` and `Upgrade` were left in place.
    pub(super) upgrade: bool,
    /// HTTP/2: content type is gRPC's and the client speaks HTTP/2.
    pub(super) grpc: bool,
}

/// Checks a request's head and makes it fit to be sent on over HTTP/1.1.
pub(super) fn prepare_request(parts: &mut Parts, client: &ClientIs) -> Result<Wants, Refusal> {
    let facts = Facts::of(&parts.headers);
    check_framing(parts, &facts)?;
    settle_host(parts, &facts)?;
    if facts.expect {
        let expects = parts.headers.remove(EXPECT);
        if !expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return Err(Refusal::Expectation);
        }
    }
    let http1 = parts.version <= Version::HTTP_11;
    if !http1 && (facts.connection || facts.upgrade > 0 || facts.keep_alive || facts.proxy_connection) {
        return Err(Refusal::Malformed("connection headers in an HTTP/2 request"));
    }
    let bodiless = facts.transfer_encoding == 0 && says_no_body(&parts.headers);
    let upgrade = facts.upgrade > 0 && bodiless && parts.version == Version::HTTP_11;
    let upgrade = upgrade && asks_for_upgrade(&parts.headers);
    let trailers = facts.te && wants_trailers(&parts.headers);
    take_off(&mut parts.headers, &facts);
    if upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if facts.upgrade > 0 {
        parts.headers.remove(UPGRADE);
    }
    let grpc = !http1 && is_grpc(&parts.headers);
    if trailers && grpc {
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if !http1 && facts.cookies > 1 {
        join_cookies(&mut parts.headers);
    }
    origin::say_who(&mut parts.headers, client, facts.origin);
    parts.version = Version::HTTP_11;
    Ok(Wants { upgrade, grpc })
}

fn check_framing(parts: &Parts, facts: &Facts) -> Result<(), Refusal> {
    if parts.method == http::Method::CONNECT {
        return Err(Refusal::Connect);
    }
    if facts.transfer_encoding > 0 {
        let plain = parts
            .headers
            .get(TRANSFER_ENCODING)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if facts.transfer_encoding > 1 || !plain || facts.content_length > 0 {
            return Err(Refusal::Malformed("a transfer encoding other than one chunked"));
        }
    }
    if facts.content_length > 1 {
        return Err(Refusal::Malformed("several content lengths"));
    }
    Ok(())
}

/// Leaves exactly one `Host` and a URI in origin form.
fn settle_host(parts: &mut Parts, facts: &Facts) -> Result<(), Refusal> {
    let http1 = parts.version <= Version::HTTP_11;
    if facts.hosts > 1 || (facts.hosts == 0 && parts.version == Version::HTTP_11) {
        return Err(Refusal::Malformed("not exactly one host"));
    }
    if let Some(authority) = parts.uri.authority() {
        let host = authority.as_str();
        if host.contains('@') {
            return Err(Refusal::Malformed("user information in the authority"));
        }
        let scheme_known = parts.uri.scheme().is_some_and(|s| *s == Scheme::HTTP || *s == Scheme::HTTPS);
        if !scheme_known {
            return Err(Refusal::Malformed("a request target that is not http"));
        }
        let same = parts
            .headers
            .get(HOST)
            .is_some_and(|given| given.as_bytes().eq_ignore_ascii_case(host.as_bytes()));
        if facts.hosts == 1 && !same && !http1 {
            return Err(Refusal::Malformed("host differs from the authority"));
        }
        if !same {
            let host = HeaderValue::from_str(host).map_err(|_| Refusal::Malformed("authority"))?;
            parts.headers.insert(HOST, host);
        }
        let uri = std::mem::take(&mut parts.uri).into_parts();
        let target = uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::from(target);
    } else if facts.hosts == 0 {
        if !http1 {
            return Err(Refusal::Malformed("no authority"));
        }
        // HTTP/1.0 need not name one, but we speak HTTP/1.1 to the backend.
        parts.headers.insert(HOST, HeaderValue::from_static(""));
    }
    let host = parts.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
    let odd = |&byte: &u8| !byte.is_ascii_graphic() || b"/\\@,?#<>\"{}|^`".contains(&byte);
    if host.iter().any(odd) {
        return Err(Refusal::Malformed("host"));
    }
    Ok(())
}

/// Some clients say `Content-Length: 0` with a handshake.
fn says_no_body(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_LENGTH)
        .is_none_or(|length| length.as_bytes().trim_ascii().iter().all(|it| *it == b'0'))
}

/// HTTP/2 clients may send one cookie per field, to compress them better; services that speak HTTP/1.1 expect one
/// field, and many read the first only. Source: RFC 9113 §8.2.3.
fn join_cookies(headers: &mut HeaderMap) {
    let mut joined: Vec<u8> = Vec::new();
    for cookie in headers.get_all(COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether the client asks for an upgrade that may be passed on. `h2c` may not: the backend would then speak
/// past this proxy's routing and checks.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let named = connection_tokens(headers).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let mut to = headers.get_all(UPGRADE).iter().flat_map(|to| to.as_bytes().split(|&byte| byte == b','));
    named && !to.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|kind| Grpc::of(kind.as_bytes()) == Some(Grpc::Native))
}

fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values =
        headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    values.map(|token| token.trim_ascii()).filter(|token| !token.is_empty())
}

/// Removes what is meant for one connection only, including what `Connection` names. Framing, routing and the
/// upgrade token itself can't be named away.
fn take_off(headers: &mut HeaderMap, facts: &Facts) {
    if facts.connection {
        let protected = |name: &HeaderName| [HOST, CONTENT_LENGTH, UPGRADE].contains(name);
        let named: Vec<HeaderName> = connection_tokens(headers)
            .filter_map(|token| HeaderName::from_bytes(token).ok())
            .filter(|name| !protected(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    let there = [
        (facts.keep_alive, KEEP_ALIVE),
        (facts.proxy_connection, PROXY_CONNECTION),
        (facts.te, TE),
        (facts.transfer_encoding > 0, TRANSFER_ENCODING),
        (facts.http2_settings, HTTP2_SETTINGS),
    ];
    for (_, name) in there.into_iter().filter(|(there, _)| *there) {
        headers.remove(name);
    }
}

/// Brings a prepared request into the form of the protocol it will be sent with.
pub(super) fn shape(request: &mut Request<RequestBody>, upstream: Upstream) -> Result<(), Refusal> {
    let http2 = upstream == Upstream::Http2;
    let body_length = request.body().size_hint().exact();
    let (is_http2, chunked) = (request.version() == Version::HTTP_2, body_length.is_none());
    if http2 == is_http2 && (http2 || !chunked) {
        return Ok(());
    }
    let (mut parts, body) = std::mem::replace(request, Request::new(RequestBody::Empty)).into_parts();
    match (http2, is_http2) {
        (true, false) => {
            parts.headers.remove(TRANSFER_ENCODING);
            to_http2(&mut parts)?;
        }
        (false, true) => to_http1(&mut parts)?,
        (true, true) | (false, false) => {}
    }
    if !http2 && chunked {
        // Said explicitly, or a GET with a body would lose it.
        parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    *request = Request::from_parts(parts, body);
    Ok(())
}

fn to_http1(parts: &mut Parts) -> Result<(), Refusal> {
    let uri = std::mem::take(&mut parts.uri).into_parts();
    let host = uri.authority.as_ref().map_or("", http::uri::Authority::as_str);
    parts.headers.insert(HOST, HeaderValue::from_str(host).map_err(|_| Refusal::Malformed("authority"))?);
    parts.uri = uri.path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from);
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Turns a prepared head into one for an HTTP/2 backend.
fn to_http2(parts: &mut Parts) -> Result<(), Refusal> {
    let host = parts.headers.remove(HOST);
    let host = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
    let authority = Authority::try_from(host).map_err(|_| Refusal::Malformed("host"))?;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri).map_err(|_| Refusal::Malformed("request target"))?;
    parts.version = Version::HTTP_2;
    Ok(())
}

/// Makes a response's head fit for the client. `upgraded`: `Connection` and `Upgrade` stay.
///
/// # Errors
/// Its framing could be read in two ways, or names a coding that would be taken off without being undone.
pub(super) fn prepare_response(headers: &mut HeaderMap, upgraded: bool) -> Result<(), Refusal> {
    let facts = Facts::of(headers);
    if facts.transfer_encoding > 0 {
        let coding = headers.get(TRANSFER_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        if facts.transfer_encoding > 1 || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::BadAnswer("a transfer encoding other than one chunked"));
        }
        headers.remove(CONTENT_LENGTH);
    } else if facts.content_length > 0 {
        settle_length(headers)?;
    }
    take_off(headers, &facts);
    if upgraded {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if facts.upgrade > 0 {
        headers.remove(UPGRADE);
    }
    Ok(())
}

/// Leaves one length where the same one was said several times. Source: RFC 9112 §6.3.
fn settle_length(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let said = headers.get_all(CONTENT_LENGTH).iter();
    let mut said = said.flat_map(|it| it.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii);
    let first = said.next().unwrap_or(b"").to_vec();
    let bad = || Refusal::BadAnswer("a content length that is no number, or not one");
    if first.is_empty() || !first.iter().all(u8::is_ascii_digit) || said.any(|it| it != first) {
        return Err(bad());
    }
    if headers.get(CONTENT_LENGTH).is_some_and(|it| it.as_bytes() == first)
        && headers.get_all(CONTENT_LENGTH).iter().nth(1).is_none()
    {
        return Ok(());
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from_bytes(&first).map_err(|_| bad())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn client(trusted: bool) -> ClientIs {
        ClientIs { address: HeaderValue::from_static("192.0.2.7"), tls: false, trusted }
    }

    fn parts(version: Version, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn get(headers: &[(&str, &str)]) -> Parts {
        let mut all = vec![("host", "shop")];
        all.extend_from_slice(headers);
        parts(Version::HTTP_11, "/", &all)
    }

    #[track_caller]
    fn refused(mut parts: Parts) {
        assert!(prepare_request(&mut parts, &client(false)).is_err(), "{:?}", parts.headers);
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        refused(get(&[("transfer-encoding", "gzip, chunked")]));
        refused(get(&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]));
        refused(get(&[("transfer-encoding", "chunked"), ("content-length", "3")]));
        refused(get(&[("content-length", "3"), ("content-length", "3")]));
        refused(get(&[("host", "other")]));
        refused(get(&[("expect", "a miracle")]));
        refused(parts(Version::HTTP_11, "/", &[]));
        refused(parts(Version::HTTP_11, "/", &[("host", "a, b")]));
        refused(parts(Version::HTTP_11, "/", &[("host", "user@a")]));
        refused(parts(Version::HTTP_11, "ftp://a/", &[("host", "a")]));
        refused(parts(Version::HTTP_2, "http://a/", &[("host", "b")]));
        refused(parts(Version::HTTP_2, "http://a/", &[("connection", "close")]));
    }

    #[test]
    fn what_connection_names_is_taken_off_but_never_framing_or_host() {
        let mut got = get(&[
            ("connection", "close, X-Hop, host, content-length"),
            ("x-hop", "1"),
            ("x-stay", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("content-length", "3"),
        ]);
        prepare_request(&mut got, &client(false)).unwrap();
        let mut names: Vec<_> = got.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        let expected =
            ["content-length", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-stay"];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_absolute_form_decides_the_host_and_becomes_origin_form() {
        let mut got = parts(Version::HTTP_11, "http://real/a?b=1", &[("host", "claimed")]);
        prepare_request(&mut got, &client(false)).unwrap();
        assert_eq!(got.headers[HOST], "real");
        assert_eq!(got.uri, "/a?b=1");
    }

    #[test]
    fn websocket_passes_and_h2c_does_not() {
        let mut got = get(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(prepare_request(&mut got, &client(false)).unwrap().upgrade);
        assert_eq!(got.headers[CONNECTION], "upgrade");
        let mut got =
            get(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAM")]);
        assert!(!prepare_request(&mut got, &client(false)).unwrap().upgrade);
        assert!(!got.headers.contains_key(UPGRADE) && !got.headers.contains_key("http2-settings"));
    }

    #[test]
    fn a_response_with_two_lengths_keeps_the_one_that_was_used() {
        let mut headers = HeaderMap::new();
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        prepare_response(&mut headers, false).unwrap();
        assert!(headers.is_empty());
    }

    #[test]
    fn a_response_that_says_its_length_twice_keeps_one_and_one_that_says_two_is_refused() {
        #[track_caller]
        fn check(said: &[&'static str], kept: Option<&str>) {
            let mut headers = HeaderMap::new();
            for length in said {
                headers.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            let prepared = prepare_response(&mut headers, false);
            let left: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            match kept {
                Some(length) => assert_eq!(
                    (prepared, left),
                    (Ok(()), vec![&HeaderValue::from_str(length).unwrap()]),
                    "{said:?}"
                ),
                None => assert!(prepared.is_err(), "{said:?}"),
            }
        }
        check(&["2"], Some("2"));
        check(&["2, 2"], Some("2"));
        check(&["2", "2"], Some("2"));
        check(&[" 2 , 2", "2"], Some("2"));
        for bad in [&["2, 3"][..], &["2", "3"], &["+2"], &["2,"], &[""], &["0x2"]] {
            check(bad, None);
        }
    }

    #[test]
    fn a_response_with_a_coding_that_would_be_lost_is_refused() {
        for coding in ["gzip, chunked", "gzip", "identity", "chunked, chunked", ""] {
            let mut headers = HeaderMap::new();
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            assert!(prepare_response(&mut headers, false).is_err(), "{coding}");
        }
    }

    #[test]
    fn cookies_that_http2_split_are_one_field_again() {
        let mut got =
            parts(Version::HTTP_2, "http://shop/", &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]);
        prepare_request(&mut got, &client(false)).unwrap();
        assert_eq!(got.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }

    #[test]
    fn a_handshake_may_say_that_it_has_no_body() {
        let handshake = [("connection", "Upgrade"), ("upgrade", "websocket")];
        #[track_caller]
        fn check(more: &[(&str, &str)], passes: bool, handshake: &[(&str, &str)]) {
            let mut got = get(&[handshake, more].concat());
            assert_eq!(prepare_request(&mut got, &client(false)).unwrap().upgrade, passes, "{more:?}");
        }
        check(&[("content-length", "0")], true, &handshake);
        check(&[("content-length", "00")], true, &handshake);
        check(&[("content-length", "1")], false, &handshake);
        check(&[("transfer-encoding", "chunked")], false, &handshake);
        check(&[("upgrade", "other")], true, &handshake);
        check(&[("upgrade", "h2c")], false, &handshake);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_fail_other_than_by_refusal(
            names in proptest::collection::vec("(connection|host|te|expect|upgrade|transfer-encoding|content-length|x-[a-z]{1,3})", 0..8),
            values in proptest::collection::vec("[ -~]{0,20}", 8),
            absolute: bool,
        ) {
            let uri = if absolute { "http://h/x" } else { "/x" };
            let mut request = Request::builder().uri(uri);
            for (name, value) in names.iter().zip(&values) {
                request = request.header(name, value);
            }
            let mut got = request.body(()).unwrap().into_parts().0;
            if prepare_request(&mut got, &client(false)).is_ok() {
                prop_assert!(!got.headers.contains_key(TRANSFER_ENCODING));
                prop_assert_eq!(got.headers.get_all(HOST).iter().count(), 1);
                prop_assert!(got.headers.get_all(CONTENT_LENGTH).iter().count() <= 1);
                let _ = to_http2(&mut got);
            }
        }
    }
}
