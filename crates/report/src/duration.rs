//! Durations as JSON numbers with a fraction. Each type here is one encoding; a field selects one
//! with `#[serde(with = "...")]`, which also sets the field's schema.
//!
//! A negative number is not a duration: it is read as unknown, or as zero if the field is never
//! null.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserializer, Serialize, Serializer};

use crate::bounded;

/// Maximum number of peers of a region.
const PEERS: usize = 64;

/// Milliseconds.
#[derive(Debug)]
pub struct Millis;

/// Milliseconds, or null if the duration is not known.
#[derive(Debug)]
pub struct MaybeMillis;

/// Seconds, or null if the duration is not known.
#[derive(Debug)]
pub struct MaybeSeconds;

/// Seconds by name of a region.
#[derive(Debug)]
pub struct SecondsByName;

/// A duration in milliseconds. A float represents whole microseconds exactly up to 285 years, and
/// nanoseconds up to 104 days.
#[must_use]
pub fn millis(duration: Duration) -> f64 {
    match duration.subsec_nanos() % 1_000 {
        0 => duration.as_micros() as f64 / 1e3,
        _ => duration.as_nanos() as f64 / 1e6,
    }
}

/// The duration of `millis` milliseconds, to the nanosecond; `None` for a negative number.
pub(crate) fn from_millis(millis: f64) -> Option<Duration> {
    let fraction = Duration::from_nanos((millis.fract() * 1e6).round() as u64);
    let whole = Duration::from_millis(millis.trunc() as u64);
    (millis >= 0.0).then(|| whole.saturating_add(fraction))
}

fn from_seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

impl Millis {
    /// Serialises the number.
    ///
    /// # Errors
    /// The errors of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        millis(*duration).serialize(to)
    }

    /// Deserialises the number.
    ///
    /// # Errors
    /// If it is not a number, or too large.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        bounded::number(from).map(|millis| from_millis(millis).unwrap_or_default())
    }
}

impl MaybeMillis {
    /// Serialises the number or null.
    ///
    /// # Errors
    /// The errors of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(millis).serialize(to)
    }

    /// Deserialises the number or null.
    ///
    /// # Errors
    /// If it is neither, or too large.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        bounded::maybe_number(from).map(|millis| millis.and_then(from_millis))
    }
}

impl MaybeSeconds {
    /// Serialises the number or null.
    ///
    /// # Errors
    /// The errors of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(to)
    }

    /// Deserialises the number or null.
    ///
    /// # Errors
    /// If it is neither, or too large.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        bounded::maybe_number(from).map(|seconds| seconds.and_then(from_seconds))
    }
}

impl SecondsByName {
    /// Serialises the numbers.
    ///
    /// # Errors
    /// The errors of the serializer.
    pub fn serialize<S: Serializer>(all: &BTreeMap<String, Duration>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(all.iter().map(|(name, duration)| (name, duration.as_secs_f64())))
    }

    /// Deserialises the numbers.
    ///
    /// # Errors
    /// If a key is not a name, a value is not a number or too large, or there are too many.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Duration>, D::Error> {
        let all = bounded::numbers_by_name::<D, PEERS>(from)?.into_iter();
        Ok(all
            .filter_map(|(name, seconds)| Some((name, from_seconds(seconds)?)))
            .collect())
    }
}

macro_rules! schema_of {
    ($form:ident, $json:ty) => {
        impl JsonSchema for $form {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($form).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$json>::json_schema(generator)
            }
        }
    };
}

schema_of!(Millis, f64);
schema_of!(MaybeMillis, Option<f64>);
schema_of!(MaybeSeconds, Option<f64>);
schema_of!(SecondsByName, BTreeMap<String, f64>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_written_and_read_again_is_the_same() {
        let mut micros = 1_u64;
        while micros < 20 * 24 * 3_600 * 1_000_000 {
            for duration in [Duration::from_micros(micros), Duration::from_nanos(micros)] {
                assert_eq!(from_millis(millis(duration)), Some(duration));
                assert_eq!(from_seconds(duration.as_secs_f64()), Some(duration));
            }
            micros = micros * 3 + 7;
        }
    }

    #[test]
    fn the_number_is_the_shortest_one() {
        assert_eq!(millis(Duration::from_micros(44_123)), 44.123);
        assert_eq!(millis(Duration::from_micros(86_400_000_001)), 86_400_000.001);
        let since_epoch = Duration::from_micros(1_796_056_719_532_445);
        assert_eq!(millis(since_epoch), 1_796_056_719_532.445);
        assert_eq!(
            from_millis(1_796_056_719_532.5),
            Some(Duration::from_micros(1_796_056_719_532_500))
        );
    }

    #[test]
    fn a_negative_number_is_no_duration() {
        assert_eq!(from_millis(-1.0), None);
        let read: Result<Duration, _> = Millis::deserialize(&serde_json::json!(-1.0));
        assert_eq!(read.ok(), Some(Duration::ZERO));
    }
}
