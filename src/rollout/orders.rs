//! Orders that people give: completed, and why one has no effect.

use rand::TryRngCore as _;
use strategies::{Name, Order, Status};

use crate::api::{
    Refusal,
    view::{NewOrder, RolloutView},
};

/// 32 hexadecimal digits that nobody can guess.
///
/// # Errors
/// When the kernel gives none.
pub fn random() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Refusal::Unavailable(format!("the kernel gives no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Fills in what an order is about where it does not say. `by`: who gives it.
///
/// # Errors
/// When nothing is on trial that it could be about.
pub fn complete(new: NewOrder, status: Option<&Status>, by: Name) -> Result<Order, Refusal> {
    let NewOrder { id, action, revision, attempt, step, reason, not_after } = new;
    let on_trial = status.and_then(|it| it.canary.clone());
    let revision = revision.or(on_trial).ok_or_else(|| {
        Refusal::Conflict(format!("there is no canary that could be told to {action}: nothing is on trial"))
    })?;
    let id = match id {
        Some(id) => id,
        None => random()?.into(),
    };
    let attempt = attempt.unwrap_or_else(|| status.map_or(0, |it| it.attempt));
    Ok(Order { id, action, revision, attempt, step, by, reason, not_after })
}

/// Why an order has had no effect, in plain words.
#[must_use]
pub fn why_not(order: &Order, view: &RolloutView) -> String {
    if view.canary.as_ref() != Some(&order.revision) {
        return format!("it is about {}, and that is not on trial", order.revision);
    }
    if view.attempt != order.attempt {
        return format!("it is about attempt {}, and this is attempt {}", order.attempt, view.attempt);
    }
    if let Some(trouble) = view.troubles.first() {
        return format!("the engine cannot act: {}", trouble.text);
    }
    let open: Vec<String> = view.orders.iter().map(ToString::to_string).collect();
    match open.is_empty() {
        true => format!("in phase {} there is nothing to {}", view.phase, order.action),
        false => format!("in phase {} it has no effect; what has: {}", view.phase, open.join(", ")),
    }
}
