//! The engine under test: `serinus controller` as it is shipped, with the rights that are shipped, and its Rollouts.

use serde_json::{Value, json};
use strategies::{Action, Name, Phase, Status};

use crate::lab::{Lab, Who};

const ROLLOUTS: &str = "serinus.dev/v1alpha1/rollouts";
/// The label of Rollouts that an engine of their own drives.
pub(crate) const OWN: &str = "serinus.dev/test";

/// Applies a Rollout; its uid.
pub(crate) fn made(lab: &Lab, namespace: &str, rollout: &Value) -> Name {
    lab.apply(Who::User, Some(namespace), rollout);
    let name = rollout["metadata"]["name"].as_str().unwrap();
    let is = || lab.get(namespace, ROLLOUTS, name);
    lab.until("the Rollout is there", is)["metadata"]["uid"].as_str().unwrap().into()
}

/// What becomes of the engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Life {
    /// It works on.
    WorksOn,
    /// It is killed after every write, and started again.
    KilledAfterEveryWrite,
}

/// One Rollout, driven by the engine.
pub(crate) struct Engine<'a> {
    lab: &'a Lab,
    namespace: String,
    name: String,
}

impl<'a> Engine<'a> {
    /// Applies the Rollout; the engine drives it.
    pub(crate) fn start(lab: &'a Lab, namespace: &str, rollout: &Value, life: Life) -> Self {
        let name = rollout["metadata"]["name"].as_str().unwrap().to_owned();
        let mut rollout = rollout.clone();
        if life == Life::KilledAfterEveryWrite {
            rollout["metadata"]["labels"] = json!({ OWN: namespace });
            lab.engine_that_dies(namespace);
        }
        made(lab, namespace, &rollout);
        Self { lab, namespace: namespace.to_owned(), name }
    }

    pub(crate) fn object(&self) -> Option<Value> {
        self.lab.get(&self.namespace, ROLLOUTS, &self.name)
    }

    /// What is remembered; `None`: nothing yet, or the Rollout is gone.
    pub(crate) fn seen(&self) -> Option<Status> {
        let object = self.object()?;
        let remembered = object.pointer("/status/remembered")?;
        Some(serde_json::from_value(remembered.clone()).unwrap())
    }

    pub(crate) fn status(&self) -> Status {
        self.seen().unwrap()
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Status) -> bool) -> Status {
        let within = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.lab.until(what, || self.seen().filter(|it| is(it)))
        }));
        within.unwrap_or_else(|_| {
            let stands = self.object().map(|it| it["status"].clone());
            panic!("never {what}: {stands:#?}\n{}", self.lab.engine_said())
        })
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

    #[track_caller]
    pub(crate) fn until_gone(&self) {
        let gone = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            self.lab.until("the Rollout is gone", || self.object().is_none().then_some(()));
        }));
        if gone.is_err() {
            panic!("it stays: {:#?}\n{}", self.object(), self.lab.engine_said());
        }
    }

    /// A person orders this of the present canary, as people do.
    #[track_caller]
    pub(crate) fn order(&self, action: Action) {
        let word = action.to_string();
        let words: Vec<&str> = match action {
            Action::PromoteFull => vec!["promote", "--full"],
            Action::Promote
            | Action::Approve
            | Action::Pause
            | Action::Resume
            | Action::Abort
            | Action::Retry => vec![&word],
        };
        let said = self.command(&[&words[..], &[self.name.as_str()]].concat());
        said.unwrap_or_else(|why| panic!("{word}: {why}\n{}", self.lab.engine_said()));
    }

    /// What a command of a person prints.
    ///
    /// # Errors
    /// What it says when it fails.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<String, String> {
        self.lab.serinus(Who::User, &[arguments, &["-n", &self.namespace]].concat())
    }
}
