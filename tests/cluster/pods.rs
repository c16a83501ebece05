//! Pods as they come and go.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt as _;
use kube::core::WatchEvent;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lab::{Lab, Who};

/// A node on which pods are played, not run.
pub(crate) fn node(name: &str) -> Value {
    let room = json!({ "cpu": "1000", "memory": "1000Gi", "pods": "10000" });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name },
            "annotations": { "kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0" } },
        "spec": {}, "status": { "allocatable": room, "capacity": room },
    })
}

/// What happened to the pods of a namespace since it is watched.
#[derive(Default)]
struct Seen {
    /// Image and readiness of those that are there, by uid.
    present: BTreeMap<String, (String, bool)>,
    /// Those that were ever there, by image.
    born: BTreeMap<String, u32>,
    /// Fewest that were ready at once since the last mark: of all images together.
    least: u32,
}

pub(crate) struct Pods {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pods {
    pub(crate) fn watch(lab: &Lab, namespace: &str) -> Self {
        let client = lab.client(Who::Admin);
        let path = format!(
            "/api/v1/namespaces/{namespace}/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        );
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = Arc::clone(&seen);
        let task = lab.spawn(async move {
            let request = http::Request::get(path).body(vec![]).unwrap();
            let events = client.request_events::<Value>(request).await.unwrap();
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event.unwrap() {
                    WatchEvent::Added(it) | WatchEvent::Modified(it) => noted.lock().unwrap().is(&it),
                    WatchEvent::Deleted(it) => noted.lock().unwrap().gone(&it),
                    WatchEvent::Bookmark(_) => {}
                    WatchEvent::Error(status) => panic!("the watch ended: {status:?}"),
                }
            }
        });
        Self { seen, task }
    }

    /// Pods that were ever born with this image.
    pub(crate) fn born(&self, image: &str) -> u32 {
        self.seen.lock().unwrap().born.get(image).copied().unwrap_or(0)
    }

    /// Pods of this image that are ready.
    pub(crate) fn ready(&self, image: &str) -> u32 {
        let seen = self.seen.lock().unwrap();
        count(seen.present.values().filter(|it| it.0 == image && it.1))
    }

    /// Pods that are there.
    pub(crate) fn present(&self) -> u32 {
        count(self.seen.lock().unwrap().present.values())
    }

    /// From now on the fewest are counted.
    pub(crate) fn mark(&self) {
        let mut seen = self.seen.lock().unwrap();
        seen.least = seen.ready();
    }

    /// Fewest pods that were ready at once since the last mark.
    pub(crate) fn least(&self) -> u32 {
        self.seen.lock().unwrap().least
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).unwrap()
}

impl Seen {
    fn is(&mut self, pod: &Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap().to_owned();
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
        let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
        let ready = ready && pod["metadata"]["deletionTimestamp"].is_null();
        if self.present.insert(uid, (image.clone(), ready)).is_none() {
            *self.born.entry(image).or_default() += 1;
        }
        self.least = self.least.min(self.ready());
    }

    fn gone(&mut self, pod: &Value) {
        self.present.remove(pod["metadata"]["uid"].as_str().unwrap());
        self.least = self.least.min(self.ready());
    }

    fn ready(&self) -> u32 {
        count(self.present.values().filter(|it| it.1))
    }
}
