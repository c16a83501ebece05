//! Services as routes.

use serde_json::{Value, json};
use serinus::{
    object::{Objects, Towards},
    router::{Part, RouteAsk, RouteCodec, ServiceRoute},
};
use strategies::{Arm, Dest, Epoch, Split};

use super::{
    routes::{bare, reach},
    server::Server,
    splits::{about, service},
};

fn users() -> Value {
    json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "shop", "labels": { "monitored": "yes" } },
        "spec": { "selector": { "app": "shop" }, "clusterIP": "10.0.0.1", "type": "NodePort",
                  "ports": [{ "name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080 }] } })
}

fn to(revision: &str) -> Split {
    Split::all_to(Dest::Arm(Arm::main(revision.into())))
}

fn unpinned() -> Split {
    Split::by_ready(about().hashes.keys().cloned().collect())
}

fn each(check: impl Fn(&ServiceRoute, Server)) {
    for part in [Part::Stable, Part::Canary, Part::Users] {
        check(&ServiceRoute { of: service(), part }, Server::with([users()]));
    }
}

fn slice(name: &str, pods: &[(&str, bool)]) -> Value {
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|(pod, ready)| json!({ "conditions": { "ready": ready }, "targetRef": { "kind": "Pod", "name": pod } }))
        .collect();
    json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": format!("{name}-x"), "labels": { "kubernetes.io/service-name": name } }, "endpoints": endpoints })
}

#[test]
fn a_pin_is_read_as_it_was_written_and_taken_away_without_a_trace() {
    each(|route, mut server| {
        let before = bare(&users());
        for (index, split) in [to("v1"), to("v2"), unpinned(), to("v3")].into_iter().enumerate() {
            let epoch = Epoch(index as u64);
            reach(route, &mut server, &RouteAsk::Split(split.clone(), epoch)).unwrap();
            let read = route.read(&server.objects, &about()).unwrap().unwrap();
            assert_eq!((read.asked, read.epoch), (split.clone(), Some(epoch)), "{route:?}");
            assert_eq!(reach(route, &mut server, &RouteAsk::Split(split, epoch)), Ok(0));
        }
        reach(route, &mut server, &RouteAsk::Restore).unwrap();
        let read = route.read(&server.objects, &about()).unwrap().unwrap();
        assert_eq!((read.asked, read.epoch), (unpinned(), None), "{route:?}");
        let mut users =
            bare(server.objects.get(&ServiceRoute { of: service(), part: Part::Users }.object()).unwrap());
        users["metadata"].as_object_mut().unwrap().retain(|key, it| key != "annotations" || it != &json!({}));
        assert_eq!(users, before);
    });
}

#[test]
fn ours_select_as_the_users_own_whatever_that_is_pinned_to_and_carry_none_of_its_labels() {
    let mut server = Server::with([users()]);
    let own = ServiceRoute { of: service(), part: Part::Users };
    reach(&own, &mut server, &RouteAsk::Split(to("v1"), Epoch(1))).unwrap();
    let canary = ServiceRoute { of: service(), part: Part::Canary };
    reach(&canary, &mut server, &RouteAsk::Split(to("v2"), Epoch(1))).unwrap();
    let made = server.objects.get(&canary.object()).unwrap();
    assert_eq!(made["spec"]["selector"], json!({ "app": "shop", "pod-template-hash": "hash2" }));
    assert_eq!(made["spec"]["ports"], json!([{ "name": "http", "port": 80, "targetPort": 8080 }]));
    assert_eq!(made["spec"]["clusterIP"], Value::Null);
    assert_eq!(made["metadata"]["labels"], json!({ "serinus.dev/part": "canary" }));
}

#[test]
fn a_service_has_followed_when_it_lists_the_ready_pods_of_its_arms_and_no_others() {
    let route = ServiceRoute { of: service(), part: Part::Stable };
    let mut server = Server::with([users()]);
    reach(&route, &mut server, &RouteAsk::Split(to("v2"), Epoch(1))).unwrap();
    let check = |server: &Server, pods: &[(&str, bool)], confirmed: Option<u64>| {
        let mut server = server.clone();
        server.apply(slice("shop-stable", pods));
        server.apply(slice("shop", &[("shop-hash1-a", true)]));
        let read = route.read(&server.objects, &about()).unwrap().unwrap();
        assert_eq!(read.confirmed, confirmed, "{pods:?}");
    };
    check(&server, &[], None);
    check(&server, &[("shop-hash2-a", true)], None);
    check(&server, &[("shop-hash2-a", true), ("shop-hash2-b", true)], Some(0));
    check(&server, &[("shop-hash2-a", true), ("shop-hash2-b", true), ("shop-hash1-a", true)], None);
    check(&server, &[("shop-hash2-a", true), ("shop-hash2-b", true), ("shop-hash1-a", false)], Some(0));
    let mut unread: Objects = server.objects.clone();
    unread.unread(serinus::object::Kind::new("discovery.k8s.io/v1", "EndpointSlice"));
    assert_eq!(route.read(&unread, &about()).unwrap().unwrap().confirmed, None);
}

#[test]
fn a_service_refuses_what_only_a_router_can_do() {
    each(|route, mut server| {
        let weights = [
            (Dest::Arm(Arm::main("v1".into())), strategies::Weight::from_percent(50)),
            (Dest::Arm(Arm::main("v2".into())), strategies::Weight::from_percent(50)),
        ];
        let halves = RouteAsk::Split(Split::fixed(weights.into()), Epoch(1));
        assert!(reach(route, &mut server, &halves).is_err());
        let mut none = Server::default();
        let why = reach(route, &mut none, &RouteAsk::Split(to("v1"), Epoch(1))).unwrap_err();
        assert!(why.contains("there is no Service/shop"), "{why}");
        assert_eq!(route.towards(&RouteAsk::Restore, &none.objects, &about()).unwrap(), Towards::Reached);
    });
}
