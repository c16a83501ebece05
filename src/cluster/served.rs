//! Which kinds the server knows, and how it calls them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::{
    Client,
    core::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
};
use strategies::Name;

use crate::{object::Kind, port::Unavailable};

/// What the server has said of kinds so far. Clones share it.
#[derive(Clone)]
pub(super) struct Served {
    client: Client,
    /// How long one question may take.
    deadline: Duration,
    known: Arc<Mutex<BTreeMap<Kind, Resource>>>,
}

/// How a kind is served.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) resource: ApiResource,
    pub(super) within: Within,
}

/// Where objects of a kind are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Within {
    Namespaces,
    Cluster,
}

impl Served {
    pub(super) fn new(client: Client, deadline: Duration) -> Self {
        Self { client, deadline, known: Arc::default() }
    }

    /// How a kind is served; `None`: the server does not know it, for now.
    ///
    /// # Errors
    /// When it does not say.
    pub(super) async fn resource(&self, kind: &Kind) -> Result<Option<Resource>, Unavailable> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(kind).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.discover(kind).await?;
        if let Some(it) = &found {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(kind.clone(), it.clone());
        }
        Ok(found)
    }

    async fn discover(&self, kind: &Kind) -> Result<Option<Resource>, Unavailable> {
        let version = kind.api_version.as_str().rsplit('/').next().unwrap_or_default();
        let wanted = GroupVersionKind::gvk(kind.group(), version, kind.kind.as_str());
        let what = format!("cannot ask whether {} is served", kind.kind);
        let asked = tokio::time::timeout(self.deadline, discovery::pinned_kind(&self.client, &wanted)).await;
        let late = || Unavailable {
            what: what.clone(),
            why: format!("no answer within {}", humantime::format_duration(self.deadline)),
        };
        match asked.map_err(|_| late())? {
            Ok((resource, capabilities)) => {
                let within = match capabilities.scope {
                    Scope::Cluster => Within::Cluster,
                    Scope::Namespaced => Within::Namespaces,
                };
                Ok(Some(Resource { resource, within }))
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(error) => Err(Unavailable::new(what, &error)),
        }
    }
}

impl Resource {
    /// Where its objects are.
    pub(super) fn path(&self, namespace: &Name, name: Option<&str>) -> String {
        let root = if self.resource.group.is_empty() { "/api" } else { "/apis" };
        let (version, plural) = (&self.resource.api_version, &self.resource.plural);
        let base = match self.within {
            Within::Namespaces => format!("{root}/{version}/namespaces/{namespace}/{plural}"),
            Within::Cluster => format!("{root}/{version}/{plural}"),
        };
        match name {
            Some(name) => format!("{base}/{name}"),
            None => base,
        }
    }
}
