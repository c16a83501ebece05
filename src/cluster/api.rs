//! The API server as one identity sees it.

use std::{future::Future, time::Duration};

use kube::Client;
use serde_json::{Value, json};
use strategies::Name;

use super::{
    cache::controller,
    lease::Authority,
    selector::Selector,
    served::{Resource, Served},
};
use crate::{
    object::{Kind, MANAGER, Need, ObjectRef, ObjectWrite, Objects, Verb, Which},
    port::{Unavailable, WriteError},
};

/// Whoever knows the objects of one namespace and writes them.
pub trait Server: Send + Sync {
    /// One object; `None`: there is none.
    ///
    /// # Errors
    /// When nobody says.
    fn get(&mut self, of: &ObjectRef) -> impl Future<Output = Result<Option<Value>, Unavailable>> + Send;

    /// Everything that is needed; `owner`: the uid of the Rollout.
    ///
    /// # Errors
    /// When nobody says.
    fn read(
        &mut self,
        needs: &[Need],
        owner: &Name,
    ) -> impl Future<Output = Result<Objects, Unavailable>> + Send;

    /// Why some of it is not known, in sentences.
    fn troubles(&self, needs: &[Need]) -> Vec<String>;

    /// Writes if the object still is as it was seen.
    ///
    /// # Errors
    /// [`WriteError`]: whether it was accepted is unknown where the server did not answer.
    fn write(&mut self, write: &ObjectWrite) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// Objects of one namespace, asked for each time.
#[derive(Clone)]
pub struct Api {
    client: Client,
    namespace: Name,
    /// How long one call may take.
    deadline: Duration,
    served: Served,
    authority: Authority,
}

impl Api {
    /// Objects of this namespace. No call takes longer than `deadline`.
    #[must_use]
    pub fn new(client: Client, namespace: Name, deadline: Duration) -> Self {
        let served = Served::new(client.clone(), deadline);
        Self { client, namespace, deadline, served, authority: Authority::always() }
    }

    /// The same in another namespace.
    pub(super) fn within(&self, namespace: Name) -> Self {
        Self { namespace, ..self.clone() }
    }

    /// The same, and nothing is written when this is over.
    pub(super) fn under(self, authority: Authority) -> Self {
        Self { authority, ..self }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    pub(super) fn namespace(&self) -> &Name {
        &self.namespace
    }

    /// Whether the server knows this kind.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn serves(&self, kind: &Kind) -> Result<bool, Unavailable> {
        Ok(self.served.resource(kind).await?.is_some())
    }

    /// All objects of a kind in the namespace, or of these labels.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn list(
        &self,
        kind: &Kind,
        selector: Option<&Selector>,
    ) -> Result<Vec<Value>, Unavailable> {
        let Some(resource) = self.served.resource(kind).await? else { return Ok(vec![]) };
        self.list_at(kind, &resource.path(&self.namespace, None), selector).await
    }

    /// All objects of a kind in all namespaces.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn list_everywhere(&self, kind: &Kind) -> Result<Vec<Value>, Unavailable> {
        let Some(Resource { resource, .. }) = self.served.resource(kind).await? else { return Ok(vec![]) };
        let root = if resource.group.is_empty() { "/api" } else { "/apis" };
        let path = format!("{root}/{}/{}", resource.api_version, resource.plural);
        self.list_at(kind, &path, None).await
    }

    async fn list_at(
        &self,
        kind: &Kind,
        path: &str,
        selector: Option<&Selector>,
    ) -> Result<Vec<Value>, Unavailable> {
        let query = selector.map(|it| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("labelSelector", &it.query()).finish()
        });
        let path = format!("{path}?{}", query.unwrap_or_default());
        let list = self.call("GET", &path, "", vec![]).await;
        let list = list.map_err(|it| it.unavailable(&format!("cannot list {}s", kind.kind)))?;
        let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let named = |mut it: Value| {
            (it["apiVersion"], it["kind"]) = (json!(kind.api_version.as_str()), json!(kind.kind.as_str()));
            it
        };
        Ok(items.into_iter().map(named).collect())
    }

    async fn find(&mut self, need: &Need, owner: &Name) -> Result<Vec<Value>, Unavailable> {
        let kind = &need.kind;
        match &need.which {
            Which::Named(name) => Ok(self.get(&kind.named(name.as_str())).await?.into_iter().collect()),
            Which::Labelled(key, value) => {
                self.list(kind, Some(&Selector::label(key.as_str(), value.as_str()))).await
            }
            Which::All => self.list(kind, None).await,
            Which::Ours => {
                let mut all = self.list(kind, None).await?;
                all.retain(|it| controller(it) == Some(owner.as_str()));
                Ok(all)
            }
            Which::SelectedBy(workload) => {
                let Some(workload) = self.get(workload).await? else { return Ok(vec![]) };
                match workload.pointer("/spec/selector").and_then(Selector::of) {
                    Some(selector) => self.list(kind, Some(&selector)).await,
                    None => Ok(vec![]),
                }
            }
        }
    }

    /// Writes, and says what the object is then; `None`: it is gone.
    ///
    /// # Errors
    /// [`Failed`].
    pub(super) async fn send(&self, write: &ObjectWrite) -> Result<Option<Value>, Failed> {
        let ObjectWrite { object, verb, .. } = write;
        let name = (*verb != Verb::Create).then_some(object.name.as_str());
        let resource =
            self.served.resource(&object.kind).await.map_err(|it| Failed::Other(it.to_string()))?;
        let unserved = || Failed::Status(405, format!("this cluster does not serve {}", object.kind.kind));
        let path = resource.ok_or_else(unserved)?.path(&self.namespace, name);
        let manager = format!("fieldManager={MANAGER}");
        let patch = "application/json-patch+json";
        let (method, path, content, body) = match verb {
            Verb::Create => ("POST", format!("{path}?{manager}"), "application/json", write.body.clone()),
            Verb::Patch => ("PATCH", format!("{path}?{manager}"), patch, write.guarded()),
            Verb::PatchStatus => ("PATCH", format!("{path}/status?{manager}"), patch, write.guarded()),
            Verb::Delete => {
                let version = write.expected.as_ref().map(|it| it.0.as_str());
                let body = json!({ "apiVersion": "v1", "kind": "DeleteOptions",
                    "propagationPolicy": "Background", "preconditions": { "resourceVersion": version } });
                ("DELETE", path, "application/json", body)
            }
        };
        let left = self.authority.left().ok_or(Failed::NoAuthority)?;
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let answer = self.call_within(left.min(self.deadline), method, &path, content, body).await;
        let mut object = answer?;
        if *verb == Verb::Delete {
            return Ok(None);
        }
        let Kind { api_version, kind } = &write.object.kind;
        (object["apiVersion"], object["kind"]) = (json!(api_version.as_str()), json!(kind.as_str()));
        Ok(Some(object))
    }

    async fn call(&self, method: &str, path: &str, content: &str, body: Vec<u8>) -> Result<Value, Failed> {
        self.call_within(self.deadline, method, path, content, body).await
    }

    async fn call_within(
        &self,
        deadline: Duration,
        method: &str,
        path: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Result<Value, Failed> {
        let mut request = http::Request::builder().method(method).uri(path);
        if !content.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, content);
        }
        let request = request.body(body).map_err(|it| Failed::Other(it.to_string()))?;
        match tokio::time::timeout(deadline, self.client.request::<Value>(request)).await {
            Err(_) => {
                Err(Failed::Other(format!("no answer within {}", humantime::format_duration(deadline))))
            }
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(Failed::Status(status.code, status.message.clone())),
            Ok(Err(error)) => Err(Failed::Other(Unavailable::new("", &error).why)),
        }
    }
}

impl Server for Api {
    async fn get(&mut self, of: &ObjectRef) -> Result<Option<Value>, Unavailable> {
        let Some(resource) = self.served.resource(&of.kind).await? else { return Ok(None) };
        let path = resource.path(&self.namespace, Some(of.name.as_str()));
        match self.call("GET", &path, "", vec![]).await {
            Ok(object) => Ok(Some(object)),
            Err(Failed::Status(404, _)) => Ok(None),
            Err(failed) => Err(failed.unavailable(&format!("cannot read {of}"))),
        }
    }

    async fn read(&mut self, needs: &[Need], owner: &Name) -> Result<Objects, Unavailable> {
        let mut objects = Objects::default();
        for need in needs {
            let found = self.find(need, owner).await?;
            found.into_iter().for_each(|it| objects.insert(it));
        }
        Ok(objects)
    }

    fn troubles(&self, _: &[Need]) -> Vec<String> {
        vec![]
    }

    async fn write(&mut self, write: &ObjectWrite) -> Result<(), WriteError> {
        self.send(write).await.map(drop).map_err(|it| it.of_write(&write.object))
    }
}

/// A call came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server said so: its code, and its words.
    Status(u16, String),
    /// Another instance may lead by now.
    NoAuthority,
    Other(String),
}

impl Failed {
    pub(super) fn unavailable(self, what: &str) -> Unavailable {
        let why = match self {
            Self::Status(code, why) => format!("{why} ({code})"),
            Self::NoAuthority => "another instance leads".to_owned(),
            Self::Other(why) => why,
        };
        Unavailable { what: what.to_owned(), why }
    }

    /// The same of a write of this object.
    pub(super) fn of_write(self, object: &ObjectRef) -> WriteError {
        match self {
            // There already, another one, or gone: what was decided was decided on something else.
            Self::Status(409 | 404, _) => WriteError::Conflict,
            Self::Status(400 | 403 | 405 | 413 | 422, why) => WriteError::Refused { why },
            it @ (Self::Status(..) | Self::NoAuthority | Self::Other(_)) => {
                it.unavailable(&format!("cannot write {object}")).into()
            }
        }
    }
}
