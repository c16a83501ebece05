use super::DataPlane;

/// Source: OpenTelemetry, "Semantic conventions for HTTP metrics" (`http.server.request.duration`, stable), in the names
/// that the conversion to Prometheus gives them. Every service calls its label of the replica otherwise: `pod` where
/// Prometheus scrapes it, `k8s_pod_name` where a collector writes it.
pub(super) const EXPORTS: DataPlane = DataPlane {
    label: "pod",
    arm: "$(arm.pods)",
    always: "",
    requests: "http_server_request_duration_seconds_count",
    bad: "http_response_status_code=~\"5..\"",
    durations: "http_server_request_duration_seconds_bucket",
};
