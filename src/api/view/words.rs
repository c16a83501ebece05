use strategies::{Action, ActivityId, Cause, Hold, Name, Verdict, WaitingFor};

/// What is waited for, in plain words without the times.
#[must_use]
pub fn words(what: &WaitingFor) -> String {
    match what {
        WaitingFor::Observation { of } => format!("{of} to answer"),
        WaitingFor::Workload => "the workload to exist".to_owned(),
        WaitingFor::Replicas { arm, needed, ready } => replicas(&arm.to_string(), *needed, *ready),
        WaitingFor::StableIsDown { arm } => {
            format!(
                "a replica of stable ({arm}) to get ready; until then traffic stays where something answers"
            )
        }
        WaitingFor::Settling { route } => format!("the data plane of {route} to settle on the split"),
        WaitingFor::RouteMissing { route } => {
            format!("{route} to exist: nothing is sent to what is not there")
        }
        WaitingFor::Claim { arm } => format!("{arm} to be marked as belonging to this rollout"),
        WaitingFor::Pin { arm } => {
            format!(
                "a Service that serves whatever is ready to be pinned, or {arm} would get requests unasked"
            )
        }
        WaitingFor::InUse { arm, needed } => {
            format!("requests to leave {arm}: those that may still come need {needed} of its replicas")
        }
        WaitingFor::Room { arm, limit } => {
            format!("room for more replicas of {arm}: {limit} of all revisions together are allowed")
        }
        WaitingFor::Owner { goal } => format!("the workload's own controller to get to {goal:?}"),
        WaitingFor::UsersOwn => "the workload to be given back: it was taken over by hand".to_owned(),
        WaitingFor::Time => "the time that the step asks for".to_owned(),
        WaitingFor::Bake => {
            "the bake to end: all traffic is on the canary, stable is kept for a quick way back".to_owned()
        }
        WaitingFor::Evidence { analyses } => {
            format!("evidence of {}", list(analyses.iter().map(Name::as_str)))
        }
        WaitingFor::Approval { step } => format!("somebody to approve step {step}"),
        WaitingFor::Order { any_of } => format!("an order: {}", actions(any_of)),
        WaitingFor::StepGone { step, any_of } => {
            format!("an order: the plan has no step {step} any more; {}", actions(any_of))
        }
        WaitingFor::Contested { object, field, manager } => {
            let who = manager.as_ref().map_or("somebody else", Name::as_str);
            format!("{who} to stop changing {field} of {object}")
        }
        WaitingFor::KeepingCanary { revision } => {
            format!("the time that the replicas of {revision} are kept to be looked at")
        }
        WaitingFor::ScaledToZero => {
            "replicas: none is wanted, so nothing of the canary can be tried".to_owned()
        }
        WaitingFor::Missing { what } => match what.as_slice() {
            [one] => format!("{one}, which is not there"),
            all => format!(
                "{}, which are not there",
                all.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
            ),
        },
        WaitingFor::ModePaused => "mode: active; it is paused".to_owned(),
        WaitingFor::ModeOff => "mode: active; it is off".to_owned(),
        WaitingFor::AnotherRevision { refused } => {
            format!("another revision, or a retry: {refused} was rolled back")
        }
    }
}

fn actions(any_of: &[Action]) -> String {
    let words: Vec<String> = any_of.iter().map(Action::to_string).collect();
    list(words.iter().map(String::as_str))
}

fn replicas(arm: &str, needed: u32, ready: Option<u32>) -> String {
    let noun = if needed == 1 { "replica" } else { "replicas" };
    match ready {
        Some(ready) => format!("{needed} {noun} of {arm} to be ready ({ready} so far)"),
        None => format!("{needed} {noun} of {arm} to be ready (how many are is not known)"),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    match words.split_last() {
        None => "nobody".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, before)) => format!("{} or {last}", before.join(", ")),
    }
}

/// Why it turns, or turned, back.
#[must_use]
pub fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Aborted { by, reason: Some(reason) } => format!("{by} aborted it: {reason}"),
        Cause::Aborted { by, reason: None } => format!("{by} aborted it"),
        Cause::Analysis { id, verdict, because: Some(because) } => {
            format!("{} {}: {because}", analysis(id), said(*verdict))
        }
        Cause::Analysis { id, verdict, because: None } => format!("{} {}", analysis(id), said(*verdict)),
        Cause::ProgressDeadline => {
            "replicas, data plane or hand-over took longer than the progress deadline allows".to_owned()
        }
        Cause::NotApproved { step } => format!("nobody approved step `{step}` in time"),
        Cause::Superseded { by } => format!("revision {by} took its place"),
        Cause::Leaving => "the rollout is being deleted".to_owned(),
    }
}

/// Why no step is taken.
#[must_use]
pub fn hold(hold: &Hold) -> String {
    match hold {
        Hold::Ordered { by } => format!("{by} paused it"),
        Hold::Verdict { id, verdict } => format!("{} {}", analysis(id), said(*verdict)),
        Hold::ProgressDeadline => "the progress deadline passed".to_owned(),
    }
}

fn analysis(id: &ActivityId) -> String {
    format!("analysis `{}`", id.name)
}

/// A verdict as the end of a sentence.
#[must_use]
pub fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pending => "is not over",
        Verdict::Pass => "passed",
        Verdict::Fail => "failed",
        Verdict::Inconclusive => "found nothing out",
        Verdict::Error => "could not measure",
    }
}

#[cfg(test)]
mod tests {
    use strategies::Arm;

    use super::*;

    #[test]
    fn waits_are_told_in_plain_words() {
        let missing =
            |what: &[&str]| WaitingFor::Missing { what: what.iter().map(|it| (*it).into()).collect() };
        let said = words(&missing(&["AnalysisTemplate golden-signals"]));
        assert_eq!(said, "AnalysisTemplate golden-signals, which is not there");
        let said = words(&missing(&["MetricSource a", "MetricSource b"]));
        assert_eq!(said, "MetricSource a, MetricSource b, which are not there");
        let arm = Arm::main("v2".into());
        let said = words(&WaitingFor::Replicas { arm, needed: 2, ready: Some(1) });
        assert_eq!(said, "2 replicas of v2 to be ready (1 so far)");
        let said =
            words(&WaitingFor::Order { any_of: vec![Action::Resume, Action::PromoteFull, Action::Abort] });
        assert_eq!(said, "an order: resume, promote --full or abort");
    }
}
