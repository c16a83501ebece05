//! Sticky sessions: a signed cookie that names the revision and the client's position among all clients.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use http::{HeaderMap, HeaderValue};
use sha2::Sha256;

use super::{config::StickyConfig, matching::cookies};

/// Bytes of the signature that are kept: 128 bits.
const SIGNATURE: usize = 16;
/// Longest cookie that is looked at.
const LONGEST: usize = 512;

/// Compiled [`StickyConfig`] of one listener.
pub(super) struct Sticky {
    config: StickyConfig,
    listener: String,
    secure: bool,
    mac: Hmac<Sha256>,
}

/// What a valid cookie says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Revision the client was served by.
    pub(super) revision: String,
    /// The client's place among all clients, `0 .. 1_000_000`; an arm owns an interval of places.
    pub(super) position: u32,
    /// When it ends, seconds since the epoch.
    pub(super) expires_s: u64,
}

impl Sticky {
    /// `None` when the key is too short or the cookie's name can't be one.
    pub(super) fn new(config: StickyConfig, listener: &str, secure: bool) -> Option<Self> {
        let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if config.key.len() < 16 || config.cookie.is_empty() || !config.cookie.bytes().all(name_byte) {
            return None;
        }
        let mac = Hmac::new_from_slice(config.key.as_bytes()).ok()?;
        Some(Self { config, listener: listener.to_owned(), secure, mac })
    }

    /// What the request's cookie says; `None` when there is none, or it is forged, foreign or too old.
    pub(super) fn read(&self, headers: &HeaderMap, now_s: u64) -> Option<Assignment> {
        cookies(headers, &self.config.cookie).find_map(|value| self.verify(value, now_s))
    }

    fn verify(&self, value: &[u8], now_s: u64) -> Option<Assignment> {
        if value.len() > LONGEST {
            return None;
        }
        let (text, signature) = std::str::from_utf8(value).ok()?.rsplit_once('.')?;
        let mut signed = [0; SIGNATURE];
        let length = URL_SAFE_NO_PAD.decode_slice(signature, &mut signed).ok()?;
        if length != SIGNATURE {
            return None;
        }
        self.signing(text).verify_truncated_left(&signed).ok()?;
        let mut parts = text.splitn(4, '.');
        let (version, expires, position) = (parts.next()?, parts.next()?, parts.next()?);
        let revision = URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        let assignment = Assignment {
            revision: String::from_utf8(revision).ok()?,
            position: position.parse().ok()?,
            expires_s: expires.parse().ok()?,
        };
        (version == "1" && assignment.expires_s > now_s).then_some(assignment)
    }

    /// The `Set-Cookie` value of an assignment; `None` if the revision is too long for a cookie.
    pub(super) fn write(&self, assignment: &Assignment, now_s: u64) -> Option<HeaderValue> {
        let Assignment { revision, position, expires_s } = assignment;
        let text = format!("1.{expires_s}.{position}.{}", URL_SAFE_NO_PAD.encode(revision));
        let signature = self.signing(&text).finalize().into_bytes();
        let signature = URL_SAFE_NO_PAD.encode(&signature[..SIGNATURE]);
        let name = &self.config.cookie;
        let left_s = expires_s.saturating_sub(now_s);
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie =
            format!("{name}={text}.{signature}; Path=/; Max-Age={left_s}; HttpOnly; SameSite=Lax{secure}");
        (text.len() + 40 <= LONGEST).then(|| HeaderValue::from_str(&cookie).ok()).flatten()
    }

    /// When an assignment made now ends, seconds since the epoch.
    pub(super) fn expires_s(&self, now_s: u64) -> u64 {
        now_s.saturating_add(self.config.ttl_s)
    }

    /// The signature covers where and what for, so that a cookie of another listener or attempt is foreign.
    fn signing(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(self.listener.as_bytes());
        mac.update(&[0]);
        mac.update(&self.config.attempt.to_be_bytes());
        mac.update(text.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn config() -> StickyConfig {
        StickyConfig { cookie: "serinus".into(), ttl_s: 60, key: "0123456789abcdef".into(), attempt: 1 }
    }

    fn sticky(config: StickyConfig) -> Sticky {
        Sticky::new(config, "web", false).unwrap()
    }

    fn assignment() -> Assignment {
        Assignment { revision: "v2.1".into(), position: 77, expires_s: NOW + 60 }
    }

    fn sent_back(cookie: &HeaderValue) -> HeaderMap {
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&format!("a=b; {pair}; z=1")).unwrap())])
    }

    #[test]
    fn a_cookie_comes_back_as_it_was_written() {
        let sticky = sticky(config());
        let cookie = sticky.write(&assignment(), NOW).unwrap();
        assert_eq!(sticky.read(&sent_back(&cookie), NOW), Some(assignment()));
        assert_eq!(sticky.read(&sent_back(&cookie), NOW + 60), None, "expired");
    }

    #[test]
    fn a_cookie_of_another_key_attempt_or_listener_is_foreign() {
        let back = sent_back(&sticky(config()).write(&assignment(), NOW).unwrap());
        let other_key = StickyConfig { key: "0123456789abcdeX".into(), ..config() };
        let other_attempt = StickyConfig { attempt: 2, ..config() };
        assert_eq!(sticky(other_key).read(&back, NOW), None);
        assert_eq!(sticky(other_attempt).read(&back, NOW), None);
        assert_eq!(Sticky::new(config(), "other", false).unwrap().read(&back, NOW), None);
    }

    #[test]
    fn changing_any_character_of_a_cookie_makes_it_forged() {
        let sticky = sticky(config());
        let cookie = sticky.write(&assignment(), NOW).unwrap();
        let value = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap().1.to_owned();
        assert!(sticky.verify(value.as_bytes(), NOW).is_some());
        // The last character of unpadded base64 holds four unused bits, which the decoder refuses to ignore.
        for at in 0..value.len() {
            let mut forged = value.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sticky.verify(&forged, NOW), None, "character {at}");
        }
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Sticky::new(StickyConfig { key: "short".into(), ..config() }, "web", false).is_none());
        assert!(Sticky::new(StickyConfig { cookie: "a b".into(), ..config() }, "web", false).is_none());
    }

    proptest! {
        #[test]
        fn no_text_is_ever_accepted_by_chance(text in "[ -~]{0,120}") {
            prop_assert_eq!(sticky(config()).verify(text.as_bytes(), NOW), None);
        }
    }
}
