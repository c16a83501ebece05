//! The kinds of documents.
//!
//! Adding one: write its record in `spec/<name>.rs`, then add one line to `kinds!` below; reading, schema and
//! `lint` follow.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use strategies::Name;

use super::{
    analysis_run::AnalysisRunSpec,
    meta::{ApiVersion, Metadata},
    metric_source::MetricSourceSpec,
    order::RolloutOrderSpec,
    rollout::RolloutSpec,
    template::AnalysisTemplateSpec,
};

macro_rules! kinds {
    ($($(#[$doc:meta])* $Kind:ident($Spec:ty),)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
            #[serde(rename_all = "camelCase", deny_unknown_fields)]
            pub struct $Kind {
                /// The version of the format.
                pub api_version: ApiVersion,
                /// The kind of document.
                #[schemars(extend("const" = stringify!($Kind)))]
                pub kind: String,
                /// What it is called.
                pub metadata: Metadata,
                /// What is asked for.
                pub spec: $Spec,
                /// What is so. Written by Serinus.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub status: Option<serde_json::Value>,
            }
        )*

        /// One document.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Document { $($(#[$doc])* $Kind(Box<$Kind>),)* }

        /// The kinds of documents.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Kind { $($(#[$doc])* $Kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$Kind,)*];

            /// Its name in documents.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$Kind => stringify!($Kind),)* }
            }

            /// The schema of such documents, as the types say it.
            pub(super) fn schema_from(self, generator: SchemaGenerator) -> Schema {
                match self { $(Self::$Kind => generator.into_root_schema_for::<$Kind>(),)* }
            }

            /// A document from a value that fits the schema.
            ///
            /// # Errors
            ///
            /// Where the value does not fit, and why.
            pub(super) fn document(
                self,
                value: serde_json::Value,
            ) -> Result<Document, serde_path_to_error::Error<serde_json::Error>> {
                match self {
                    $(Self::$Kind => serde_path_to_error::deserialize(value).map(|it| Document::$Kind(Box::new(it))),)*
                }
            }
        }

        impl Document {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$Kind(_) => Kind::$Kind,)* }
            }

            /// What it is called.
            #[must_use]
            pub fn metadata(&self) -> &Metadata {
                match self { $(Self::$Kind(it) => &it.metadata,)* }
            }
        }
    };
}

kinds! {
    /// How new versions of one service are taken to its users.
    Rollout(RolloutSpec),
    /// What is measured, and how it is judged.
    AnalysisTemplate(AnalysisTemplateSpec),
    /// What is measured, and how it is judged, for every namespace.
    ClusterAnalysisTemplate(AnalysisTemplateSpec),
    /// An analysis by itself, and the record of one.
    AnalysisRun(AnalysisRunSpec),
    /// What a person asks of a rollout.
    RolloutOrder(RolloutOrderSpec),
    /// Where metrics can be asked for, and as whom.
    MetricSource(MetricSourceSpec),
    /// Where metrics can be asked for, and as whom, for every namespace.
    ClusterMetricSource(MetricSourceSpec),
}

impl Kind {
    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|it| it.name() == name)
    }
}

impl Document {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.metadata().name
    }

    /// It, if it is a Rollout.
    #[must_use]
    pub fn as_rollout(&self) -> Option<&Rollout> {
        if let Self::Rollout(it) = self { Some(it) } else { None }
    }
}
