//! The state of the engine as Prometheus reads it.

use std::{fmt::Write as _, sync::Arc};

use super::view::RolloutView;

/// Writes how the rollouts stand, and whether the store saves.
///
/// # Errors
/// Those of the text it is written to.
pub fn engine(text: &mut String, rollouts: &[Arc<RolloutView>], store: bool) -> std::fmt::Result {
    gauge(text, "serinus_store_good", "Whether the store saves; if not, nothing is acted on")?;
    writeln!(text, "serinus_store_good {}", u8::from(store))?;
    gauge(text, "serinus_rollout_phase", "1 for the phase that a rollout is in")?;
    for it in rollouts {
        writeln!(
            text,
            "serinus_rollout_phase{{rollout=\"{}\",phase=\"{}\"}} 1",
            escaped(it.name.as_str()),
            it.phase
        )?;
    }
    gauge(text, "serinus_rollout_attempt", "Which attempt a rollout is in")?;
    for it in rollouts {
        writeln!(
            text,
            "serinus_rollout_attempt{{rollout=\"{}\"}} {}",
            escaped(it.name.as_str()),
            it.attempt
        )?;
    }
    gauge(
        text,
        "serinus_rollout_canary_weight",
        "Share of the requests that the canary is asked to get, 0 to 1",
    )?;
    for it in rollouts {
        let weight = it.weight.asked.fraction();
        writeln!(
            text,
            "serinus_rollout_canary_weight{{rollout=\"{}\"}} {weight}",
            escaped(it.name.as_str())
        )?;
    }
    gauge(text, "serinus_rollout_replicas", "Replicas by role; state is desired or ready")?;
    for it in rollouts {
        for arm in &it.arms {
            let (name, role) = (escaped(it.name.as_str()), format!("{:?}", arm.role).to_lowercase());
            let revision = escaped(arm.revision.as_str());
            for (state, count) in [("desired", Some(arm.desired)), ("ready", arm.ready)] {
                if let Some(count) = count {
                    let labels = format!(
                        "rollout=\"{name}\",role=\"{role}\",revision=\"{revision}\",state=\"{state}\""
                    );
                    writeln!(text, "serinus_rollout_replicas{{{labels}}} {count}")?;
                }
            }
        }
    }
    gauge(text, "serinus_rollout_troubles", "Things that are wrong with a rollout, as its status tells")?;
    for it in rollouts {
        let name = escaped(it.name.as_str());
        writeln!(text, "serinus_rollout_troubles{{rollout=\"{name}\"}} {}", it.troubles.len())?;
    }
    Ok(())
}

fn gauge(text: &mut String, name: &str, help: &str) -> std::fmt::Result {
    writeln!(text, "# HELP {name} {help}.\n# TYPE {name} gauge")
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
