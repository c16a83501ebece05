//! Routes as users write them, for the conformance suite.

use serde_json::{Value, json};

use super::{super::Example, GatewayApi, Own, RouteName, RouteReference};

fn example(name: &'static str, kind: RouteName, own: Own, rules: &Value) -> Example<GatewayApi> {
    let parent = json!({ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" });
    let route = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": { "name": "shop", "namespace": "prod", "annotations": { "team": "shop" }, "labels": { "example.com/c": "d" } },
        "spec": { "parentRefs": [parent], "hostnames": ["shop.example"], "rules": rules, "futureField": { "x": [1, null] } },
    });
    let routes = vec![RouteReference { kind, name: "shop".into() }];
    Example { name, router: GatewayApi { routes, own }, objects: vec![route] }
}

pub(super) fn all() -> Vec<Example<GatewayApi>> {
    let shop = json!({ "group": "", "kind": "Service", "name": "shop", "port": 80, "weight": 1 });
    let root = json!([{ "path": { "type": "PathPrefix", "value": "/" } }]);
    let several = json!([
        { "name": "old", "matches": [{ "path": { "type": "PathPrefix", "value": "/old" } }],
          "filters": [{ "type": "RequestRedirect", "requestRedirect": { "statusCode": 301, "hostname": "new.example" } }] },
        { "name": "main", "matches": root, "backendRefs": [
            { "name": "shop", "port": 80, "weight": 9, "filters": [{ "type": "RequestHeaderModifier", "requestHeaderModifier": { "add": [{ "name": "a", "value": "b" }] } }] },
            { "name": "legacy", "port": 81, "weight": 1 } ],
          "timeouts": { "request": "5s" }, "retry": { "codes": [503] } },
        { "matches": [{ "path": { "type": "Exact", "value": "/pay" }, "method": "POST" }, { "headers": [{ "name": "x", "value": "y" }] }],
          "filters": [{ "type": "RequestMirror", "requestMirror": { "backendRef": { "name": "audit", "port": 80 } } }],
          "backendRefs": [shop] },
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/admin" } }], "backendRefs": [{ "name": "admin", "port": 80 }] },
    ]);
    let both = json!([{ "matches": root, "backendRefs": [
        { "name": "shop-stable", "port": 80, "weight": 1 }, { "name": "shop-canary", "port": 80, "weight": 0 } ] }]);
    let grpc = json!([{ "matches": [{ "method": { "type": "Exact", "service": "shop.Cart" } }], "backendRefs": [shop] }]);
    let plain = json!([{ "matches": root, "backendRefs": [shop] }]);
    vec![
        example("one rule", RouteName::HttpRoute, Own::Auto, &plain),
        example(
            "without defaults",
            RouteName::HttpRoute,
            Own::Backends,
            &json!([{ "backendRefs": [{ "name": "shop", "port": 80 }] }]),
        ),
        example(
            "several rules, other backends, fields nobody knows",
            RouteName::HttpRoute,
            Own::Auto,
            &several,
        ),
        example("both backends stand in it", RouteName::HttpRoute, Own::Auto, &both),
        example("only its weights are ours", RouteName::HttpRoute, Own::Weights, &both),
        example("gRPC", RouteName::GrpcRoute, Own::Auto, &grpc),
        example("weights only", RouteName::TcpRoute, Own::Auto, &json!([{ "backendRefs": [shop] }])),
    ]
}
