use analysis::provider::{self, AnyQuestion};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::{ProviderKind, Whom, Yields};
use crate::written::MetricText;

/// A program of this machine that prints a measurement as JSON, as one side of a line of `serinus judge`:
/// `{"total":50,"bad":1}`, `{"value":0.5}`, `{"values":[0.4,0.6]}`, or `{"bounds":[0.1],"buckets":[3,5]}`. The time it is
/// asked about stands in `SERINUS_FROM` and `SERINUS_TO`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments; there is no shell.
    #[schemars(length(min = 1, max = 64))]
    pub command: Vec<MetricText>,
    /// What it prints.
    pub prints: Prints,
    /// How long it may take. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
}

/// What a program prints.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Prints {
    /// `total` and `bad`: events of the time that it is asked about.
    Counts,
    /// `bounds` and `buckets`: the same by how long they took, cumulative, all of them last.
    Buckets,
    /// `value` or `values`.
    Value,
}

impl ProviderKind for Command {
    fn texts(&self) -> Vec<(&'static str, &MetricText)> {
        self.command.iter().map(|it| ("command", it)).collect()
    }

    fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
        Self { command: self.command.iter().map(fill).collect(), ..self.clone() }
    }

    fn yields(&self) -> Yields {
        match self.prints {
            Prints::Counts => Yields::Counts,
            Prints::Buckets => Yields::Buckets,
            Prints::Value => Yields::Value,
        }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::ThisMachine
    }

    fn question(&self, fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion> {
        let command = self.command.iter().map(fill).collect();
        Some(AnyQuestion::Command(provider::Command { command, timeout: self.timeout.map(|it| it.0) }))
    }

    /// An argument of a program is one argument, whatever is in it.
    fn escape(value: &str) -> String {
        value.to_owned()
    }
}
