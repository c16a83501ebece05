//! Words that people bring along from elsewhere, and what to say to them.

/// Why a field is not there yet.
pub(super) fn reserved(key: &str) -> Option<&'static str> {
    Some(match key {
        "group" => "several services released together are not supported yet: write one Rollout for each",
        "strategyRef" => "strategies cannot be shared between Rollouts yet: write the strategy out",
        "experiment" => {
            "steps that compare more than two versions are not supported yet: use `analyze` or `abTest`"
        }
        "plugin" => {
            "steps cannot run programs of your own yet: use `approve` and let a pipeline give the answer"
        }
        "hooks" => "nothing outside is called yet: use `approve` and let a pipeline give the answer",
        _ => return None,
    })
}

/// What a word of another tool is called here.
pub(super) fn elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "setWeight" | "stepWeight" => "write `weight: 5%`",
        "setCanaryScale" => "write `scale: { replicas: 2 }`",
        "setHeaderRoute" => "write `match: { id: …, anyOf: [ { headers: [ { name: …, exact: … } ] } ] }`",
        "setMirrorRoute" | "mirrorWeight" => "write `mirror: 10%`",
        "duration" => "write `for`, such as `for: 10m`",
        "interval" => "write `every`, such as `every: 10s`",
        "analysis" => "write `analyses`, a list of guards, or `analyze` in a step",
        "template" => "name the workload in `workloadRef`; it keeps its own pod template",
        "targetRef" => "write `workloadRef`",
        "progressDeadlineSeconds" => "write `deadlines: { progress: 10m }`",
        "successCondition" => "write `judge: { threshold: { pass: … } }`",
        "failureCondition" => "write `judge: { threshold: { fail: … } }`",
        "failureLimit" | "count" | "consecutiveErrorLimit" => "it belongs below `judge: { threshold: … }`",
        "maxSurge" => "write `capacity: { surge: 100% }`",
        "maxUnavailable" => "write `capacity: { maxUnavailable: 25% }`",
        "autoPromotionEnabled" | "autoPromotionSeconds" => {
            "write `promote: { auto: {} }`, `{ manual: {} }` or `{ after: 10m }`"
        }
        "prePromotionAnalysis" => "write `before: [ { analyze: … } ]`",
        "postPromotionAnalysis" => "write `after: [ { analyze: … } ]`",
        "previewService" => "write `preview: { service: … }`",
        _ => return None,
    })
}

/// A pattern in words.
pub(super) fn pattern(pattern: &str) -> String {
    match pattern {
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$" => {
            "lower-case letters, digits and `-`, beginning and ending with a letter or digit".into()
        }
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$" => {
            "lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit".into()
        }
        r"^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$" => {
            "letters, digits, `-` and `_`, beginning and ending with a letter or digit".into()
        }
        r"^[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?$" => {
            "letters, digits, `-`, `.` and `_`, beginning and ending with a letter or digit".into()
        }
        r"^[A-Za-z_][A-Za-z0-9_.-]*$" => "letters, digits and `_`, not beginning with a digit".into(),
        r"^[A-Za-z0-9._:\[\]-]+$" => "a name or an address, with a port where it has one".into(),
        r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$" => "letters, digits and characters such as `-`, no blanks".into(),
        r"^[\t\x20-\x7e]*$" => "printable characters of ASCII".into(),
        r"^https?://" => "begin with `http://` or `https://`".into(),
        r"^/" => "begin with `/`".into(),
        _ => format!("it must fit the pattern {pattern}"),
    }
}
