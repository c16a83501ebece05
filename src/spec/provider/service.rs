//! What the records of services have in common that keep numbers by buckets of time.

use analysis::provider::{AnyQuestion, Slots, Timed, Wanted};
use strategies::HumanDuration;

use super::{Mistake, Yields};
use crate::{spec::rules, written::MetricText};

/// What is asked of such a service, as its record says it.
pub(super) struct Asked<'a> {
    pub(super) value: Option<&'a MetricText>,
    pub(super) bad: Option<&'a MetricText>,
    pub(super) total: Option<&'a MetricText>,
    pub(super) bucket: Option<HumanDuration>,
    pub(super) delay: Option<HumanDuration>,
}

/// What one service needs besides.
pub(super) trait ServiceRecord {
    /// How long after its end a bucket may still change, where the record does not say.
    const DELAY: HumanDuration;

    /// The question, with every text filled in.
    fn question_of(&self, timed: Timed, fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion;

    /// A value as it may stand in its texts.
    fn escape(value: &str) -> String;

    /// Its own texts besides what is asked.
    fn own_texts(&self) -> Vec<(&'static str, &MetricText)> {
        vec![]
    }

    /// Fills parameters into its own texts.
    fn fill_own(&mut self, _fill: &dyn Fn(&MetricText) -> MetricText) {}

    /// What no schema can say: of one text of those that ask, and whether it is about events.
    fn wrong_text(_text: &MetricText, _counts: bool) -> Option<(String, &'static str)> {
        None
    }

    /// What is wrong with a length of buckets, and which ones there are.
    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str>;

    /// Anything else.
    fn wrong_besides(&self) -> Vec<Mistake> {
        vec![]
    }
}

/// The length of buckets where a record says none.
pub(super) const BUCKET: HumanDuration = HumanDuration::from_secs(60);

impl<'a> Asked<'a> {
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &'a MetricText)> + use<'a> {
        let all = [("value", self.value), ("bad", self.bad), ("total", self.total)];
        all.into_iter().filter_map(|(key, text)| Some((key, text?)))
    }

    pub(super) fn yields(&self) -> Yields {
        match (self.value, self.bad, self.total) {
            (Some(_), None, None) => Yields::Value,
            (None, Some(_), Some(_)) => Yields::Counts,
            _ => Yields::Unclear,
        }
    }

    pub(super) fn timed<S: ServiceRecord>(&self, fill: &dyn Fn(&MetricText) -> String) -> Option<Timed> {
        let wanted = match (self.value, self.bad, self.total) {
            (Some(it), None, None) => Wanted::Value(fill(it)),
            (None, Some(bad), Some(total)) => Wanted::Counts { bad: fill(bad), total: fill(total) },
            _ => return None,
        };
        let (bucket, delay) = (self.bucket.unwrap_or(BUCKET).0, self.delay.unwrap_or(S::DELAY).0);
        Some(Timed { wanted, slots: Slots { bucket, delay } })
    }

    pub(super) fn mistakes<S: ServiceRecord>(&self) -> Vec<Mistake> {
        let mut found = vec![];
        if self.yields() == Yields::Unclear {
            found.push(Mistake {
                key: None,
                message: rules::ONE_QUESTION_OF_A_SERVICE.words.to_owned(),
                help: rules::ONE_QUESTION_OF_A_SERVICE.cure,
            });
        }
        if let Some(help) = self.bucket.and_then(S::wrong_bucket) {
            let message = "its buckets cannot have this length".to_owned();
            found.push(Mistake { key: Some("bucket"), message, help });
        }
        for (key, text) in self.texts() {
            if let Some((message, help)) = S::wrong_text(text, key != "value") {
                found.push(Mistake { key: Some(key), message, help });
            }
        }
        found
    }
}

/// Quotes of both kinds and backslashes, escaped by a backslash.
pub(super) fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\'', "\\'");
    escaped.replace('\n', "\\n").replace('\r', "\\r")
}

/// The same text with every character that a language gives a meaning replaced by `_`.
pub(super) fn plain(value: &str, allowed: &str) -> String {
    value.chars().map(|it| if it.is_alphanumeric() || allowed.contains(it) { it } else { '_' }).collect()
}

/// What is wrong with a length of buckets that must be whole seconds.
pub(super) fn whole_seconds(bucket: HumanDuration) -> Option<&'static str> {
    let whole = bucket.0.subsec_nanos() == 0 && bucket.0.as_secs() != 0;
    (!whole).then_some("write whole seconds, `1m` for example")
}

/// A record of such a service: what all of them have, then its own fields.
macro_rules! service_record {
    ($(#[$doc:meta])* $Name:ident { $($(#[$field_doc:meta])* $field:ident: $Type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct $Name {
            /// A source that an operator has set up.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub source_ref: Option<$crate::spec::provider::SourceRef>,
            /// Its address; in a cluster only where the operator's policy allows it.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(regex(pattern = r"^https?://"))]
            pub address: Option<String>,
            $($(#[$field_doc])* pub $field: $Type,)*
            /// One number of the newest complete bucket.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub value: Option<$crate::written::MetricText>,
            /// Bad events, added up over each bucket.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub bad: Option<$crate::written::MetricText>,
            /// All events, added up over each bucket.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub total: Option<$crate::written::MetricText>,
            /// The length of a bucket of time. Default 1m.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub bucket: Option<::strategies::HumanDuration>,
            /// How long after its end a bucket may still change, and is not read. Default: as the service is known to
            /// need.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub delay: Option<::strategies::HumanDuration>,
        }

        impl $Name {
            fn asked(&self) -> $crate::spec::provider::service::Asked<'_> {
                let Self { value, bad, total, bucket, delay, .. } = self;
                $crate::spec::provider::service::Asked {
                    value: value.as_ref(),
                    bad: bad.as_ref(),
                    total: total.as_ref(),
                    bucket: *bucket,
                    delay: *delay,
                }
            }
        }

        impl $crate::spec::provider::ProviderKind for $Name {
            fn texts(&self) -> Vec<(&'static str, &$crate::written::MetricText)> {
                self.asked().texts().chain(self.own_texts()).collect()
            }

            fn filled(
                &self,
                fill: &dyn Fn(&$crate::written::MetricText) -> $crate::written::MetricText,
            ) -> Self {
                let mut filled = Self {
                    value: self.value.as_ref().map(fill),
                    bad: self.bad.as_ref().map(fill),
                    total: self.total.as_ref().map(fill),
                    ..self.clone()
                };
                filled.fill_own(fill);
                filled
            }

            fn yields(&self) -> $crate::spec::provider::Yields {
                self.asked().yields()
            }

            fn whom(&self) -> $crate::spec::provider::Whom<'_> {
                $crate::spec::provider::Whom::Source {
                    source_ref: self.source_ref.as_ref(),
                    address: self.address.as_deref(),
                }
            }

            fn question(
                &self,
                fill: &dyn Fn(&$crate::written::MetricText) -> String,
            ) -> Option<::analysis::provider::AnyQuestion> {
                Some(self.question_of(self.asked().timed::<Self>(fill)?, fill))
            }

            fn escape(value: &str) -> String {
                <Self as $crate::spec::provider::service::ServiceRecord>::escape(value)
            }

            fn mistakes(&self) -> Vec<$crate::spec::provider::Mistake> {
                let mut found = self.asked().mistakes::<Self>();
                found.extend(self.wrong_besides());
                found
            }
        }
    };
}

pub(super) use service_record;
