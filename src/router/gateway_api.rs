use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Name, RouteId, Weight};

use super::{Ack, Capabilities, Example, Matching, Mirroring, Reach, RouterKind, codec::RouteCodec};

mod examples;
mod matches;
mod originals;
mod route;
mod rules;
mod status;
mod weights;

pub use route::GatewayRoute;

/// Routes of the Kubernetes Gateway API.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GatewayApi {
    /// The routes; all are moved together.
    #[schemars(length(min = 1, max = 16))]
    pub routes: Vec<RouteReference>,
    /// What is written in them. Default `auto`.
    #[serde(default)]
    pub own: Own,
}

/// One route.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteReference {
    /// Its kind. Default `HTTPRoute`.
    #[serde(default)]
    pub kind: RouteName,
    /// Its name.
    pub name: Name,
}

/// Kinds of routes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum RouteName {
    /// HTTP.
    #[default]
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// gRPC.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
    /// TCP: weights only.
    #[serde(rename = "TCPRoute")]
    TcpRoute,
    /// TLS passed through: weights only.
    #[serde(rename = "TLSRoute")]
    TlsRoute,
}

/// What is written in a user's route.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Own {
    /// Weights if both backends stand in the route, backends otherwise.
    #[default]
    Auto,
    /// Only weights: both backends stand in the route.
    Weights,
    /// Backends: they are added, and the original is restored.
    Backends,
}

impl RouterKind for GatewayApi {
    fn can(&self) -> Capabilities {
        let told_apart = self.routes.iter().all(|it| match it.kind {
            RouteName::HttpRoute | RouteName::GrpcRoute => true,
            RouteName::TcpRoute | RouteName::TlsRoute => false,
        });
        let http = self.routes.iter().all(|it| matches!(it.kind, RouteName::HttpRoute));
        Capabilities {
            // Weights are integers up to a million.
            finest: Weight::from_ppm(1),
            matches: Matching {
                headers: told_apart,
                cookies: told_apart,
                query: http,
                path: http,
                prefix: false,
                regex: told_apart,
            },
            mirror: if told_apart { Mirroring::Share } else { Mirroring::No },
            sticky: false,
            ack: Ack::Generation,
            settle: HumanDuration::from_secs(3),
        }
    }

    fn reach(&self) -> Reach {
        Reach::Cluster
    }

    fn codecs(&self) -> Vec<(RouteId, Box<dyn RouteCodec>)> {
        let one = |it: &RouteReference| {
            let codec = GatewayRoute { kind: it.kind, name: it.name.clone(), own: self.own };
            (RouteId::from(codec.object().to_string()), Box::new(codec) as Box<dyn RouteCodec>)
        };
        self.routes.iter().map(one).collect()
    }

    fn examples() -> Vec<Example<Self>> {
        examples::all()
    }
}

impl RouteName {
    /// As it stands in an object.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TcpRoute => "TCPRoute",
            Self::TlsRoute => "TLSRoute",
        }
    }

    /// Group and version in which the kind is served.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self {
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io/v1",
            Self::TcpRoute | Self::TlsRoute => "gateway.networking.k8s.io/v1alpha2",
        }
    }
}
