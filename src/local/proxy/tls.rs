//! A listener's certificate, read again when its files change.

use std::{
    cell::Cell,
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
pub(super) enum TlsError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is not PEM of the expected kind: {source}")]
    Pem { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("{path} holds no certificate")]
    Empty { path: PathBuf },
    #[error("certificate {certificate} and key {key} do not serve: {source}")]
    Unusable { certificate: PathBuf, key: PathBuf, source: rustls::Error },
}

/// A certificate and when it was last looked at.
pub(super) struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    state: Mutex<State>,
}

struct State {
    config: Arc<ServerConfig>,
    seen: Seen,
    looked: Cell<Option<Instant>>,
}

/// What tells one content of both files from another.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen([(u64, u64, i64, i64); 2]);

impl Tls {
    /// Opens the files, or goes on with what was opened before if they are the same ones.
    pub(super) fn open(
        certificate: &Path,
        key: &Path,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, TlsError> {
        let seen = look(certificate, key)?;
        if let Some(before) = before.filter(|before| before.certificate == certificate && before.key == key)
            && before.lock().seen == seen
        {
            return Ok(Arc::clone(before));
        }
        let config = load(certificate, key)?;
        let state = Mutex::new(State { config, seen, looked: Cell::new(None) });
        Ok(Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), state }))
    }

    /// The configuration for a handshake that begins now. Files that changed and can't be used leave the last
    /// good ones in force.
    pub(super) fn config(&self, now: Instant) -> Arc<ServerConfig> {
        let mut state = self.lock();
        if state.looked.get().is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return Arc::clone(&state.config);
        }
        state.looked.set(Some(now));
        let reloaded = look(&self.certificate, &self.key).and_then(|seen| {
            let changed = seen != state.seen;
            changed
                .then(|| load(&self.certificate, &self.key))
                .transpose()
                .map(|config| config.map(|c| (c, seen)))
        });
        match reloaded {
            Ok(Some((config, seen))) => {
                tracing::info!(certificate = %self.certificate.display(), "certificate read again");
                (state.config, state.seen) = (config, seen);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "certificate changed and can't be used; the last good one stays")
            }
        }
        Arc::clone(&state.config)
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
    let unusable =
        |source| TlsError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(unusable)?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, private).map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
