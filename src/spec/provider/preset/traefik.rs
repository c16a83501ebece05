use super::DataPlane;

/// Source: Traefik's documentation, "Metrics" (observability/metrics/overview), and series of version 3.7. A service is
/// called `shop@file`, `default-shop-80@kubernetescrd`, or `default-shop-http-80@kubernetesgateway`.
pub(super) const EXPORTS: DataPlane = DataPlane {
    label: "service",
    arm: "($(namespace)-)?$(arm.service)(-http)?(-[0-9]+)?@[a-z]+",
    always: "",
    requests: "traefik_service_requests_total",
    bad: "code=~\"5..\"",
    durations: "traefik_service_request_duration_seconds_bucket",
};
