//! What moves the traffic: the platforms that Serinus drives and does not own.
//!
//! Adding a router: write `router/<name>.rs` with a record that implements [`RouterKind`], then add one line to
//! `routers!` below. A plan that asks a router for more than [`Capabilities`] says is refused when it is read. What is
//! carried by objects of a cluster implements [`RouteCodec`] besides; `tests/conformance` plays through its examples.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Pattern, RequestMatch, RouteId, Weight};

mod ack;
mod codec;
mod gateway_api;
mod proxy;
mod service;

pub use self::{
    ack::Acks,
    codec::{About, AsWritten, RouteAsk, RouteCodec, RouteRead, Service, service_route},
    gateway_api::{GatewayApi, GatewayRoute, Own, RouteName, RouteReference},
    proxy::{Listen, Protocol, Proxy, ProxyLimits, ProxyTimeouts, Tls},
    service::{Part, ServiceRoute},
};

/// What a router can express and how it reports back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Capabilities {
    /// Weights are whole multiples of this.
    pub finest: Weight,
    /// By what a request can be told apart.
    pub matches: Matching,
    /// Which share of the requests can be copied.
    pub mirror: Mirroring,
    /// Whether clients can be kept where they were first sent.
    pub sticky: bool,
    /// How it says that a split is in force.
    pub ack: Ack,
    /// How long its data plane may lag behind that. Users can write more.
    pub settle: HumanDuration,
}

/// By what a request can be told apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Matching {
    /// By headers.
    pub headers: bool,
    /// By cookies.
    pub cookies: bool,
    /// By query parameters.
    pub query: bool,
    /// By path.
    pub path: bool,
    /// By the beginning of a header, cookie or query parameter.
    pub prefix: bool,
    /// By regular expressions.
    pub regex: bool,
}

/// Which share of the requests can be copied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mirroring {
    /// None.
    No,
    /// All of them or none.
    All,
    /// Any share.
    Share,
}

/// How a router says that a split is in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ack {
    /// Its object says which generation it has taken up.
    Generation,
    /// Its endpoints can be read.
    Endpoints,
    /// It answers once the split is in force.
    Applied,
    /// Not at all: only time helps.
    Never,
}

/// Where a router can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// On this machine.
    Machine,
    /// In a cluster.
    Cluster,
}

/// One kind of router.
pub trait RouterKind {
    /// What it can do.
    fn can(&self) -> Capabilities;

    /// Where it can be used.
    fn reach(&self) -> Reach;

    /// The routes of a cluster that it names, by the id that a plan uses; none for what is no object of a cluster.
    fn codecs(&self) -> Vec<(RouteId, Box<dyn RouteCodec>)> {
        vec![]
    }

    /// Typical and extreme uses that the conformance suite plays through: documents of this router, each with the
    /// objects of a cluster that users have beside it.
    fn examples() -> Vec<Example<Self>>
    where
        Self: Sized;
}

/// One use of a router.
#[derive(Clone, Debug)]
pub struct Example<K> {
    /// What is special about it.
    pub name: &'static str,
    /// What the document says.
    pub router: K,
    /// What stands in the cluster.
    pub objects: Vec<serde_json::Value>,
}

macro_rules! routers {
    ($($(#[$doc:meta])* $key:literal $field:ident : $Kind:ident,)*) => {
        /// One entry for users' requests, and what moves them there: exactly one router.
        #[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields, default)]
        pub struct Traffic {
            $($(#[$doc])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$Kind>,)*
            /// How long the data plane may lag behind its own acknowledgement. Default: what is known of the router.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub settle: Option<HumanDuration>,
        }

        impl Traffic {
            /// The keys of every router.
            pub const KEYS: &[&str] = &[$($key),*];

            /// The routers that are given, by key; exactly one in a document without mistakes.
            #[must_use]
            pub fn routers(&self) -> Vec<(&'static str, &dyn RouterKind)> {
                let mut routers: Vec<(&'static str, &dyn RouterKind)> = Vec::new();
                $(if let Some(it) = &self.$field { routers.push(($key, it)); })*
                routers
            }

            /// Typical and extreme uses of every router, each as a user would write it.
            #[must_use]
            pub fn examples() -> Vec<Example<Self>> {
                let mut all = vec![];
                $(all.extend($Kind::examples().into_iter().map(|it| Example {
                    name: it.name,
                    router: Self { $field: Some(it.router), ..Self::default() },
                    objects: it.objects,
                }));)*
                all
            }
        }
    };
}

routers! {
    /// The proxy that is built in.
    "proxy" proxy: Proxy,
    /// Routes of the Kubernetes Gateway API.
    "gatewayApi" gateway_api: GatewayApi,
}

impl Traffic {
    /// The routes of a cluster that it names.
    #[must_use]
    pub fn codecs(&self) -> Vec<(RouteId, Box<dyn RouteCodec>)> {
        self.routers().into_iter().flat_map(|(_, it)| it.codecs()).collect()
    }
}

impl Capabilities {
    /// Why this weight cannot be set, and the nearest ones that can: below and above.
    #[must_use]
    pub fn refuses_weight(&self, weight: Weight) -> Option<(Weight, Weight)> {
        let step = self.finest.ppm().max(1);
        let below = weight.ppm() / step * step;
        (below != weight.ppm())
            .then(|| (Weight::from_ppm(below), Weight::from_ppm(below.saturating_add(step))))
    }

    /// Why this condition cannot be set: what the router cannot look at.
    #[must_use]
    pub fn refuses_match(&self, it: &RequestMatch) -> Option<&'static str> {
        let Matching { headers, cookies, query, path, prefix, regex } = self.matches;
        if !it.headers.is_empty() && !headers {
            return Some("headers");
        }
        if !it.cookies.is_empty() && !cookies {
            return Some("cookies");
        }
        if !it.query.is_empty() && !query {
            return Some("query parameters");
        }
        if it.path.is_some() && !path {
            return Some("paths");
        }
        let fields = || it.headers.iter().chain(&it.cookies).chain(&it.query).map(|it| &it.value);
        if !prefix && fields().any(|it| matches!(it, Pattern::Prefix(_))) {
            return Some("the beginning of a header, cookie or query parameter");
        }
        if !regex && fields().chain(&it.path).any(|it| matches!(it, Pattern::Regex(_))) {
            return Some("regular expressions");
        }
        None
    }

    /// Whether this share of the requests can be copied.
    #[must_use]
    pub fn can_mirror(&self, share: Weight) -> bool {
        match self.mirror {
            Mirroring::No => share == Weight::ZERO,
            Mirroring::All => share == Weight::ZERO || share == Weight::FULL,
            Mirroring::Share => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use strategies::Field;

    use super::*;

    fn coarse() -> Capabilities {
        let can = GatewayApi::default().can();
        let matches = Matching { cookies: false, ..can.matches };
        Capabilities { finest: Weight::ONE_PERCENT, mirror: Mirroring::All, matches, ..can }
    }

    #[test]
    fn a_weight_between_two_steps_is_refused_with_both_neighbours() {
        let (below, above) = coarse().refuses_weight(Weight::from_ppm(123_400)).unwrap();
        assert_eq!((below, above), (Weight::from_percent(12), Weight::from_percent(13)));
        assert_eq!(coarse().refuses_weight(Weight::from_percent(12)), None);
        assert_eq!(Proxy::default().can().refuses_weight(Weight::from_ppm(1)), None);
    }

    #[test]
    fn what_a_router_cannot_look_at_is_named() {
        let cookie = Field { name: "a".into(), value: Pattern::Exact("b".into()) };
        let by_cookie = RequestMatch { cookies: vec![cookie], ..RequestMatch::default() };
        assert_eq!(coarse().refuses_match(&by_cookie), Some("cookies"));
        assert_eq!(Proxy::default().can().refuses_match(&by_cookie), None);
        assert!(!coarse().can_mirror(Weight::ONE_PERCENT));
    }
}
