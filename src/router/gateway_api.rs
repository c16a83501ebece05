use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Name, Weight};

use super::{Ack, Capabilities, Matching, Mirroring, Reach, RouterKind};

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
#[expect(clippy::enum_variant_names, reason = "they are called so")]
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
                cookies: false,
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
}
