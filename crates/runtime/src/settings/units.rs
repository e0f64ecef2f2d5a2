//! Quantities in settings files, always with a unit.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A duration such as `10s`, `500ms` or `12h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub std::time::Duration);

/// A number of bytes such as `256KiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// A quantity that does not parse; the text names the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidQuantity(String);

impl Duration {
    /// Parses `text`, for example `1h30m`.
    ///
    /// # Errors
    /// [`InvalidQuantity`] without a unit or with one that is not a unit of time.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        let bare = !text.is_empty() && text.trim() != "0" && text.trim().parse::<f64>().is_ok();
        if bare {
            return Err(InvalidQuantity(format!(
                "{text} has no unit of time; write {text}s or {text}ms"
            )));
        }
        humantime::parse_duration(text).map(Self).map_err(|_| {
            InvalidQuantity(format!(
                "{text:?} is not a length of time; write a number and ms, s, m, h or d, such as 10s"
            ))
        })
    }
}

impl ByteSize {
    /// `n` kibibytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// The number of bytes, saturating at the maximum that the machine can address.
    #[must_use]
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Parses `text`, for example `256KiB`.
    ///
    /// # Errors
    /// [`InvalidQuantity`] without a unit, with an unknown one, or if it exceeds 64 bits.
    pub fn parse(text: &str) -> Result<Self, InvalidQuantity> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let wrong = || {
            InvalidQuantity(format!(
                "{text:?} is not a size; write a whole number and B, KiB, MiB, GiB, kB, MB or GB, such as 256KiB"
            ))
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim() {
            "" => {
                return Err(InvalidQuantity(format!(
                    "{text} has no unit of size; write {text}KiB or {text}B"
                )));
            }
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n > 0 && n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n > 0 && n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

/// Passes scalars of any YAML type to `parse` as text, so that a bare number gets the error that
/// names the fix.
struct QuantityVisitor<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, InvalidQuantity>,
}

impl<T> Visitor<'_> for QuantityVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

macro_rules! quantity {
    ($type:ident, $expected:literal, $pattern:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(QuantityVisitor { expected: $expected, parse: $type::parse })
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $expected })
            }
        }
    };
}

quantity!(
    Duration,
    "a length of time such as 10s",
    r"^([0-9]+ ?(ns|us|ms|s|m|h|d) ?)+$"
);
quantity!(
    ByteSize,
    "a size such as 256KiB",
    r"^[0-9]+ ?(B|KiB|MiB|GiB|kB|MB|GB)$"
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units() {
        let millis = |text| Duration::parse(text).map(|d| d.0.as_millis());
        assert_eq!(millis("10s"), Ok(10_000));
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("0s"), Ok(0));
        assert!(millis("10").unwrap_err().to_string().contains("write 10s"));
        assert!(millis("1.5").unwrap_err().to_string().contains("no unit of time"));
        assert!(millis("10KiB").unwrap_err().to_string().contains("such as 10s"));
        for bad in ["", "s", "-3s", "ten seconds"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_carry_units() {
        assert_eq!(ByteSize::parse("256KiB"), Ok(ByteSize::kib(256)));
        assert_eq!(ByteSize::parse("1536 MiB"), Ok(ByteSize::mib(1536)));
        assert_eq!(ByteSize::parse("3MB"), Ok(ByteSize(3_000_000)));
        assert!(
            ByteSize::parse("256")
                .unwrap_err()
                .to_string()
                .contains("write 256KiB")
        );
        for bad in [
            "",
            "KiB",
            "1kib",
            "10s",
            "-1KiB",
            "1.5GiB",
            "99999999999999999999B",
            "18446744073709551615GiB",
        ] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_prints_as_it_is_written() {
        for text in ["256KiB", "1536MiB", "1GiB", "1000B", "0B"] {
            assert_eq!(ByteSize::parse(text).unwrap().to_string(), text);
        }
    }
}
