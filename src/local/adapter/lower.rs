//! From a split of the machine to what a proxy worker is told. Pure.

use std::{collections::BTreeMap, net::SocketAddr};

use strategies::{Arm, Dest, Field, Pattern, RequestMatch, Role, Share, Split, Weight};

use crate::{
    local::proxy::{
        ArmConfig, Condition, Limits, ListenerConfig, MatchConfig, Named, Protocol, StickyConfig, Text,
        Timeouts, Upstream, WHOLE,
    },
    router::{self, Proxy},
};

/// Where one arm can be reached.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Endpoints {
    /// Replicas that may be sent requests.
    pub addresses: Vec<SocketAddr>,
}

/// One route with everything that a worker needs to serve it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteWish {
    /// The document's own settings.
    pub proxy: Proxy,
    /// What is asked; `None`: nothing can serve yet.
    pub split: Option<Split>,
    /// Every arm that exists.
    pub arms: BTreeMap<Arm, Endpoints>,
    /// Fresh replicas of stable beside the canary.
    pub fresh: Option<Fresh>,
    /// Takes what another arm could not even be connected for.
    pub fallback: Option<Arm>,
    /// Signs sticky cookies.
    pub sticky_key: String,
    /// Clients are drawn anew when this changes.
    pub attempt: u64,
}

/// Fresh replicas of stable beside a canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Fresh {
    /// They.
    pub arm: Arm,
    /// The canary, whose share of the requests they are to have too.
    pub canary: Arm,
    /// How many of them are ready.
    pub ready: u32,
    /// How many there are to be.
    pub wanted: u32,
}

impl Fresh {
    /// Their share of the requests, out of stable's: as much as the canary gets, as far as stable has it and they are
    /// ready.
    #[must_use]
    pub fn share(&self, split: &Split) -> Weight {
        match &split.share {
            Share::Fixed(weights) => {
                let of = |arm: &Arm| weights.get(&Dest::Arm(arm.clone())).map_or(0, |it| it.ppm());
                let most = of(&self.canary).min(of(&self.stable()));
                let ready = u64::from(most) * u64::from(self.ready) / u64::from(self.wanted.max(1));
                Weight::from_ppm(u32::try_from(ready).unwrap_or(most))
            }
            Share::ByReady(_) => Weight::ZERO,
        }
    }

    fn stable(&self) -> Arm {
        Arm::main(self.arm.revision.clone())
    }
}

/// The arm by its [`arm_name`].
#[must_use]
pub fn arm_of(arm_name: &str) -> Arm {
    let named = arm_name.strip_suffix(')').and_then(|it| it.split_once(" ("));
    let Some((revision, role)) = named else { return Arm::main(arm_name.into()) };
    let role = match role {
        "baseline" => Role::Baseline,
        name => Role::Trial(name.into()),
    };
    Arm { revision: revision.into(), role }
}

/// What the proxy calls an arm, and counts it by.
#[must_use]
pub fn arm_name(arm: &Arm) -> String {
    arm.to_string()
}

/// The configuration of each socket of a route, in the order of the document.
#[must_use]
pub fn listeners(wish: &RouteWish) -> Vec<ListenerConfig> {
    wish.proxy.listen.iter().map(|listen| listener(wish, listen)).collect()
}

fn listener(wish: &RouteWish, listen: &router::Listen) -> ListenerConfig {
    let upstream = match wish.proxy.protocol {
        router::Protocol::Auto => Upstream::Auto,
        router::Protocol::Http1 => Upstream::Http1,
        router::Protocol::Http2 => Upstream::Http2,
    };
    let protocol = match &listen.tls {
        None => Protocol::Http,
        Some(tls) => {
            Protocol::Tls { certificate: tls.certificate.clone().into(), key: tls.key.clone().into() }
        }
    };
    let arm = |(arm, endpoints): (&Arm, &Endpoints)| {
        let revision = arm_name(arm);
        let config =
            ArmConfig { revision, endpoints: endpoints.addresses.clone(), draining: false, upstream };
        (arm_name(arm), config)
    };
    let mut config = ListenerConfig {
        protocol,
        arms: wish.arms.iter().map(arm).collect(),
        fallback: wish.fallback.as_ref().filter(|it| wish.arms.contains_key(it)).map(arm_name),
        timeouts: timeouts(&wish.proxy.timeouts),
        limits: limits(&wish.proxy),
        trust_forwarded: wish.proxy.trust_forwarded,
        ..ListenerConfig::default()
    };
    if let Some(split) = &wish.split {
        split_into(&mut config, split, wish);
    }
    config
}

/// A split names arms that may be gone by now; such shares cannot be served and fall to the others.
fn split_into(config: &mut ListenerConfig, split: &Split, wish: &RouteWish) {
    let name = |dest: &Dest| match dest {
        Dest::Arm(arm) if wish.arms.contains_key(arm) => Some(arm_name(arm)),
        // The one route of this machine leads to arms.
        Dest::Arm(_) | Dest::Route(_) => None,
    };
    config.split = weights(split, &name, wish);
    config.matches = split
        .matches
        .iter()
        .filter_map(|it| {
            let any_of = it.any_of.iter().map(conditions).collect();
            Some(MatchConfig { id: it.id.to_string(), any_of, to: name(&it.to)? })
        })
        .collect();
    config.mirrors =
        split.mirrors.iter().filter_map(|(dest, weight)| Some((name(dest)?, weight.ppm()))).collect();
    config.sticky = split.sticky.as_ref().map(|it| StickyConfig {
        cookie: it.cookie.to_string(),
        ttl_s: it.ttl.0.as_secs(),
        key: wish.sticky_key.clone(),
        attempt: wish.attempt,
    });
}

fn weights(
    split: &Split,
    name: &impl Fn(&Dest) -> Option<String>,
    wish: &RouteWish,
) -> BTreeMap<String, u32> {
    let asked: Vec<(String, u32)> = match &split.share {
        Share::Fixed(weights) => {
            let mut asked: Vec<(String, u32)> =
                weights.iter().filter_map(|(dest, weight)| Some((name(dest)?, weight.ppm()))).collect();
            if let Some(fresh) = &wish.fresh {
                let (share, stable) = (fresh.share(split).ppm(), arm_name(&fresh.stable()));
                for (_, left) in asked.iter_mut().filter(|(name, _)| *name == stable) {
                    *left = left.saturating_sub(share);
                }
                asked.push((arm_name(&fresh.arm), share));
            }
            asked
        }
        Share::ByReady(arms) => {
            let size = |arm: &Arm| wish.arms.get(arm).map_or(0, |it| it.addresses.len());
            arms.iter().map(|arm| (arm_name(arm), u32::try_from(size(arm)).unwrap_or(u32::MAX))).collect()
        }
    };
    whole(asked)
}

/// Scales shares to the whole, so that what one lacks the others have; empty where nobody has any.
fn whole(asked: Vec<(String, u32)>) -> BTreeMap<String, u32> {
    let sum: u64 = asked.iter().map(|(_, share)| u64::from(*share)).sum();
    if sum == 0 {
        return BTreeMap::new();
    }
    let scaled = |share: u32| u32::try_from(u64::from(share) * u64::from(WHOLE) / sum).unwrap_or(WHOLE);
    let mut shares: BTreeMap<String, u32> =
        asked.into_iter().map(|(name, share)| (name, scaled(share))).collect();
    let missing = WHOLE - shares.values().sum::<u32>();
    if let Some(largest) = shares.values_mut().max() {
        *largest += missing;
    }
    shares.retain(|_, share| *share > 0);
    shares
}

fn conditions(it: &RequestMatch) -> Vec<Condition> {
    let named = |field: &Field| Named { name: field.name.to_string(), value: text(&field.value) };
    let headers = it.headers.iter().map(|it| Condition::Header(named(it)));
    let cookies = it.cookies.iter().map(|it| Condition::Cookie(named(it)));
    let query = it.query.iter().map(|it| Condition::Query(named(it)));
    headers.chain(cookies).chain(query).chain(it.path.iter().map(|it| Condition::Path(text(it)))).collect()
}

fn text(pattern: &Pattern) -> Text {
    match pattern {
        Pattern::Exact(it) => Text::Exact(it.to_string()),
        Pattern::Prefix(it) => Text::Prefix(it.to_string()),
        Pattern::Regex(it) => Text::Regex(it.to_string()),
    }
}

fn timeouts(it: &router::ProxyTimeouts) -> Timeouts {
    let ms = |it: strategies::HumanDuration| u64::try_from(it.0.as_millis()).unwrap_or(u64::MAX);
    Timeouts {
        header_read_ms: ms(it.header),
        connect_ms: ms(it.connect),
        response_head_ms: ms(it.response),
        stream_idle_ms: ms(it.stream),
        client_idle_ms: ms(it.idle),
        ..Timeouts::default()
    }
}

fn limits(proxy: &router::Proxy) -> Limits {
    let it = &proxy.limits;
    let half = if proxy.trust_forwarded { it.connections } else { it.connections.div_ceil(2) };
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Limits {
        header_bytes: size(it.header_size.bytes()),
        headers: size(it.headers.into()),
        answer_headers: size(it.answer_headers.into()),
        connections: size(it.connections.into()),
        connections_per_address: size(it.connections_per_address.unwrap_or(half).into()),
        mirrors: size(it.mirrors.into()),
        mirror_body: size(it.mirror_body.bytes()),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(arms: &[&str], split: Split) -> RouteWish {
        let listen = router::Listen { address: "127.0.0.1:80".parse().unwrap(), tls: None };
        let arm = |it: &&str| {
            (Arm::main((*it).into()), Endpoints { addresses: vec!["127.0.0.1:1".parse().unwrap()] })
        };
        RouteWish {
            proxy: Proxy { listen: vec![listen], ..Proxy::default() },
            split: Some(split),
            arms: arms.iter().map(arm).collect(),
            fresh: None,
            fallback: arms.first().map(|it| Arm::main((*it).into())),
            sticky_key: "0123456789abcdef".into(),
            attempt: 1,
        }
    }

    fn to(revision: &str) -> Dest {
        Dest::Arm(Arm::main(revision.into()))
    }

    #[test]
    fn shares_are_taken_over_exactly() {
        let weights = [(to("v1"), Weight::from_ppm(666_667)), (to("v2"), Weight::from_ppm(333_333))];
        let config = &listeners(&wish(&["v1", "v2"], Split::fixed(weights.into())))[0];
        assert_eq!(config.split, [("v1".to_owned(), 666_667), ("v2".to_owned(), 333_333)].into());
        assert_eq!(config.fallback.as_deref(), Some("v1"));
    }

    #[test]
    fn fresh_replicas_get_as_much_as_the_canary_out_of_what_stable_has() {
        let check = |canary: u32, ready: u32, expected: [u32; 3]| {
            let weights =
                [(to("v1"), Weight::from_percent(100 - canary)), (to("v2"), Weight::from_percent(canary))];
            let mut wish = wish(&["v1", "v2"], Split::fixed(weights.into()));
            let (arm, canary) = (Arm::baseline("v1".into()), Arm::main("v2".into()));
            wish.arms.insert(arm.clone(), Endpoints::default());
            wish.fresh = Some(Fresh { arm, canary, ready, wanted: 2 });
            let split = &listeners(&wish)[0].split;
            let percent = |name: &str| split.get(name).copied().unwrap_or(0) / 10_000;
            assert_eq!([percent("v1"), percent("v1 (baseline)"), percent("v2")], expected);
        };
        check(10, 2, [80, 10, 10]);
        check(10, 1, [85, 5, 10]);
        check(10, 0, [90, 0, 10]);
        check(50, 2, [0, 50, 50]);
        check(80, 2, [0, 20, 80]);
        check(100, 2, [0, 0, 100]);
    }

    #[test]
    fn an_arm_is_known_by_what_the_proxy_calls_it() {
        let trial = Arm { revision: "v1".into(), role: Role::Trial("blue".into()) };
        for arm in [Arm::main("v1".into()), Arm::baseline("v1".into()), trial] {
            assert_eq!(arm_of(&arm_name(&arm)), arm);
        }
    }

    #[test]
    fn a_share_of_an_arm_that_is_gone_falls_to_the_others() {
        let weights = [(to("v1"), Weight::from_percent(90)), (to("v2"), Weight::from_percent(10))];
        let config = &listeners(&wish(&["v1"], Split::fixed(weights.into())))[0];
        assert_eq!(config.split, [("v1".to_owned(), WHOLE)].into());
        let config = &listeners(&wish(&[], Split::all_to(to("v1"))))[0];
        assert!(config.split.is_empty(), "nobody can serve");
    }

    #[test]
    fn shares_always_sum_to_the_whole() {
        let asked =
            |shares: &[u32]| whole(shares.iter().enumerate().map(|(at, it)| (at.to_string(), *it)).collect());
        for shares in [&[1, 1, 1][..], &[7, 0, 3], &[WHOLE], &[333_333, 333_333, 333_333]] {
            assert_eq!(asked(shares).values().sum::<u32>(), WHOLE, "{shares:?}");
        }
        assert!(asked(&[0, 0]).is_empty());
    }
}
