//! Signs requests for AWS.
//!
//! Source: AWS, "Signature Version 4 for API requests" (IAM User Guide). Here is what a request needs whose address has
//! no query: the only ones that are sent.

use std::{collections::BTreeMap, fmt::Write as _};

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use reqwest::{
    Request,
    header::{AUTHORIZATION, HOST, HeaderName, HeaderValue},
};
use sha2::{Digest as _, Sha256};

use super::secret::Secret;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// As whom AWS is asked.
#[derive(Clone, Debug)]
pub struct AwsKeys {
    /// The region that is asked, such as `eu-central-1`.
    pub region: String,
    /// The access key's identifier.
    pub access_key: Secret,
    /// The access key.
    pub secret_key: Secret,
    /// The token of temporary keys.
    pub session_token: Option<Secret>,
}

/// What says the time of a signature. AWS takes it for some minutes only: it is of now, whatever time is asked about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Clock {
    /// This machine.
    #[default]
    System,
    /// Always the same: for tests.
    At(Timestamp),
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads a clock, named in its callers' set-up"
    )]
    pub(super) fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::At(it) => it,
        }
    }
}

impl AwsKeys {
    /// Whether it can be sent: its texts are visible ASCII, and its region cannot be mistaken for more than one part of a
    /// scope.
    pub(super) fn can_be_sent(&self) -> bool {
        let visible =
            |it: &Secret| !it.reveal().is_empty() && it.reveal().chars().all(|it| it.is_ascii_graphic());
        let part = |it: char| it.is_ascii_alphanumeric() || it == '-';
        !self.region.is_empty()
            && self.region.chars().all(part)
            && visible(&self.access_key)
            && visible(&self.secret_key)
            && self.session_token.as_ref().is_none_or(visible)
    }

    /// Signs a request for one service: everything that is set up in it by now.
    pub(super) fn sign(&self, request: &mut Request, service: &str, now: Timestamp) {
        let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = time.split('T').next().unwrap_or_default().to_owned();
        let scope = format!("{date}/{}/{service}/aws4_request", self.region);
        self.set(request, HeaderName::from_static("x-amz-date"), &time);
        if let Some(token) = &self.session_token {
            self.set(request, HeaderName::from_static("x-amz-security-token"), token.reveal());
        }
        let (signed, canonical) = canonical(request);
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let first = format!("AWS4{}", self.secret_key.reveal()).into_bytes();
        let parts = [date.as_str(), self.region.as_str(), service, "aws4_request", to_sign.as_str()];
        let signature = parts.into_iter().fold(first, |key, part| keyed(&key, part));
        let credential = format!("{}/{scope}", self.access_key.reveal());
        let value = format!(
            "{ALGORITHM} Credential={credential}, SignedHeaders={signed}, Signature={}",
            hex(&signature)
        );
        self.set(request, AUTHORIZATION, &value);
    }

    fn set(&self, request: &mut Request, name: HeaderName, value: &str) {
        // `can_be_sent` has seen to it that all of them are values of headers.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
    }
}

/// The names of the headers that are signed, and the request as it is signed.
fn canonical(request: &Request) -> (String, String) {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in request.headers() {
        let plain = String::from_utf8_lossy(value.as_bytes());
        headers.insert(name.as_str().to_owned(), plain.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let url = request.url();
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    headers.insert(HOST.as_str().to_owned(), host);
    let signed = headers.keys().cloned().collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let body = request.body().and_then(|it| it.as_bytes()).unwrap_or_default();
    let digest = hex(&Sha256::digest(body));
    let canonical = format!("{}\n{}\n\n{lines}\n{signed}\n{digest}", request.method(), url.path());
    (signed, canonical)
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is taken.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| vec![],
        |mut it| {
            it.update(text.as_bytes());
            it.finalize().into_bytes().to_vec()
        },
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, it| {
        let _ = write!(text, "{it:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use reqwest::{Method, Url};

    use super::*;

    /// A temporary key's token of the published vectors.
    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn keys(session_token: Option<&str>) -> AwsKeys {
        AwsKeys {
            region: "us-east-1".to_owned(),
            access_key: Secret::new("AKIDEXAMPLE"),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: session_token.map(Secret::new),
        }
    }

    /// A case of AWS' published test suite for Signature Version 4.
    #[track_caller]
    fn check(
        method: Method,
        header: Option<(&'static str, &'static str)>,
        body: &'static str,
        token: Option<&str>,
        signed: &str,
        signature: &str,
    ) {
        let mut request = Request::new(method, Url::parse("https://example.amazonaws.com/").unwrap());
        if let Some((name, value)) = header {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        keys(token).sign(&mut request, "service", "2015-08-30T12:36:00Z".parse().unwrap());
        let expected = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, Signature={signature}"
        );
        assert_eq!(request.headers()[AUTHORIZATION], expected);
    }

    #[test]
    fn get_vanilla() {
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        check(Method::GET, None, "", None, "host;x-amz-date", signature);
    }

    #[test]
    fn post_vanilla() {
        let signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        check(Method::POST, None, "", None, "host;x-amz-date", signature);
    }

    #[test]
    fn post_header_value_case() {
        let signature = "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d";
        check(
            Method::POST,
            Some(("my-header1", "VALUE1")),
            "",
            None,
            "host;my-header1;x-amz-date",
            signature,
        );
    }

    #[test]
    fn post_x_www_form_urlencoded() {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        check(Method::POST, Some(kind), "Param1=value1", None, "content-type;host;x-amz-date", signature);
    }

    #[test]
    fn post_sts_header_before() {
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        check(Method::POST, None, "", Some(TOKEN), "host;x-amz-date;x-amz-security-token", signature);
    }

    #[test]
    fn a_port_of_its_own_is_signed_with_the_host() {
        let of = |url: &str| canonical(&Request::new(Method::POST, Url::parse(url).unwrap())).1;
        assert!(of("http://127.0.0.1:5000/").contains("\nhost:127.0.0.1:5000\n"));
        assert!(of("https://monitoring.eu-central-1.amazonaws.com:443/").contains(".amazonaws.com\n"));
    }

    #[test]
    fn nothing_that_breaks_a_header_or_a_scope_is_sent() {
        assert!(keys(None).can_be_sent());
        for wrong in ["", "eu-central-1/s3", "eu central", "eu\r\n"] {
            assert!(!AwsKeys { region: wrong.to_owned(), ..keys(None) }.can_be_sent(), "{wrong:?}");
        }
        assert!(!AwsKeys { secret_key: Secret::new("a\nb"), ..keys(None) }.can_be_sent());
        assert!(!AwsKeys { access_key: Secret::new(""), ..keys(None) }.can_be_sent());
        assert!(!keys(Some("a\r\nx: y")).can_be_sent());
        assert!(!format!("{:?}", keys(Some("hunter2"))).contains("hunter2"));
    }
}
