//! What a proxy must do to heads: refuse what two parsers could read differently, take off what was meant for
//! this connection only, and say who the client is.
//!
//! Framing itself is safe by construction: bodies are decoded by hyper and framed anew, so a backend never sees
//! the client's own `Transfer-Encoding`. Sources: RFC 9110 §7.6, RFC 9112 §3, §6, RFC 9113 §8.

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::{media::Grpc, refusal::Refusal};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

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
    forwarded_for: bool,
    forwarded_proto: bool,
    forwarded_host: bool,
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
                "x-forwarded-for" => facts.forwarded_for = true,
                "x-forwarded-proto" => facts.forwarded_proto = true,
                "x-forwarded-host" => facts.forwarded_host = true,
                _ => {}
            }
        }
        facts
    }
}

/// Who the client is, made once per connection.
pub(super) struct ClientIs {
    /// Its address, as text.
    pub(super) address: HeaderValue,
    /// Whether it speaks TLS to us.
    pub(super) tls: bool,
    /// Whether its own `X-Forwarded-*` count.
    pub(super) trusted: bool,
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
    let upgrade = http1 && facts.upgrade == 1 && facts.content_length == 0 && facts.transfer_encoding == 0;
    let upgrade = upgrade && parts.version == Version::HTTP_11 && asks_for_upgrade(&parts.headers);
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
    say_who(&mut parts.headers, client, &facts);
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

/// Whether the client asks for an upgrade that may be passed on. `h2c` may not: the backend would then speak
/// past this proxy's routing and checks.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let named = connection_tokens(headers).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    let to = headers.get(UPGRADE).map_or(&b""[..], HeaderValue::as_bytes);
    named && !to.split(|&byte| byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"h2c"))
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

fn say_who(headers: &mut HeaderMap, client: &ClientIs, facts: &Facts) {
    let proto = HeaderValue::from_static(if client.tls { "https" } else { "http" });
    if client.trusted && facts.forwarded_for {
        let mut chain: Vec<u8> = Vec::new();
        for value in headers.get_all(FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(client.address.as_bytes());
        headers.insert(
            FORWARDED_FOR,
            HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.address.clone()),
        );
    } else {
        headers.insert(FORWARDED_FOR, client.address.clone());
    }
    if !(client.trusted && facts.forwarded_proto) {
        headers.insert(FORWARDED_PROTO, proto);
    }
    if !(client.trusted && facts.forwarded_host) {
        match headers.get(HOST).cloned() {
            Some(host) => headers.insert(FORWARDED_HOST, host),
            None => headers.remove(FORWARDED_HOST),
        };
    }
}

/// Turns a prepared head into one for an HTTP/2 backend.
pub(super) fn to_http2(parts: &mut Parts) -> Result<(), Refusal> {
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
pub(super) fn prepare_response(headers: &mut HeaderMap, upgraded: bool) {
    let facts = Facts::of(headers);
    if facts.transfer_encoding > 0 && facts.content_length > 0 {
        headers.remove(CONTENT_LENGTH);
    }
    take_off(headers, &facts);
    if upgraded {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else if facts.upgrade > 0 {
        headers.remove(UPGRADE);
    }
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
    fn a_stranger_cannot_say_who_it_is_and_a_trusted_proxy_can() {
        let claimed =
            [("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil")];
        let mut got = get(&claimed);
        prepare_request(&mut got, &client(false)).unwrap();
        assert_eq!(got.headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(got.headers["x-forwarded-proto"], "http");
        assert_eq!(got.headers["x-forwarded-host"], "shop");
        let mut got = get(&claimed);
        prepare_request(&mut got, &client(true)).unwrap();
        assert_eq!(got.headers["x-forwarded-for"], "10.0.0.1, 192.0.2.7");
        assert_eq!(got.headers["x-forwarded-proto"], "https");
        assert_eq!(got.headers["x-forwarded-host"], "evil");
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
        prepare_response(&mut headers, false);
        assert!(headers.is_empty());
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
