//! The API server as one identity sees it.

use std::{collections::BTreeMap, time::Duration};

use kube::{
    Client,
    core::{ApiResource, GroupVersionKind},
    discovery,
};
use serde_json::{Value, json};
use strategies::Name;

use crate::{
    object::{Kind, MANAGER, Need, ObjectRef, ObjectWrite, Objects, Verb, Which, text},
    port::{Unavailable, WriteError},
};

/// Objects of one namespace.
pub struct Api {
    client: Client,
    namespace: Name,
    /// How long one call may take.
    deadline: Duration,
    /// How the kinds are served; `None`: the server does not know the kind.
    served: BTreeMap<Kind, Option<ApiResource>>,
}

impl Api {
    /// Objects of this namespace. No call takes longer than `deadline`.
    #[must_use]
    pub fn new(client: Client, namespace: Name, deadline: Duration) -> Self {
        Self { client, namespace, deadline, served: BTreeMap::new() }
    }

    /// Whether the server knows this kind.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn serves(&mut self, kind: &Kind) -> Result<bool, Unavailable> {
        Ok(self.path(kind, None).await?.is_some())
    }

    /// One object; `None`: there is none.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn get(&mut self, of: &ObjectRef) -> Result<Option<Value>, Unavailable> {
        let Some(path) = self.path(&of.kind, Some(of.name.as_str())).await? else { return Ok(None) };
        match self.call("GET", &path, "", vec![]).await {
            Ok(object) => Ok(Some(object)),
            Err(Failed::Status(404, _)) => Ok(None),
            Err(failed) => Err(failed.unavailable(&format!("cannot read {of}"))),
        }
    }

    /// Everything that is needed, read one kind after the other.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn read(&mut self, needs: &[Need], owner: &Name) -> Result<Objects, Unavailable> {
        let mut objects = Objects::default();
        for need in needs {
            let found = self.find(need, owner).await?;
            found.into_iter().for_each(|it| objects.insert(it));
        }
        Ok(objects)
    }

    async fn find(&mut self, need: &Need, owner: &Name) -> Result<Vec<Value>, Unavailable> {
        let kind = &need.kind;
        match &need.which {
            Which::Named(name) => Ok(self.get(&kind.named(name.as_str())).await?.into_iter().collect()),
            Which::Labelled(key, value) => self.list(kind, &format!("{key}={value}")).await,
            Which::All => self.list(kind, "").await,
            Which::Ours => {
                let mut all = self.list(kind, "").await?;
                all.retain(|it| is_controlled_by(it, owner.as_str()));
                Ok(all)
            }
            Which::SelectedBy(workload) => {
                let Some(workload) = self.get(workload).await? else { return Ok(vec![]) };
                match workload.pointer("/spec/selector").and_then(selector) {
                    Some(selector) => self.list(kind, &selector).await,
                    None => Ok(vec![]),
                }
            }
        }
    }

    async fn list(&mut self, kind: &Kind, selector: &str) -> Result<Vec<Value>, Unavailable> {
        let Some(path) = self.path(kind, None).await? else { return Ok(vec![]) };
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("labelSelector", selector)
            .finish();
        let list = self.call("GET", &format!("{path}?{query}"), "", vec![]).await;
        let list = list.map_err(|it| it.unavailable(&format!("cannot list {}s", kind.kind)))?;
        let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let named = |mut it: Value| {
            (it["apiVersion"], it["kind"]) = (json!(kind.api_version.as_str()), json!(kind.kind.as_str()));
            it
        };
        Ok(items.into_iter().map(named).collect())
    }

    /// Writes if the object still is as it was seen.
    ///
    /// # Errors
    /// [`WriteError`]: whether it was accepted is unknown where the server did not answer.
    pub async fn write(&mut self, write: &ObjectWrite) -> Result<(), WriteError> {
        let ObjectWrite { object, verb, .. } = write;
        let name = (*verb != Verb::Create).then_some(object.name.as_str());
        let unserved =
            || WriteError::Refused { why: format!("this cluster does not serve {}", object.kind.kind) };
        let path = self.path(&object.kind, name).await?.ok_or_else(unserved)?;
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
        let body = serde_json::to_vec(&body).unwrap_or_default();
        match self.call(method, &path, content, body).await {
            Ok(_) => Ok(()),
            // There already, another one, or gone: what was decided was decided on something else.
            Err(Failed::Status(409 | 404, _)) => Err(WriteError::Conflict),
            Err(Failed::Status(400 | 403 | 405 | 413 | 422, why)) => Err(WriteError::Refused { why }),
            Err(failed) => Err(failed.unavailable(&format!("cannot write {object}")).into()),
        }
    }

    /// Where the objects of a kind are; `None`: the server does not know it.
    async fn path(&mut self, kind: &Kind, name: Option<&str>) -> Result<Option<String>, Unavailable> {
        if !self.served.contains_key(kind) {
            let served = self.discover(kind).await?;
            self.served.insert(kind.clone(), served);
        }
        let Some(Some(resource)) = self.served.get(kind) else { return Ok(None) };
        let base = resource_path(resource, self.namespace.as_str());
        Ok(Some(match name {
            Some(name) => format!("{base}/{name}"),
            None => base,
        }))
    }

    async fn discover(&self, kind: &Kind) -> Result<Option<ApiResource>, Unavailable> {
        let version = kind.api_version.as_str().rsplit('/').next().unwrap_or_default();
        let wanted = GroupVersionKind::gvk(kind.group(), version, kind.kind.as_str());
        let what = format!("cannot ask whether {} is served", kind.kind);
        let asked = tokio::time::timeout(self.deadline, discovery::pinned_kind(&self.client, &wanted)).await;
        match asked.map_err(|_| late(&what, self.deadline))? {
            Ok((resource, _)) => Ok(Some(resource)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(kube::Error::Discovery(_)) => Ok(None),
            Err(error) => Err(Unavailable::new(what, &error)),
        }
    }

    async fn call(&self, method: &str, path: &str, content: &str, body: Vec<u8>) -> Result<Value, Failed> {
        let mut request = http::Request::builder().method(method).uri(path);
        if !content.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, content);
        }
        let request = request.body(body).map_err(|it| Failed::Other(it.to_string()))?;
        match tokio::time::timeout(self.deadline, self.client.request::<Value>(request)).await {
            Err(_) => Err(Failed::Other(format!("no answer within {:?}", self.deadline))),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(Failed::Status(status.code, status.message.clone())),
            Ok(Err(error)) => Err(Failed::Other(error.to_string())),
        }
    }
}

/// A call came to nothing.
#[derive(Debug)]
enum Failed {
    /// The server said so: its code, and its words.
    Status(u16, String),
    Other(String),
}

impl Failed {
    fn unavailable(self, what: &str) -> Unavailable {
        let why = match self {
            Self::Status(code, why) => format!("{why} ({code})"),
            Self::Other(why) => why,
        };
        Unavailable { what: what.to_owned(), why }
    }
}

fn late(what: &str, deadline: Duration) -> Unavailable {
    Unavailable { what: what.to_owned(), why: format!("no answer within {deadline:?}") }
}

fn resource_path(resource: &ApiResource, namespace: &str) -> String {
    let root = if resource.group.is_empty() { "/api" } else { "/apis" };
    format!("{root}/{}/namespaces/{namespace}/{}", resource.api_version, resource.plural)
}

fn is_controlled_by(object: &Value, uid: &str) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    owners.into_iter().flatten().any(|it| it["controller"] == true && it["uid"] == uid)
}

/// A label selector as a query has it; `None`: it selects nothing, or says what no query can.
fn selector(selector: &Value) -> Option<String> {
    let mut all = vec![];
    for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        all.push(format!("{key}={}", value.as_str()?));
    }
    for it in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(it, "/key")?;
        let values = it["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        all.push(match text(it, "/operator")? {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!all.is_empty()).then(|| all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_of_labels_and_expressions_is_one_query() {
        let given = json!({ "matchLabels": { "app": "shop" }, "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["web", "api"] },
            { "key": "old", "operator": "DoesNotExist" },
        ] });
        assert_eq!(selector(&given).as_deref(), Some("app=shop,tier in (web,api),!old"));
        assert_eq!(selector(&json!({})), None, "nothing is not everything");
    }
}
