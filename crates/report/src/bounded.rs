//! Deserialisation with limits. An invalid name, label or number is an error. Text for people is
//! truncated.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use isthmus_replication::limits::{FRAME_TEXT_BYTES, NAME_BYTES};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Maximum length of a label, in bytes.
const LABEL_BYTES: usize = 128;
/// Maximum absolute value of a number, in any unit: 30,000 years in milliseconds.
const GREATEST: f64 = 1e15;

/// A value that is not a valid name, label or number of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("a name of 1 to {NAME_BYTES} of the characters a-z, 0-9 and '-' was expected")]
    Name,
    #[error("a word of at most {LABEL_BYTES} characters was expected")]
    Label,
    #[error("a number below 1e15 was expected")]
    Number,
}

/// A name, or an empty string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

/// Printable characters without spaces, or an empty string.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Label(String);

#[derive(Debug, Deserialize)]
#[serde(from = "String")]
struct Text(String);

#[derive(Debug, Deserialize)]
#[serde(try_from = "f64")]
struct Number(f64);

impl TryFrom<String> for Name {
    type Error = Unfit;
    fn try_from(text: String) -> Result<Self, Unfit> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = text.len() <= NAME_BYTES && text.bytes().all(allowed);
        fits.then_some(Self(text)).ok_or(Unfit::Name)
    }
}

impl TryFrom<String> for Label {
    type Error = Unfit;
    fn try_from(text: String) -> Result<Self, Unfit> {
        let fits = text.len() <= LABEL_BYTES && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then_some(Self(text)).ok_or(Unfit::Label)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text[..text.floor_char_boundary(FRAME_TEXT_BYTES)].to_owned())
    }
}

impl TryFrom<f64> for Number {
    type Error = Unfit;
    fn try_from(number: f64) -> Result<Self, Unfit> {
        (number.abs() < GREATEST)
            .then_some(Self(number))
            .ok_or(Unfit::Number)
    }
}

/// Text with each control character replaced by a space.
pub(crate) fn without_controls(text: &str) -> String {
    text.replace(char::is_control, " ")
}

pub(crate) fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Name::deserialize(from).map(|name| name.0)
}

pub(crate) fn maybe_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<Name>::deserialize(from).map(|name| name.map(|name| name.0))
}

pub(crate) fn label<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Label::deserialize(from).map(|label| label.0)
}

pub(crate) fn maybe_label<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<Label>::deserialize(from).map(|label| label.map(|label| label.0))
}

pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Text::deserialize(from).map(|text| text.0)
}

pub(crate) fn maybe_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Option::<Text>::deserialize(from).map(|text| text.map(|text| text.0))
}

pub(crate) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Number::deserialize(from).map(|number| number.0)
}

pub(crate) fn maybe_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Option::<Number>::deserialize(from).map(|number| number.map(|number| number.0))
}

/// Numbers by label or name.
pub(crate) fn numbers<'de, D, K, const MOST: usize>(from: D) -> Result<BTreeMap<K, f64>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
{
    let numbers = from.deserialize_map(Map::<K, Number, MOST>(PhantomData))?;
    Ok(numbers.into_iter().map(|(key, number)| (key, number.0)).collect())
}

/// Numbers by name.
pub(crate) fn numbers_by_name<'de, D: Deserializer<'de>, const MOST: usize>(
    from: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let numbers = numbers::<D, Name, MOST>(from)?;
    Ok(numbers
        .into_iter()
        .map(|(name, number)| (name.0, number))
        .collect())
}

pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(List::<T, MOST>(PhantomData))
}

/// Values by name.
pub(crate) fn map<'de, D: Deserializer<'de>, T: Deserialize<'de>, const MOST: usize>(
    from: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let all = from.deserialize_map(Map::<Name, T, MOST>(PhantomData))?;
    Ok(all.into_iter().map(|(name, value)| (name.0, value)).collect())
}

struct List<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for List<T, MOST> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(next) = all.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            list.push(next);
        }
        Ok(list)
    }
}

struct Map<K, T, const MOST: usize>(PhantomData<(K, T)>);

impl<'de, K, T, const MOST: usize> Visitor<'de> for Map<K, T, MOST>
where
    K: Deserialize<'de> + Ord,
    T: Deserialize<'de>,
{
    type Value = BTreeMap<K, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a map of at most {MOST}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<BTreeMap<K, T>, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, next)) = all.next_entry()? {
            if map.len() == MOST {
                return Err(A::Error::invalid_length(MOST + 1, &self));
            }
            map.insert(key, next);
        }
        Ok(map)
    }
}
