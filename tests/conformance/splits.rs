//! What a plan may ask of a route, of the plainest to the most that can be said.

use std::collections::BTreeMap;

use serinus::router::{About, Example, Service, Traffic};
use strategies::{Arm, Field, Matched, Pattern, RequestMatch, Split, Weight};

pub fn about() -> About {
    let arm = |it: &str| Arm::main(it.into());
    let pods =
        |it: &str| [format!("shop-{it}-a").as_str().into(), format!("shop-{it}-b").as_str().into()].into();
    About {
        rollout: "shop".into(),
        uid: "4711".into(),
        services: vec![service()],
        hashes: BTreeMap::from([(arm("v1"), "hash1".into()), (arm("v2"), "hash2".into())]),
        pods: BTreeMap::from([(arm("v1"), pods("hash1")), (arm("v2"), pods("hash2"))]),
    }
}

pub fn service() -> Service {
    Service { name: "shop".into(), stable: "shop-stable".into(), canary: "shop-canary".into() }
}

pub fn weighted(ppm: u32) -> Split {
    let (weight, it) = (Weight::from_ppm(ppm), service());
    Split::fixed([(it.to_stable(), weight.complement()), (it.to_canary(), weight)].into())
}

pub fn condition(change: impl FnOnce(&mut RequestMatch)) -> RequestMatch {
    let mut it = RequestMatch::default();
    change(&mut it);
    it
}

/// What this router can express.
pub fn splits(example: &Example<Traffic>) -> Vec<Split> {
    let can = example.router.routers()[0].1.can();
    let field = |name: &str, value: &str| Field { name: name.into(), value: Pattern::Exact(value.into()) };
    let mut all: Vec<Split> = [0, 50_000, 500_000, 1_000_000, 5_000].into_iter().map(weighted).collect();
    let staff = |any_of: Vec<RequestMatch>, to| Matched { id: "staff".into(), any_of, to };
    if can.matches.headers {
        let by_header = condition(|it| it.headers = vec![field("x-canary", "1")]);
        let by_two = condition(|it| it.headers = vec![field("x-canary", "1"), field("x-staff", "yes")]);
        let mut split = weighted(0);
        split.matches = vec![staff(vec![by_header.clone()], service().to_canary())];
        all.push(split);
        let mut split = weighted(100_000);
        split.matches = vec![
            staff(vec![by_two, by_header], service().to_canary()),
            Matched {
                id: "out".into(),
                ..staff(vec![condition(|it| it.headers = vec![field("x", "z")])], service().to_stable())
            },
        ];
        all.push(split);
    }
    if can.matches.cookies && can.matches.path {
        let both = condition(|it| {
            it.cookies = vec![field("beta", "1")];
            it.path = Some(Pattern::Prefix("/pay/".into()));
        });
        let mut split = weighted(250_000);
        split.matches = vec![staff(
            vec![both, condition(|it| it.query = vec![field("canary", "1")])],
            service().to_canary(),
        )];
        all.push(split);
    }
    for share in [Weight::from_percent(10), Weight::from_ppm(1_500), Weight::FULL] {
        if can.can_mirror(share) && share != Weight::ZERO {
            let mut split = weighted(0);
            split.mirrors.insert(service().to_canary(), share);
            all.push(split);
        }
    }
    all
}
