//! Routers of the registry whose routes are objects of a cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use serinus::{
    object::{ObjectRef, Objects, Towards},
    router::{
        About, Acks, AsWritten, Example, GatewayRoute, Own, RouteAsk, RouteCodec, RouteName, Service, Traffic,
    },
};
use strategies::{Arm, Epoch, Goal, Matched, Pattern, Split, Weight};

use super::{
    server::{Rejected, Server},
    splits::{about, condition, service, splits, weighted},
};

/// Writes until it is so; how many writes it took.
#[track_caller]
pub fn reach(codec: &dyn RouteCodec, server: &mut Server, ask: &RouteAsk) -> Result<usize, String> {
    for count in 0..8 {
        match codec.towards(ask, &server.objects, &about()).unwrap() {
            Towards::Reached => return Ok(count),
            Towards::Write(write) => server.write(&write).unwrap(),
            Towards::Theirs(what) => panic!("{what}: a route waits for nobody"),
            Towards::Refused(why) => return Err(why),
        }
    }
    panic!("writes without end towards {ask:?}")
}

/// What a server adds of itself left out.
pub fn bare(object: &Value) -> Value {
    let mut it = object.clone();
    let metadata = it["metadata"].as_object_mut().unwrap();
    for key in ["resourceVersion", "generation", "managedFields"] {
        metadata.shift_remove(key);
    }
    it
}

fn each(check: impl Fn(&Example<Traffic>, &dyn RouteCodec, &Server)) {
    let mut kinds = BTreeSet::new();
    for example in Traffic::examples() {
        let server = Server::with(example.objects.clone());
        for (id, codec) in example.router.routers()[0].1.codecs() {
            assert_eq!(id.as_str(), codec.object().to_string());
            kinds.insert(codec.object().kind.kind.to_string());
            check(&example, codec.as_ref(), &server);
        }
    }
    assert!(kinds.contains("HTTPRoute") && kinds.contains("GRPCRoute"), "{kinds:?}");
}

fn object<'a>(server: &'a Server, of: &ObjectRef) -> &'a Value {
    server.objects.get(of).unwrap()
}

#[test]
fn what_was_written_is_what_is_read_and_writing_it_again_writes_nothing() {
    each(|example, codec, server| {
        let mut server = server.clone();
        for (index, split) in splits(example).into_iter().enumerate() {
            let epoch = Epoch(index as u64 + 1);
            reach(codec, &mut server, &RouteAsk::Split(split.clone(), epoch)).unwrap();
            let read = codec.read(&server.objects, &about()).unwrap().unwrap();
            assert_eq!((read.asked, read.epoch), (split.clone(), Some(epoch)), "{}", example.name);
            let again = reach(codec, &mut server, &RouteAsk::Split(split, epoch)).unwrap();
            assert_eq!(again, 0, "{}", example.name);
        }
    });
}

#[test]
fn after_any_two_splits_the_route_is_restored_as_it_was() {
    each(|example, codec, server| {
        let before = bare(object(server, &codec.object()));
        let splits = splits(example);
        for first in &splits {
            for second in &splits {
                let mut server = server.clone();
                for split in [first, second] {
                    reach(codec, &mut server, &RouteAsk::Split(split.clone(), Epoch(1))).unwrap();
                }
                reach(codec, &mut server, &RouteAsk::Restore).unwrap();
                let after = object(&server, &codec.object());
                assert_eq!(bare(after), before, "{}: {first:?}, {second:?}", example.name);
                assert!(
                    after["metadata"]["managedFields"].as_array().is_none_or(Vec::is_empty),
                    "managed by us"
                );
                let left: Vec<String> = server.objects.iter().map(|(of, _)| of.to_string()).collect();
                assert_eq!(left, [codec.object().to_string()], "{}", example.name);
            }
        }
    });
}

/// What a plan says of a route at rest is what the route asks for once it was given back.
#[test]
fn what_a_route_is_given_back_as_is_known_before_and_under_every_split() {
    each(|example, codec, server| {
        let written = codec.as_written(&server.objects, &about()).unwrap().unwrap();
        for split in splits(example) {
            let mut server = server.clone();
            reach(codec, &mut server, &RouteAsk::Split(split, Epoch(1))).unwrap();
            let meanwhile = codec.as_written(&server.objects, &about()).unwrap();
            assert_eq!(meanwhile, Some(written), "{}", example.name);
            reach(codec, &mut server, &RouteAsk::Restore).unwrap();
            let read = codec.read(&server.objects, &about()).unwrap().unwrap();
            let expected = match written {
                AsWritten::Users => Split::all_to(service().through()),
                AsWritten::Stable => Split::all_to(service().to_stable()),
                AsWritten::Ours => panic!("{}: every example rests on one side", example.name),
            };
            assert_eq!((read.asked, read.epoch), (expected, None), "{}", example.name);
        }
        let nothing = Objects::default();
        assert_eq!(codec.as_written(&nothing, &about()).unwrap(), None, "{}", example.name);
    });
}

#[test]
fn what_is_not_ours_keeps_its_bytes_while_a_split_stands() {
    each(|example, codec, server| {
        let foreign = |object: &Value| {
            let mut it = bare(object);
            let annotations = it["metadata"]["annotations"].as_object_mut().unwrap();
            annotations.retain(|key, _| !key.starts_with("serinus.dev/"));
            it["spec"].as_object_mut().unwrap().shift_remove("rules");
            serde_json::to_string(&it).unwrap()
        };
        let rules = |object: &Value| {
            let count = object["metadata"]["annotations"]["serinus.dev/rules"]
                .as_str()
                .map_or(0, |it| it.parse().unwrap());
            let own = object["spec"]["rules"].as_array().unwrap()[count..].to_vec();
            own.into_iter()
                .map(|mut rule| {
                    let map = rule.as_object_mut().unwrap();
                    for key in ["backendRefs", "filters"] {
                        map.shift_remove(key);
                    }
                    serde_json::to_string(&rule).unwrap()
                })
                .collect::<Vec<_>>()
        };
        let before = object(server, &codec.object());
        for split in splits(example) {
            let mut server = server.clone();
            reach(codec, &mut server, &RouteAsk::Split(split.clone(), Epoch(1))).unwrap();
            let after = object(&server, &codec.object());
            assert_eq!(foreign(after), foreign(before), "{}", example.name);
            assert_eq!(rules(after), rules(before), "{}: {split:?}", example.name);
        }
    });
}

#[test]
fn other_peoples_edits_of_other_fields_outlive_the_restoration() {
    each(|example, codec, server| {
        let of = codec.object();
        let mut server = server.clone();
        let change = |it: &mut Value| {
            it["spec"]["hostnames"] = json!(["other.example"]);
            it["metadata"]["labels"]["more"] = json!("yes");
        };
        let mut expected = object(&server, &of).clone();
        change(&mut expected);
        reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap();
        server.edit(&of, change);
        reach(codec, &mut server, &RouteAsk::Split(weighted(500_000), Epoch(1))).unwrap();
        reach(codec, &mut server, &RouteAsk::Restore).unwrap();
        assert_eq!(bare(object(&server, &of)), bare(&expected), "{}", example.name);
    });
}

#[test]
fn a_split_that_somebody_changed_is_read_as_what_it_is_and_written_again() {
    each(|example, codec, server| {
        let of = codec.object();
        let mut server = server.clone();
        let before = object(&server, &of).clone();
        reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap();
        server.edit(&of, |it| {
            for rule in it["spec"]["rules"].as_array_mut().unwrap() {
                for backend in rule["backendRefs"].as_array_mut().into_iter().flatten() {
                    backend["weight"] = json!(1);
                }
            }
        });
        let read = codec.read(&server.objects, &about()).unwrap().unwrap();
        assert_eq!(read.asked, weighted(500_000), "{}", example.name);
        server.edit(&of, |it| it["spec"]["rules"] = before["spec"]["rules"].clone());
        let read = codec.read(&server.objects, &about()).unwrap().unwrap();
        assert_ne!(read.asked, weighted(50_000), "{}", example.name);
        assert_eq!(read.asked.weight_of(&service().to_canary()), Weight::ZERO, "{}", example.name);
        reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap();
        let read = codec.read(&server.objects, &about()).unwrap().unwrap();
        assert_eq!(read.asked, weighted(50_000), "{}", example.name);
        reach(codec, &mut server, &RouteAsk::Restore).unwrap();
        assert_eq!(bare(object(&server, &of)), bare(&before), "{}", example.name);
    });
}

/// A split names the sides of the first Service for those of all.
#[test]
fn a_route_to_a_second_service_is_moved_with_that_of_the_first() {
    let api = Service { name: "api".into(), stable: "api-stable".into(), canary: "api-canary".into() };
    let about = About { services: vec![service(), api], ..about() };
    let codec = GatewayRoute { kind: RouteName::GrpcRoute, name: "api".into(), own: Own::Auto };
    let route = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "metadata": { "name": "api", "annotations": {} },
        "spec": { "rules": [{ "backendRefs": [{ "name": "api", "port": 80 }] }] } });
    let mut server = Server::with([route]);
    let before = bare(object(&server, &codec.object()));
    let untouched = codec.read(&server.objects, &about).unwrap().unwrap();
    assert_eq!(untouched.asked, Split::all_to(service().through()));
    let reach = |server: &mut Server, ask: &RouteAsk| {
        while let Towards::Write(write) = codec.towards(ask, &server.objects, &about).unwrap() {
            server.write(&write).unwrap();
        }
    };
    reach(&mut server, &RouteAsk::Split(weighted(50_000), Epoch(1)));
    let backends = &object(&server, &codec.object())["spec"]["rules"][0]["backendRefs"];
    let weights: Vec<(&str, u64)> = backends
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["weight"].as_u64().unwrap()))
        .collect();
    assert_eq!(weights, [("api-stable", 95), ("api-canary", 5)]);
    let read = codec.read(&server.objects, &about).unwrap().unwrap();
    assert_eq!(read.asked, weighted(50_000));
    reach(&mut server, &RouteAsk::Restore);
    assert_eq!(bare(object(&server, &codec.object())), before);
}

#[test]
fn marks_that_somebody_removed_do_not_make_a_split_the_original() {
    each(|example, codec, server| {
        let of = codec.object();
        let before = bare(object(server, &of));
        let mut server = server.clone();
        reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap();
        server.edit(&of, |it| it["metadata"]["annotations"] = json!({ "team": "shop" }));
        reach(codec, &mut server, &RouteAsk::Split(weighted(500_000), Epoch(2))).unwrap();
        reach(codec, &mut server, &RouteAsk::Restore).unwrap();
        assert_eq!(bare(object(&server, &of)), before, "{}", example.name);
    });
}

#[test]
fn a_write_that_was_computed_from_an_older_object_is_refused() {
    each(|example, codec, server| {
        let mut server = server.clone();
        let ask = RouteAsk::Split(weighted(50_000), Epoch(1));
        while let Towards::Write(write) = codec.towards(&ask, &server.objects, &about()).unwrap() {
            if write.object == codec.object() {
                server.edit(&codec.object(), |it| it["metadata"]["labels"]["x"] = json!("y"));
                assert_eq!(server.write(&write), Err(Rejected::Conflict), "{}", example.name);
                return;
            }
            server.write(&write).unwrap();
        }
        panic!("{}: nothing was written", example.name);
    });
}

#[test]
fn a_route_that_leads_to_no_service_of_ours_is_refused_in_words_and_never_silent() {
    each(|_, codec, server| {
        let mut server = server.clone();
        server.edit(&codec.object(), |it| {
            it["spec"]["rules"] = json!([{ "backendRefs": [{ "name": "other", "port": 1 }] }])
        });
        let why = reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap_err();
        assert!(why.contains("leads to shop"), "{why}");
        let read = codec.read(&server.objects, &about()).unwrap().unwrap();
        assert!(read.troubles.iter().any(|it| it.what.contains("no rule")), "{:?}", read.troubles);
        server.objects.remove(&codec.object());
        assert_eq!(codec.read(&server.objects, &about()).unwrap(), None);
        let why = reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap_err();
        assert!(why.contains("there is no"), "{why}");
    });
}

#[test]
fn what_cannot_be_expressed_is_refused_before_anything_is_written() {
    each(|example, codec, server| {
        let mut by_path = Goal::home();
        let prefix = condition(|it| it.path = Some(Pattern::Prefix("/pa".into())));
        by_path.matches.insert("staff".into(), vec![prefix.clone()]);
        assert!(!codec.refuses(&by_path).is_empty(), "{}", example.name);
        let mut split = weighted(0);
        split.matches = vec![Matched { id: "staff".into(), any_of: vec![prefix], to: service().to_canary() }];
        let mut server = server.clone();
        let before = server.writes.len();
        assert!(reach(codec, &mut server, &RouteAsk::Split(split, Epoch(1))).is_err(), "{}", example.name);
        let to_arms = Split::all_to(strategies::Dest::Arm(Arm::main("v1".into())));
        assert!(reach(codec, &mut server, &RouteAsk::Split(to_arms, Epoch(1))).is_err(), "{}", example.name);
        assert_eq!(server.writes.len(), before, "{}", example.name);
    });
}

#[test]
fn a_generation_is_acknowledged_once_its_gateways_have_taken_it_up() {
    each(|example, codec, server| {
        let of = codec.object();
        let (mut server, mut acks) = (server.clone(), Acks::default());
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let look = |server: &Server, acks: &mut Acks, now| {
            let read = codec.read(&server.objects, &about()).unwrap().unwrap();
            acks.ask(&read.asked, read.generation);
            if let Some(oldest) = read.confirmed {
                acks.confirm(oldest, at(now));
            }
            acks.acknowledged().map(|it| (it.split.clone(), it.since.as_second()))
        };
        let confirm = |server: &mut Server, generation: u64| {
            server.edit(&of, |it| {
            let parent = it["spec"]["parentRefs"][0].clone();
            let condition = json!({ "type": "Accepted", "status": "True", "observedGeneration": generation });
            it["status"] = json!({ "parents": [{ "parentRef": parent, "controllerName": "x", "conditions": [condition] }] });
        })
        };
        reach(codec, &mut server, &RouteAsk::Split(weighted(0), Epoch(1))).unwrap();
        let generation = |server: &Server| object(server, &of)["metadata"]["generation"].as_u64().unwrap();
        assert_eq!(look(&server, &mut acks, 1), None, "{}", example.name);
        let first = generation(&server);
        confirm(&mut server, first);
        assert_eq!(look(&server, &mut acks, 2), Some((weighted(0), 2)), "{}", example.name);
        reach(codec, &mut server, &RouteAsk::Split(weighted(50_000), Epoch(1))).unwrap();
        assert_eq!(look(&server, &mut acks, 3), Some((weighted(0), 2)), "what users may still meet");
        reach(codec, &mut server, &RouteAsk::Split(weighted(0), Epoch(2))).unwrap();
        assert_eq!(look(&server, &mut acks, 4), None, "an acknowledgement of an earlier equal split");
        let last = generation(&server);
        confirm(&mut server, last);
        assert_eq!(look(&server, &mut acks, 5), Some((weighted(0), 5)), "{}", example.name);
    });
}
