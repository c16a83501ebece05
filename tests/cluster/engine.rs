//! The engine of one Rollout over the API server, its memory in memory. Nothing is measured: people decide.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use serinus::{
    clock,
    cluster::{Api, Driven, Site},
    engine::{Ports, Recorder, TickError, tick},
    port::{Activities, Durable, Saved, Saving, Unavailable, WallClock, WriteError},
    spec::{self, compile::compile},
};
use strategies::{Action, Activity, ActivityId, Name, Order, Orders, Outcome, Phase, Status};
use tokio::task::JoinHandle;

use crate::lab::{Lab, Who};

/// Applies a Rollout; its uid.
pub(crate) fn made(lab: &Lab, namespace: &str, rollout: &Value) -> Name {
    lab.apply(Who::User, Some(namespace), rollout);
    let name = rollout["metadata"]["name"].as_str().unwrap();
    let is = || lab.get(namespace, "serinus.dev/v1alpha1/rollouts", name);
    lab.until("the Rollout is there", is)["metadata"]["uid"].as_str().unwrap().into()
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Option<(Saved, u64)>>>);

/// A running engine.
pub(crate) struct Engine<'a> {
    lab: &'a Lab,
    memory: Memory,
    task: JoinHandle<()>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Durable for Memory {
    type Shown = ();

    async fn load(&mut self) -> Result<Saved, Unavailable> {
        Ok(self.0.lock().unwrap().as_ref().unwrap().0.clone())
    }

    async fn save(&mut self, _: &Saved, saving: Saving<'_, ()>) -> Result<(), WriteError> {
        let mut memory = self.0.lock().unwrap();
        let (saved, saves) = memory.as_mut().unwrap();
        saved.status = saving.status.clone();
        saved.orders.0.retain(|order| saving.closed.iter().all(|it| it.order != order.id));
        *saves += 1;
        saved.fence = *saves;
        Ok(())
    }

    async fn record(&mut self, _: Timestamp, _: &str) -> Result<(), WriteError> {
        Ok(())
    }
}

struct NothingMeasured;

impl Activities for NothingMeasured {
    fn reconcile(&mut self, _: &[Activity], _: Timestamp) {}

    fn outcomes(&self) -> BTreeMap<ActivityId, Outcome> {
        BTreeMap::new()
    }

    fn wake(&self) -> Option<Timestamp> {
        None
    }
}

/// What an engine remembers from one look to the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Between {
    /// What it saw.
    Remembers,
    /// Nothing, as if it had been killed after every write.
    Forgets,
}

impl<'a> Engine<'a> {
    /// Applies the Rollout and drives it.
    pub(crate) fn start(lab: &'a Lab, namespace: &str, rollout: &Value, between: Between) -> Self {
        let uid = made(lab, namespace, rollout);
        let text = rollout.to_string();
        let read = spec::read("rollout.json", text.as_bytes());
        let errors: Vec<&String> = read.diagnostics.iter().map(|it| &it.message).collect();
        let compiled = compile(&read.documents, None).unwrap_or_else(|it| panic!("{it}: {errors:?}"));
        let (client, namespace) = (lab.client(Who::Engine), Name::from(namespace));
        let name = Name::from(rollout["metadata"]["name"].as_str().unwrap());
        let plan = compiled.plan.clone();
        let site = move || {
            let driven = Driven::new(&compiled, uid.clone()).unwrap();
            let api = Api::new(client.clone(), namespace.clone(), Duration::from_secs(5));
            Site::new(api, &name, uid.clone(), driven)
        };
        let saved = Saved {
            status: Status::new(clock::now()),
            orders: Orders::default(),
            reasons: BTreeMap::new(),
            fence: 0,
        };
        let memory = Memory(Arc::new(Mutex::new(Some((saved, 0)))));
        let failures = Arc::new(Mutex::new(vec![]));
        let (durable, said) = (memory.clone(), Arc::clone(&failures));
        let task = lab.spawn(async move {
            let mut ports = Ports { outside: site(), durable, activities: NothingMeasured, clock: WallClock };
            let mut recorder = Recorder::default();
            loop {
                if between == Between::Forgets {
                    ports.outside = site();
                }
                let ticked = tick(&plan, &mut ports, &mut recorder, &|_| ()).await;
                match ticked {
                    Ok(it) if it.again() => {}
                    // What is watched in the product is looked at again here.
                    Ok(_) | Err(TickError::Conflict) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(error) => {
                        said.lock().unwrap().push(error.to_string());
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Self { lab, memory, task, failures }
    }

    pub(crate) fn status(&self) -> Status {
        self.memory.0.lock().unwrap().as_ref().unwrap().0.status.clone()
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let mut last = self.status();
        let within = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.lab.until(what, || {
                last = self.status();
                is(&last).then_some(())
            });
        }));
        if within.is_err() {
            let failures = self.failures.lock().unwrap();
            panic!("never {what}: {:?}; {last:#?}", failures.last());
        }
        last
    }

    /// Waits for a step by its name.
    #[track_caller]
    pub(crate) fn until_step(&self, step: &str) -> Status {
        self.until(step, |it| {
            matches!(&it.phase, Phase::Stepping { step: name } if name.as_str() == step) && it.held.is_some()
        })
    }

    #[track_caller]
    pub(crate) fn until_phase(&self, phase: &Phase) -> Status {
        self.until(&format!("{phase:?}"), |it| it.phase == *phase)
    }

    /// A person orders this of the present canary.
    pub(crate) fn order(&self, action: Action) {
        let mut memory = self.memory.0.lock().unwrap();
        let (saved, _) = memory.as_mut().unwrap();
        let id = format!("{action:?}-{}-{}", saved.status.attempt, saved.status.accepted.len());
        saved.orders.0.push(Order {
            id: id.as_str().into(),
            action,
            revision: saved.status.canary.clone().unwrap(),
            attempt: saved.status.attempt,
            step: None,
            by: "user".into(),
            reason: None,
            not_after: None,
        });
    }
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
