//! One source that is asked over HTTP: whom, as whom, within which bounds.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Client, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use url::Url;

use super::{
    egress::{Checked, Egress, Names, Refused},
    failure::Failure,
    json,
    secret::Secret,
    sigv4::{AwsKeys, Clock},
};

/// The largest answer that is read unless a source says otherwise.
pub const LARGEST_ANSWER: u64 = 1024 * 1024;

/// Most times one question is asked again.
const MOST_RETRIES: u32 = 2;

/// How long to wait before the first of them; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A source as an operator sets it up.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Its address.
    pub address: String,
    /// As whom it is asked.
    pub credentials: Option<Credentials>,
    /// Headers sent along.
    pub headers: Vec<(String, Secret)>,
    /// How it is trusted.
    pub tls: Tls,
    /// Bounds of asking.
    pub limits: AnswerLimits,
    /// What may be reached.
    pub egress: Egress,
    /// How names become addresses.
    pub names: Names,
    /// What says the time of signatures.
    pub clock: Clock,
}

/// As whom a source is asked.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// By a token.
    Bearer(Secret),
    /// By name and password.
    Basic {
        /// The name.
        username: Secret,
        /// The password.
        password: Secret,
    },
    /// By a token after a word of the source's own, such as `Api-Token`.
    Authorization {
        /// The word.
        scheme: String,
        /// The token.
        token: Secret,
    },
    /// By keys of AWS, which sign each request. Only what asks AWS can use them.
    Aws(AwsKeys),
}

/// How a source is trusted.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The only authorities, PEM. `None`: those that this machine trusts.
    pub authorities: Option<Vec<u8>>,
    /// The name on its certificate, where it is not the one in the address.
    pub server_name: Option<String>,
    /// Trust whoever answers.
    pub insecure_skip_verify: bool,
}

/// Bounds of asking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnswerLimits {
    /// How long one question may take, waiting and retries included.
    pub timeout: Duration,
    /// The largest answer that is read, in bytes.
    pub answer: u64,
    /// Questions at the same time.
    pub concurrency: u32,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), answer: LARGEST_ANSWER, concurrency: 8 }
    }
}

impl SourceConfig {
    /// A source of an operator at `address`, asked as nobody.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            credentials: None,
            headers: vec![],
            tls: Tls::default(),
            limits: AnswerLimits::default(),
            egress: Egress::of_operator(),
            names: Names::System,
            clock: Clock::System,
        }
    }
}

/// Why a source cannot be set up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidSource {
    /// Its address breaks a rule.
    #[error(transparent)]
    Address(#[from] Refused),
    /// A header or a credential cannot be sent.
    #[error("header `{0}` or its value cannot be sent: letters, digits and visible ASCII only")]
    Header(String),
    /// Keys of AWS cannot be sent.
    #[error("the region or a key of AWS holds something else than visible ASCII, or nothing")]
    Keys,
    /// The authorities are not PEM.
    #[error("the authorities are no PEM certificates")]
    Authorities,
    /// The client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client,
}

/// A source, ready to be asked. Cheap to share behind an [`Arc`]; connections are kept.
#[derive(Debug)]
pub struct Source {
    client: Client,
    url: Url,
    limits: AnswerLimits,
    turns: Semaphore,
    budget: RetryBudget,
    keys: Option<AwsKeys>,
    clock: Clock,
}

/// The body of an answer, whole and within bounds.
#[derive(Debug)]
pub(super) struct Body {
    bytes: Vec<u8>,
    kind: String,
}

impl Body {
    /// The text, if the answer calls itself `wanted` and is UTF-8.
    pub(super) fn text(&self, wanted: &str) -> Result<&str, Failure> {
        let kind = self.kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(wanted) {
            return Err(Failure::NotThis("of the content type asked for"));
        }
        std::str::from_utf8(&self.bytes).map_err(|_| Failure::NotThis("UTF-8"))
    }

    /// A record, if the answer calls itself JSON.
    pub(super) fn shaped<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, Failure> {
        json::shaped(self.json()?, what)
    }

    /// The bytes, if the answer calls itself JSON.
    pub(super) fn json(&self) -> Result<&[u8], Failure> {
        let kind = self.kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let of_aws = kind.starts_with("application/x-amz-json-");
        let json = of_aws || (kind.starts_with("application/") && kind.ends_with("json"));
        if json { Ok(&self.bytes) } else { Err(Failure::NotThis("JSON, by its content type")) }
    }
}

impl Source {
    /// Sets a source up.
    ///
    /// # Errors
    /// [`InvalidSource`]: the address breaks a rule of egress, or something cannot be sent.
    pub fn new(config: SourceConfig) -> Result<Self, InvalidSource> {
        let SourceConfig { address, credentials, headers, tls, limits, egress, names, clock } = config;
        let mut url = egress.url(&address)?;
        let mut instead = None;
        if let (Some(name), Some(host)) = (&tls.server_name, url.host().map(|it| it.to_owned())) {
            url.set_host(Some(name)).map_err(|_| Refused::Written("`serverName` is no host name"))?;
            instead = Some((name.clone(), host));
        }
        let checked = Checked { egress: Arc::new(egress), names, port: url.port_or_known_default(), instead };
        // Whoever came first has installed one; both are ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(limits.timeout)
            .dns_resolver(checked)
            .user_agent(concat!("serinus/", env!("CARGO_PKG_VERSION")))
            .default_headers(sent(&headers, credentials.as_ref())?)
            .tls_danger_accept_invalid_certs(tls.insecure_skip_verify);
        if let Some(pem) = &tls.authorities {
            let all = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| InvalidSource::Authorities)?;
            if all.is_empty() {
                return Err(InvalidSource::Authorities);
            }
            client = client.tls_certs_only(all);
        }
        let client = client.build().map_err(|_| InvalidSource::Client)?;
        let turns = Semaphore::new(limits.concurrency.max(1) as usize);
        let keys = if let Some(Credentials::Aws(keys)) = credentials { Some(keys) } else { None };
        if keys.as_ref().is_some_and(|it| !it.can_be_sent()) {
            return Err(InvalidSource::Keys);
        }
        Ok(Self { client, url, limits, turns, budget: RetryBudget::default(), keys, clock })
    }

    /// The HTTP client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Its address.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The keys that sign requests to AWS, and what says the time.
    pub(super) fn keys(&self) -> Result<(&AwsKeys, Clock), Failure> {
        let keys = self.keys.as_ref().ok_or(Failure::Question("its source has no `aws` credentials"))?;
        Ok((keys, self.clock))
    }

    /// Sends what `send` makes, again if that may help, and reads the whole answer within all bounds.
    pub(super) async fn fetch<F, E>(&self, send: impl Fn() -> F) -> Result<Body, Failure>
    where
        F: Future<Output = Result<Response, E>>,
        E: std::error::Error + 'static,
    {
        let limit = self.limits.timeout;
        let waited = tokio::time::timeout(limit, self.turns.acquire()).await;
        let _turn = waited.map_err(|_| Failure::Busy(limit))?.map_err(|_| Failure::Busy(limit))?;
        let attempts = async {
            let mut wait = FIRST_WAIT;
            self.budget.asked();
            for _ in 0..MOST_RETRIES {
                match self.once(&send).await {
                    Err(failure) if failure.retryable() && self.budget.may_ask_again() => {
                        tokio::time::sleep(asked_to_wait(&failure).unwrap_or(wait)).await;
                        wait *= 2;
                    }
                    other => return other,
                }
            }
            self.once(&send).await
        };
        tokio::time::timeout(limit, attempts).await.unwrap_or(Err(Failure::TimedOut(limit)))
    }

    async fn once<F, E>(&self, send: &impl Fn() -> F) -> Result<Body, Failure>
    where
        F: Future<Output = Result<Response, E>>,
        E: std::error::Error + 'static,
    {
        let mut response = send().await.map_err(|error| Failure::of_transport(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Failure::Redirected(status.as_u16()));
        }
        if !status.is_success() {
            let retry_after =
                response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
            return Err(Failure::Status {
                status: status.as_u16(),
                retry_after: retry_after.map(Duration::from_secs),
            });
        }
        let limit = self.limits.answer;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        if response.content_length().is_some_and(|it| limit < it) {
            return Err(Failure::TooLarge { limit });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| Failure::BrokenOff)? {
            if limit < (bytes.len() + chunk.len()) as u64 {
                return Err(Failure::TooLarge { limit });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Body { bytes, kind })
    }
}

fn asked_to_wait(failure: &Failure) -> Option<Duration> {
    if let Failure::Status { retry_after, .. } = failure { *retry_after } else { None }
}

fn sent(headers: &[(String, Secret)], credentials: Option<&Credentials>) -> Result<HeaderMap, InvalidSource> {
    let mut map = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        let wrong = || InvalidSource::Header(name.to_owned());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        map.insert(key, value);
        Ok::<(), InvalidSource>(())
    };
    for (name, value) in headers {
        add(name, value.reveal())?;
    }
    match credentials {
        Some(Credentials::Bearer(token)) => {
            add(AUTHORIZATION.as_str(), &format!("Bearer {}", token.reveal()))?;
        }
        Some(Credentials::Basic { username, password }) => {
            let both = STANDARD.encode(format!("{}:{}", username.reveal(), password.reveal()));
            add(AUTHORIZATION.as_str(), &format!("Basic {both}"))?;
        }
        Some(Credentials::Authorization { scheme, token }) => {
            add(AUTHORIZATION.as_str(), &format!("{scheme} {}", token.reveal()))?;
        }
        // They sign each request.
        Some(Credentials::Aws(_)) | None => {}
    }
    Ok(map)
}

/// Lets retries be a tenth of all questions, and ten of them in a row at first: a source in trouble is not asked
/// three times as often as one that is well.
#[derive(Debug)]
struct RetryBudget {
    tenths: AtomicU32,
}

/// What one retry costs, in tenths.
const COST: u32 = 10;

/// The most that is saved up, in tenths: ten retries.
const MOST_SAVED: u32 = 10 * COST;

impl Default for RetryBudget {
    fn default() -> Self {
        Self { tenths: AtomicU32::new(MOST_SAVED) }
    }
}

impl RetryBudget {
    fn asked(&self) {
        let more = |it: u32| Some((it + 1).min(MOST_SAVED));
        let _ = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    fn may_ask_again(&self) -> bool {
        let less = |it: u32| it.checked_sub(COST);
        self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_ten_at_first_and_a_tenth_of_all_questions_then() {
        let budget = RetryBudget::default();
        let granted = |budget: &RetryBudget, questions: u32| {
            (0..questions)
                .filter(|_| {
                    budget.asked();
                    budget.may_ask_again()
                })
                .count()
        };
        assert_eq!(granted(&budget, 10), 10);
        let later = granted(&budget, 1000);
        assert!((99..=101).contains(&later), "{later}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut config = SourceConfig::new("http://127.0.0.1:9090");
        config.credentials = Some(Credentials::Bearer(Secret::new("hunter2")));
        config.headers = vec![("x-key".to_owned(), Secret::new("hunter2"))];
        assert!(!format!("{config:?}").contains("hunter2"));
        let source = Source::new(config).unwrap();
        assert!(!format!("{source:?}").contains("hunter2"));
        let mut config = SourceConfig::new("http://127.0.0.1:9090");
        config.headers = vec![("x-key".to_owned(), Secret::new("hunter2\r\nx: y"))];
        assert!(!Source::new(config).unwrap_err().to_string().contains("hunter2"));
    }
}
