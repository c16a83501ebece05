//! Pure rollout machine.
