//! A listener's certificate, read again when its files change.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// How often the files are looked at, at most; only when somebody connects.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Largest file that is read, bytes.
const LARGEST: u64 = 1 << 20;

/// A certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or not for us to read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} is not PEM of the expected kind: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// A chain of nothing.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Two files of two pairs.
    #[error("the private key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Foreign {
        /// The chain.
        certificate: PathBuf,
        /// The key of another one.
        key: PathBuf,
    },
    /// Nothing that can be served.
    #[error("certificate {} and key {} do not serve: {source}", certificate.display(), key.display())]
    Unusable {
        /// The chain.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
}

/// Whether these files can be served with: they can be read, and belong together.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn check(certificate: &Path, key: &Path) -> Result<(), TlsError> {
    load(certificate, key).map(drop)
}

/// A certificate and when it was last looked at. Files that cannot be used are looked at again and again: nobody has to
/// tell the proxy that they have been mended.
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// The last good one; `None`: there has been none, and nobody can be served.
    config: Option<Arc<ServerConfig>>,
    seen: Option<Seen>,
    looked: Option<Instant>,
    trouble: Option<String>,
}

/// What tells one content of both files from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen([(u64, u64, i64, i64); 2]);

impl Tls {
    /// These files, or what was opened before if they are the same ones. Where they cannot be used, what was served
    /// before goes on being served.
    pub(super) fn open(
        certificate: &Path,
        key: &Path,
        before: Option<&Arc<Self>>,
        now: Instant,
    ) -> Arc<Self> {
        if let Some(same) = before.filter(|it| it.certificate == certificate && it.key == key) {
            same.look_again(&mut same.lock(), now);
            return Arc::clone(same);
        }
        let config = before.and_then(|it| it.lock().config.clone());
        let state = Mutex::new(State { config, seen: None, looked: None, trouble: None });
        let opened = Self { certificate: certificate.to_owned(), key: key.to_owned(), state };
        opened.look_again(&mut opened.lock(), now);
        Arc::new(opened)
    }

    /// The configuration for a handshake that begins now; `None`: there has never been a good one.
    pub(super) fn config(&self, now: Instant) -> Option<Arc<ServerConfig>> {
        let mut state = self.lock();
        self.look_if_due(&mut state, now);
        state.config.clone()
    }

    /// What is wrong with the files now.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let mut state = self.lock();
        self.look_if_due(&mut state, now);
        state.trouble.clone()
    }

    fn look_if_due(&self, state: &mut State, now: Instant) {
        if state.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY) {
            self.look_again(state, now);
        }
    }

    fn look_again(&self, state: &mut State, now: Instant) {
        state.looked = Some(now);
        let reloaded = look(&self.certificate, &self.key).and_then(|seen| match state.seen == Some(seen) {
            true => Ok(None),
            false => load(&self.certificate, &self.key).map(|config| Some((config, seen))),
        });
        match reloaded {
            Ok(Some((config, seen))) => {
                tracing::info!(certificate = %self.certificate.display(), "certificate read");
                (state.config, state.seen, state.trouble) = (Some(config), Some(seen), None);
            }
            Ok(None) => state.trouble = None,
            Err(error) => {
                let then = match state.config {
                    Some(_) => "the one read before is served",
                    None => "nobody can be served at this address until it is mended",
                };
                let trouble = format!("{error}; {then}");
                if state.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(trouble, "a certificate cannot be used");
                }
                state.trouble = Some(trouble);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(certificate: &Path, key: &Path) -> Result<Seen, TlsError> {
    let of = |path: &Path| {
        let failed = |source| TlsError::Read { path: path.to_owned(), source };
        let marks = |meta: Metadata| (meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        std::fs::metadata(path).map(marks).map_err(failed)
    };
    Ok(Seen([of(certificate)?, of(key)?]))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::Pem { path, source }
    };
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(pem(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.to_owned() });
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(pem(key))?;
    let unusable = |source| {
        let (certificate, key) = (certificate.to_owned(), key.to_owned());
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            return TlsError::Foreign { certificate, key };
        }
        TlsError::Unusable { certificate, key, source }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, private).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
