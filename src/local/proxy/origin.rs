//! Who the client is: what the service is told, and which headers of strangers say it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header::HOST};

const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Everything that proxies, balancers and content networks are known to say about a client besides `X-Forwarded-*`
/// and `X-Original-*`. Services believe them, so strangers may not send them.
const SAY_WHO: [&str; 14] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "x-envoy-external-address",
    "x-envoy-internal",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
];
const FAMILIES: [&str; 2] = ["x-forwarded-", "x-original-"];

/// Who the client is, made once per connection.
pub(super) struct ClientIs {
    /// Its address, as text.
    pub(super) address: HeaderValue,
    /// Whether it speaks TLS to us.
    pub(super) tls: bool,
    /// Whether what it says of the clients before it counts.
    pub(super) trusted: bool,
}

/// Whether a header says who the client is. CGI and WSGI make one variable of `-` and `_`.
pub(super) fn says_who(name: &str) -> bool {
    // Most headers end here.
    if !matches!(name.as_bytes().first(), Some(b'x' | b'f' | b't' | b'c')) {
        return false;
    }
    if name.contains('_') {
        return listed(&name.replace('_', "-"));
    }
    listed(name)
}

fn listed(name: &str) -> bool {
    FAMILIES.iter().any(|family| name.starts_with(family)) || SAY_WHO.contains(&name)
}

/// Tells the service who the client is. `said`: some header of the request says so already.
pub(super) fn say_who(headers: &mut HeaderMap, client: &ClientIs, said: bool) {
    if said && client.trusted {
        return go_on(headers, client);
    }
    if said {
        let names: Vec<HeaderName> = headers.keys().filter(|name| says_who(name.as_str())).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
    headers.insert(FORWARDED_FOR, client.address.clone());
    headers.insert(FORWARDED_PROTO, proto(client));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

fn proto(client: &ClientIs) -> HeaderValue {
    HeaderValue::from_static(if client.tls { "https" } else { "http" })
}

/// Adds the trusted proxy itself to what it says of those before it.
fn go_on(headers: &mut HeaderMap, client: &ClientIs) {
    append(headers, &FORWARDED_FOR, client.address.as_bytes());
    if headers.contains_key(FORWARDED) {
        append(headers, &FORWARDED, &node(client));
    }
    if !headers.contains_key(FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, proto(client));
    }
    if let Some(host) = headers.get(HOST).filter(|_| !headers.contains_key(FORWARDED_HOST)).cloned() {
        headers.insert(FORWARDED_HOST, host);
    }
}

/// The client as RFC 7239 writes it.
fn node(client: &ClientIs) -> Vec<u8> {
    let address = client.address.to_str().unwrap_or_default();
    match address.parse() {
        Ok(IpAddr::V6(_)) => format!("for=\"[{address}]\"").into_bytes(),
        Ok(IpAddr::V4(_)) | Err(_) => format!("for={address}").into_bytes(),
    }
}

/// Makes one list of all values of a header and one more.
fn append(headers: &mut HeaderMap, name: &HeaderName, last: &[u8]) {
    let mut list: Vec<u8> = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last);
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &'static str, trusted: bool) -> ClientIs {
        ClientIs { address: HeaderValue::from_static(address), tls: false, trusted }
    }

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("shop"));
        for (name, value) in all {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn told(headers: &mut HeaderMap, client: &ClientIs) {
        let said = headers.keys().any(|name| says_who(name.as_str()));
        say_who(headers, client, said);
    }

    #[test]
    fn nothing_a_stranger_says_about_a_client_is_passed_on() {
        let names = SAY_WHO.into_iter().chain([
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-ssl",
            "x-forwarded-server",
            "x-forwarded-by-anybody",
            "x-original-forwarded-for",
            "x-original-url",
            "x_forwarded_for",
            "x_real_ip",
            "x-forwarded_host",
        ]);
        for name in names {
            let mut got = headers(&[(name, "evil"), ("x-request-id", "7"), ("x-forwarder", "stays")]);
            told(&mut got, &client("192.0.2.7", false));
            assert!(got.values().all(|value| value != "evil"), "{name}: {got:?}");
            assert_eq!(
                (&got["x-request-id"], &got["x-forwarder"]),
                (&"7".parse().unwrap(), &"stays".parse().unwrap())
            );
            assert_eq!(got["x-forwarded-for"], "192.0.2.7");
            assert_eq!(
                (&got["x-forwarded-proto"], &got["x-forwarded-host"]),
                (&"http".parse().unwrap(), &"shop".parse().unwrap())
            );
        }
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_added() {
        let said = [
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "public"),
            ("x-forwarded-prefix", "/shop"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
        ];
        let mut got = headers(&said);
        told(&mut got, &client("2001:db8::7", true));
        assert_eq!(got["x-forwarded-for"], "10.0.0.1, 10.0.0.2, 2001:db8::7");
        assert_eq!(got["forwarded"], "for=10.0.0.1, for=\"[2001:db8::7]\"");
        assert_eq!(got["x-forwarded-proto"], "https");
        assert_eq!(got["x-forwarded-host"], "public");
        assert_eq!(
            (&got["x-forwarded-prefix"], &got["x-real-ip"]),
            (&"/shop".parse().unwrap(), &"10.0.0.1".parse().unwrap())
        );
        let mut quiet = headers(&[]);
        told(&mut quiet, &client("192.0.2.7", true));
        assert_eq!(quiet["x-forwarded-for"], "192.0.2.7");
        assert!(!quiet.contains_key("forwarded"));
    }
}
