//! Which instance acts: a Lease (Kubernetes API, `coordination.k8s.io/v1`) that one of them holds.
//!
//! Whoever holds it renews it three times per lease. Others take it over once it has stood unchanged for as long as it
//! says, by their own clock. The holder stops writing a tenth before that, by its own: no clock is compared with another.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use strategies::Name;
use tokio::sync::watch;

use super::api::{Api, Failed, Server as _};
use crate::{
    clock,
    object::{Kind, ObjectRef, ObjectWrite, Verb, text, version},
    port::Unavailable,
};

/// Until when writes may be made. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Authority(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug)]
enum Until {
    Always,
    Then(Instant),
    Never,
}

impl Authority {
    /// For whoever acts for a person: no other instance does the same.
    pub(super) fn always() -> Self {
        Self(Arc::new(Mutex::new(Until::Always)))
    }

    /// Not yet.
    pub(super) fn never() -> Self {
        Self(Arc::new(Mutex::new(Until::Never)))
    }

    /// How long writes may still be made; `None`: they may not.
    pub(super) fn left(&self) -> Option<Duration> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Always => Some(Duration::MAX),
            Until::Then(at) => at.checked_duration_since(clock::instant()).filter(|it| !it.is_zero()),
            Until::Never => None,
        }
    }

    fn set(&self, until: Until) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }
}

/// How one instance is elected.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Namespace of the Lease.
    pub namespace: Name,
    /// Its name.
    pub name: Name,
    /// What this instance is called.
    pub identity: String,
    /// How long a lease stands that is not renewed. At least 1s.
    pub duration: Duration,
}

/// An election.
pub(super) struct Election {
    terms: Terms,
    api: Api,
    authority: Authority,
    leads: watch::Sender<bool>,
    /// As it was seen last, and since when it stands so.
    seen: Option<(Value, Instant)>,
}

impl Election {
    /// Takes part; `api`: whose writes need no authority.
    pub(super) fn new(terms: Terms, api: &Api, authority: Authority, leads: watch::Sender<bool>) -> Self {
        let api = api.within(terms.namespace.clone());
        Self { terms, api, authority, leads, seen: None }
    }

    /// Takes part until told to stop; then hands the lease over.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let began = clock::instant();
            match self.try_once(began).await {
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, "the lease"),
            }
            let leads = self.authority.left().is_some();
            self.leads.send_if_modified(|it| std::mem::replace(it, leads) != leads);
            let stopped = tokio::select! {
                () = tokio::time::sleep(self.pause(leads)) => false,
                // Nobody is left to tell it is the same as being told.
                _ = stop.wait_for(|it| *it) => true,
            };
            if stopped {
                return self.hand_over().await;
            }
        }
    }

    /// Who does not hold it looks more often than who does: what is left of a lease is waited for to its end.
    fn pause(&self, leads: bool) -> Duration {
        let part = self.terms.duration / if leads { 3 } else { 8 };
        part.max(Duration::from_millis(50))
    }

    async fn try_once(&mut self, began: Instant) -> Result<(), Unavailable> {
        let of = self.object();
        let held_by_us = self.seen.as_ref().is_some_and(|(it, _)| self.is_ours(it));
        if !held_by_us {
            let now = self.api.get(&of).await?;
            let Some(now) = now else { return self.write(None, began).await };
            let stands = self.seen.take().filter(|(it, _)| version(it) == version(&now));
            let since = stands.map_or_else(clock::instant, |(_, since)| since);
            self.seen = Some((now, since));
        }
        let Some((seen, since)) = self.seen.clone() else { return Ok(()) };
        let free = text(&seen, "/spec/holderIdentity").is_none_or(str::is_empty);
        let lasts = seen.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64).unwrap_or(0);
        if self.is_ours(&seen) || free || since.elapsed() > Duration::from_secs(lasts) {
            return self.write(Some(&seen), began).await;
        }
        Ok(())
    }

    async fn write(&mut self, seen: Option<&Value>, began: Instant) -> Result<(), Unavailable> {
        let write = self.renewal(seen);
        match self.api.send(&write).await {
            Ok(now) => {
                let lasts = Duration::from_secs(self.seconds());
                self.authority.set(Until::Then(began + lasts - lasts / 10));
                self.seen = now.map(|it| (it, clock::instant()));
                Ok(())
            }
            Err(failed) => {
                // It is looked at again before anything else.
                self.seen = self.seen.take().filter(|(it, _)| !self.is_ours(it));
                match failed {
                    Failed::Status(409 | 404, _) => Ok(()),
                    failed @ (Failed::Status(..) | Failed::NoAuthority | Failed::Other(_)) => {
                        Err(failed.unavailable("cannot renew the lease"))
                    }
                }
            }
        }
    }

    fn renewal(&self, seen: Option<&Value>) -> ObjectWrite {
        let now = micro(clock::wall());
        let Terms { name, identity, .. } = &self.terms;
        let ours = seen.is_some_and(|it| self.is_ours(it));
        let changes = seen.and_then(|it| it.pointer("/spec/leaseTransitions")).and_then(Value::as_u64);
        let changes = changes.map_or(0, |it| it + u64::from(!ours));
        let acquired = match seen.filter(|_| ours).and_then(|it| text(it, "/spec/acquireTime")) {
            Some(at) => at.to_owned(),
            None => now.clone(),
        };
        let spec = json!({ "holderIdentity": identity, "leaseDurationSeconds": self.seconds(),
            "acquireTime": acquired, "renewTime": now, "leaseTransitions": changes });
        let object = self.object();
        match seen {
            None => {
                let Kind { api_version, kind } = &object.kind;
                let body = json!({ "apiVersion": api_version.as_str(), "kind": kind.as_str(),
                    "metadata": { "name": name.as_str() }, "spec": spec });
                ObjectWrite::create(object, body)
            }
            Some(seen) => {
                let body = json!([{ "op": "add", "path": "/spec", "value": spec }]);
                ObjectWrite { object, verb: Verb::Patch, expected: version(seen), body }
            }
        }
    }

    /// Lets another instance begin at once.
    async fn hand_over(mut self) {
        self.authority.set(Until::Never);
        self.leads.send_replace(false);
        let Some((seen, _)) = self.seen.take().filter(|(it, _)| self.is_ours(it)) else { return };
        let body = json!([{ "op": "add", "path": "/spec/holderIdentity", "value": "" }]);
        let write = ObjectWrite { object: self.object(), verb: Verb::Patch, expected: version(&seen), body };
        if let Err(error) = self.api.send(&write).await {
            let error = error.unavailable("cannot hand the lease over");
            tracing::warn!(%error, "another instance begins when it has run out");
        }
    }

    fn is_ours(&self, lease: &Value) -> bool {
        text(lease, "/spec/holderIdentity") == Some(self.terms.identity.as_str())
    }

    fn seconds(&self) -> u64 {
        self.terms.duration.as_secs().max(1)
    }

    fn object(&self) -> ObjectRef {
        Kind::new("coordination.k8s.io/v1", "Lease").named(self.terms.name.as_str())
    }
}

/// A moment as `MicroTime` has it: always six digits.
pub(super) fn micro(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_six_digits_whatever_it_is() {
        let at: jiff::Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        assert_eq!(micro(at), "2026-01-31T12:00:00.000000Z");
    }

    #[test]
    fn authority_ends_by_itself() {
        let authority = Authority::never();
        assert_eq!(authority.left(), None);
        authority.set(Until::Then(clock::instant() + Duration::from_hours(1)));
        assert!(authority.left().is_some());
        authority.set(Until::Then(clock::instant()));
        assert_eq!(authority.left(), None);
        assert_eq!(Authority::always().left(), Some(Duration::MAX));
    }
}
