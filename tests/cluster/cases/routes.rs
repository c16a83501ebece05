//! Routes as the API server takes them: its schema, its defaults, its own validation.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use serinus::{
    cluster::{Api, Server as _},
    object::{Need, Towards},
    router::{About, RouteAsk, RouteCodec, Traffic},
};
use strategies::Epoch;

use crate::{
    engine::made,
    lab::{Lab, Who},
    splits::{about, splits},
};

struct Written<'a> {
    lab: &'a Lab,
    api: Api,
    codec: &'a dyn RouteCodec,
    needs: Vec<Need>,
    about: About,
}

impl Written<'_> {
    fn objects(&mut self) -> serinus::object::Objects {
        self.lab.block_on(self.api.read(&self.needs, &self.about.uid)).unwrap()
    }

    /// Writes until it is so; how many writes it took.
    fn reach(&mut self, ask: &RouteAsk) -> usize {
        for count in 0..8 {
            let objects = self.objects();
            match self.codec.towards(ask, &objects, &self.about).unwrap() {
                Towards::Reached => return count,
                Towards::Write(write) => {
                    let written = self.lab.block_on(self.api.write(&write));
                    written.unwrap_or_else(|why| panic!("{why}: {write:#?}"));
                }
                Towards::Theirs(what) => panic!("{what}: a route waits for nobody"),
                Towards::Refused(why) => panic!("{why}"),
            }
        }
        panic!("writes without end towards {ask:?}")
    }

    fn spec(&mut self) -> Value {
        self.objects().get(&self.codec.object()).unwrap()["spec"].clone()
    }
}

pub(crate) fn written_and_restored(lab: &Lab, namespace: &str) {
    // What is kept of a route is owned by the Rollout, so it has to be there.
    let rollout = json!({ "apiVersion": "serinus.dev/v1alpha1", "kind": "Rollout", "metadata": { "name": "shop" },
        "spec": { "workloadRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "shop" },
            "strategy": { "canary": { "steps": [{ "weight": "20%", "approve": {} }] } } } });
    let about = About { uid: made(lab, namespace, &rollout), ..about() };
    let mut tried = BTreeSet::new();
    for example in Traffic::examples() {
        for (_, codec) in example.router.codecs() {
            let of = codec.object();
            let api = Api::new(lab.client(Who::User), namespace.into(), Duration::from_secs(10));
            if !lab.block_on(api.serves(&of.kind)).unwrap() {
                continue;
            }
            for mut object in example.objects.clone() {
                object["metadata"]["namespace"] = namespace.into();
                lab.apply(Who::User, Some(namespace), &object);
            }
            let needs = codec.needs();
            let mut written = Written { lab, api, codec: codec.as_ref(), needs, about: about.clone() };
            let before = written.spec();
            for (index, split) in splits(&example).into_iter().enumerate() {
                let epoch = Epoch(index as u64 + 1);
                written.reach(&RouteAsk::Split(split.clone(), epoch));
                let objects = written.objects();
                let read = codec.read(&objects, &about).unwrap().unwrap();
                assert_eq!((read.asked, read.epoch), (split.clone(), Some(epoch)), "{}", example.name);
                assert_eq!(written.reach(&RouteAsk::Split(split, epoch)), 0, "{}", example.name);
            }
            written.reach(&RouteAsk::Restore);
            assert_eq!(written.spec(), before, "{}", example.name);
            let object = written.objects().get(&of).unwrap().clone();
            let managers = object["metadata"]["managedFields"].as_array().unwrap();
            assert!(managers.iter().all(|it| it["manager"] != "serinus"), "{managers:#?}");
            let resource = format!("{}/{}", of.kind.kind.as_str().to_lowercase(), of.name);
            lab.kubectl(Who::User, &["-n", namespace, "delete", &resource]).unwrap();
            tried.insert(of.kind.kind.to_string());
        }
    }
    assert_eq!(tried, BTreeSet::from(["GRPCRoute".to_owned(), "HTTPRoute".to_owned()]));
}
