use super::DataPlane;

/// Source: Istio's documentation, "Istio Standard Metrics". A response code of 0 is a request that got no answer. Durations
/// are milliseconds.
pub(super) const EXPORTS: DataPlane = DataPlane {
    label: "pod",
    arm: "$(arm.pods)",
    always: "reporter=\"destination\",",
    requests: "istio_requests_total",
    bad: "response_code=~\"5..|0\"",
    durations: "istio_request_duration_milliseconds_bucket",
};
