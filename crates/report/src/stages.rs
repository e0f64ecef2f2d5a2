//! The parts of a delay.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use isthmus_replication::delay::{Delay, Stage};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bounded;
use crate::duration::{from_millis, millis};
use crate::label::MaybeKnown;

/// Maximum number of stages that are read.
const STAGES: usize = 16;

/// The duration of each part of a delay. In JSON it is a map from a stage's name to milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stages(BTreeMap<MaybeKnown<Stage>, Duration>);

impl Stages {
    /// The duration of one stage; `None` if the message did not pass through it.
    #[must_use]
    pub fn of(&self, stage: Stage) -> Option<Duration> {
        self.0.get(&MaybeKnown::Known(stage)).copied()
    }
}

impl From<&Delay> for Stages {
    fn from(delay: &Delay) -> Self {
        delay.stages().collect()
    }
}

impl FromIterator<(Stage, Duration)> for Stages {
    fn from_iter<T: IntoIterator<Item = (Stage, Duration)>>(all: T) -> Self {
        let all = all.into_iter();
        Self(all.map(|(stage, took)| (stage.into(), took)).collect())
    }
}

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(stage, took)| (stage, millis(*took))))
    }
}

impl<'de> Deserialize<'de> for Stages {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let all = bounded::numbers::<D, MaybeKnown<Stage>, STAGES>(from)?.into_iter();
        let all = all.filter_map(|(stage, took)| Some((stage, from_millis(took)?)));
        Ok(Self(all.collect()))
    }
}

impl JsonSchema for Stages {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Stages".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, f64>::json_schema(generator)
    }
}
