//! Every kind of workload of the registry, whatever it is.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};
use serinus::{
    object::{EPOCH, ObjectRef, Objects, Towards, Verb},
    workload::{Ask, CODECS, Look, Standing, WorkloadExample, Workloads},
};
use strategies::{Arm, Epoch, OwnerGoal, Phase, Revision, Seen};

use super::{routes::bare, server::Server};

/// More writes than any goal takes.
const MOST: usize = 24;

/// One workload at rest, then under a rollout.
struct Played<'a> {
    codec: &'a dyn Workloads,
    example: &'a WorkloadExample,
    server: Server,
    standing: Standing,
}

impl<'a> Played<'a> {
    fn new(codec: &'a dyn Workloads, example: &'a WorkloadExample) -> Self {
        let standing = Standing {
            workload: example.workload.clone(),
            rollout: "shop".into(),
            uid: "rollout-uid".into(),
            stable: None,
            canary: None,
            phase: Phase::Adopting,
            epoch: Epoch(3),
            attempt: 1,
            replicas: None,
            ignored: vec![],
            now: Timestamp::UNIX_EPOCH,
        };
        Self { codec, example, server: Server::with(example.objects.clone()), standing }
    }

    fn object(&self) -> ObjectRef {
        self.codec.kind().named(self.example.workload.as_str())
    }

    fn look(&self) -> Look {
        match self.codec.look(&self.server.objects, &self.standing).unwrap() {
            Seen::Is(it) => it,
            other @ (Seen::Unread | Seen::Absent) => panic!("{}: {other:?}", self.example.name),
        }
    }

    /// Begins a rollout: the present revision is stable, the template another one. Both revisions.
    fn begins(&mut self) -> (Revision, Revision) {
        let stable = self.look().revision;
        let mut changed = self.example.changed.clone();
        let present = self.server.objects.get(&self.object()).unwrap();
        changed["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
        self.server.apply(changed);
        let canary = self.look().revision;
        assert_ne!(stable, canary, "{}: another template is another revision", self.example.name);
        self.standing.phase = Phase::Stepping { step: "first".into() };
        (self.standing.stable, self.standing.canary) = (Some(stable.clone()), Some(canary.clone()));
        (stable, canary)
    }

    /// Writes until it is so, or until somebody else must act; every write is fenced. How many there were.
    #[track_caller]
    fn towards(&mut self, ask: &Ask<'_>) -> usize {
        for count in 0..MOST {
            match self.codec.towards(ask, &self.server.objects, &self.standing).unwrap() {
                Towards::Reached | Towards::Theirs(_) => return count,
                Towards::Write(write) => {
                    assert_eq!(write.expected.is_none(), write.verb == Verb::Create, "unfenced: {write:?}");
                    self.server.write(&write).unwrap_or_else(|why| panic!("{why:?}: {write:#?}"));
                    self.adopts();
                }
                Towards::Refused(why) => panic!("{}: {ask:?}: {why}", self.example.name),
            }
        }
        panic!("{}: writes without end towards {ask:?}", self.example.name)
    }

    /// Its own controller takes what nobody owns and its selector matches.
    fn adopts(&mut self) {
        let workload = self.server.objects.get(&self.object()).unwrap().clone();
        let kind = workload["kind"].clone();
        let orphan = |(of, it): (&ObjectRef, &Value)| {
            let nobodys =
                it.pointer("/metadata/ownerReferences").and_then(Value::as_array).is_none_or(Vec::is_empty);
            let selected = workload["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
            let mut selected = selected.map(|(key, value)| it["metadata"]["labels"].get(key) == Some(value));
            (*of != self.object() && nobodys && selected.all(|it| it)).then(|| of.clone())
        };
        let orphans: Vec<ObjectRef> = self.server.objects.iter().filter_map(orphan).collect();
        for of in orphans {
            self.server.edit(&of, |it| {
                it["metadata"]["ownerReferences"] = json!([{ "apiVersion": workload["apiVersion"], "kind": kind,
                    "name": workload["metadata"]["name"], "uid": workload["metadata"]["uid"],
                    "controller": true, "blockOwnerDeletion": true }]);
            });
        }
    }

    /// Everything that the API server has, without what it adds itself.
    fn all(&self) -> BTreeMap<String, Value> {
        self.server.objects.iter().map(|(of, it)| (of.to_string(), bare(it))).collect()
    }
}

fn each(check: impl Fn(Played<'_>)) {
    let mut kinds = BTreeSet::new();
    for codec in CODECS {
        let examples = codec.examples();
        assert!(!examples.is_empty(), "{:?} has no example", codec.kind());
        for example in &examples {
            kinds.insert(codec.kind());
            check(Played::new(*codec, example));
        }
    }
    assert_eq!(kinds.len(), CODECS.len(), "a kind stands once in the registry");
}

#[test]
fn at_rest_every_replica_is_of_one_arm_and_nothing_of_the_users_is_written() {
    each(|mut it| {
        let look = it.look();
        assert_eq!(
            look.arms.keys().collect::<Vec<_>>(),
            [&Arm::main(look.revision.clone())],
            "{}",
            it.example.name
        );
        it.standing.stable = Some(look.revision);
        it.standing.phase = Phase::Idle;
        let before = it.all();
        it.towards(&Ask::Own(&OwnerGoal::Free));
        assert_eq!(it.towards(&Ask::Own(&OwnerGoal::Free)), 0, "{}", it.example.name);
        let after = it.all();
        assert!(before.iter().all(|(name, object)| after.get(name) == Some(object)), "{}", it.example.name);
    });
}

#[test]
fn what_is_not_there_is_absent_and_what_cannot_be_read_is_unread() {
    each(|mut it| {
        let mut unread = Objects::default();
        unread.unread(it.codec.kind());
        assert_eq!(it.codec.look(&unread, &it.standing), Ok(Seen::Unread));
        it.server.objects.remove(&it.object());
        assert_eq!(it.codec.look(&it.server.objects, &it.standing), Ok(Seen::Absent));
        let held = OwnerGoal::Held;
        let refused = it.codec.towards(&Ask::Own(&held), &it.server.objects, &it.standing).unwrap();
        assert!(matches!(refused, Towards::Refused(why) if why.contains(it.example.workload.as_str())));
    });
}

#[test]
fn an_object_of_another_shape_is_an_error_with_its_name() {
    each(|mut it| {
        let of = it.object();
        it.server.edit(&of, |it| it["spec"]["template"] = json!(7));
        let error = it.codec.look(&it.server.objects, &it.standing).unwrap_err();
        assert_eq!(error.object.as_str(), of.to_string());
    });
}

#[test]
fn a_goal_that_is_reached_is_not_written_again() {
    each(|mut it| {
        let (stable, canary) = it.begins();
        let (arm, sizes) = (Arm::main(canary.clone()), [(Arm::main(canary.clone()), 3)].into());
        let refused = OwnerGoal::Refused(canary.clone());
        let asks = [
            Ask::Own(&OwnerGoal::Held),
            Ask::Create(&arm, 1),
            Ask::Claim(&arm),
            Ask::Size(&sizes),
            Ask::Own(&OwnerGoal::Detached),
            Ask::Own(&OwnerGoal::Held),
            Ask::Remove(&arm),
            Ask::Own(&refused),
        ];
        for ask in asks {
            it.towards(&ask);
            assert_eq!(it.towards(&ask), 0, "{}: {ask:?}", it.example.name);
            let look = it.look();
            assert!(
                look.arms.contains_key(&Arm::main(stable.clone())),
                "{}: {ask:?}: stable is seen",
                it.example.name
            );
        }
    });
}

#[test]
fn a_canary_is_asked_for_under_its_authority_and_goes_without_a_trace() {
    each(|mut it| {
        let (_, canary) = it.begins();
        let arm = Arm::main(canary);
        it.towards(&Ask::Own(&OwnerGoal::Held));
        it.towards(&Ask::Create(&arm, 2));
        let seen = it.look().arms[&arm].clone();
        assert_eq!((seen.desired, seen.epoch), (2, Some(it.standing.epoch)), "{}", it.example.name);
        it.towards(&Ask::Remove(&arm));
        assert!(!it.look().arms.contains_key(&arm), "{}", it.example.name);
    });
}

#[test]
fn after_any_two_goals_what_is_given_back_is_as_it_was() {
    let goals = [OwnerGoal::Held, OwnerGoal::Detached];
    for first in &goals {
        for second in &goals {
            each(|mut it| {
                let before = it.all();
                let (stable, canary) = it.begins();
                it.towards(&Ask::Own(first));
                it.towards(&Ask::Create(&Arm::main(canary.clone()), 1));
                it.towards(&Ask::Own(second));
                it.towards(&Ask::Remove(&Arm::main(canary.clone())));
                it.towards(&Ask::Own(&OwnerGoal::Refused(canary)));
                // The user puts the old template back.
                let of = it.object();
                let template = before[&of.to_string()]["spec"]["template"].clone();
                it.server.edit(&of, |it| it["spec"]["template"] = template);
                (it.standing.phase, it.standing.canary) = (Phase::Idle, None);
                it.towards(&Ask::Own(&OwnerGoal::Free));
                assert_eq!(it.look().revision, stable);
                it.standing.phase = Phase::Leaving;
                it.towards(&Ask::Own(&OwnerGoal::Free));
                let after = it.all();
                let own = |it: &Value| {
                    let mut it = it.clone();
                    it.as_object_mut().unwrap().shift_remove("status");
                    let annotations = it["metadata"]["annotations"].as_object_mut().unwrap();
                    assert!(!annotations.contains_key(EPOCH), "a stamp of ours is left");
                    annotations
                        .retain(|key, _| !key.starts_with("serinus.dev/") && !key.starts_with("deployment."));
                    it
                };
                for (name, object) in &before {
                    assert_eq!(own(&after[name]), own(object), "{}: {name}", it.example.name);
                }
            });
        }
    }
}
