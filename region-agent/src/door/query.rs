//! The query parameters of a request. The error for each one states what it must be.

use std::time::Duration;

use isthmus_replication::names::{InvalidKey, Key};
use isthmus_runtime::settings;

use super::target::{Undecodable, decoded};
use crate::operation::{Consistency, DEFAULT_TIMEOUT, LIST_LIMIT, LONGEST_TIMEOUT};

const LONGEST_TTL: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A parameter that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct InvalidParameter {
    /// Its name.
    pub name: String,
    /// What it must be.
    pub reason: InvalidValue,
}

/// Why a parameter can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// The request takes other parameters.
    #[error("not a parameter of this request; it accepts {known}")]
    Unknown {
        /// Their names.
        known: String,
    },
    /// It is not percent-encoded text.
    #[error(transparent)]
    Encoding(#[from] Undecodable),
    /// It is not a duration.
    #[error(transparent)]
    Duration(#[from] settings::InvalidQuantity),
    /// The time to live is out of range.
    #[error("a value lives at least 1ms and at most 100 years")]
    Ttl,
    /// The timeout is out of range.
    #[error("at least 1ms and at most {}s", LONGEST_TIMEOUT.as_secs())]
    Timeout,
    /// There is no such consistency.
    #[error("use region, majority or all")]
    Consistency,
    /// It is not a key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// It is not a number of keys.
    #[error("use a number from 1 to {LIST_LIMIT}")]
    Limit,
}

/// A parameter that some request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// `ttl`.
    Ttl,
    /// `consistency`.
    Consistency,
    /// `timeout`.
    Timeout,
    /// `prefix`.
    Prefix,
    /// `after`.
    After,
    /// `limit`.
    Limit,
}

impl Parameter {
    /// Every parameter.
    pub const ALL: [Self; 6] = [
        Self::Ttl,
        Self::Consistency,
        Self::Timeout,
        Self::Prefix,
        Self::After,
        Self::Limit,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Consistency => "consistency",
            Self::Timeout => "timeout",
            Self::Prefix => "prefix",
            Self::After => "after",
            Self::Limit => "limit",
        }
    }
}

/// The parameters of a request. Those that the operation does not know are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// `ttl`.
    pub ttl: Option<Duration>,
    /// `consistency`.
    pub consistency: Consistency,
    /// `timeout`.
    pub timeout: Duration,
    /// `prefix`.
    pub prefix: String,
    /// `after`.
    pub after: Option<Key>,
    /// `limit`.
    pub limit: usize,
}

impl Default for Query {
    fn default() -> Self {
        Self {
            ttl: None,
            consistency: Consistency::Region,
            timeout: DEFAULT_TIMEOUT,
            prefix: String::new(),
            after: None,
            limit: LIST_LIMIT,
        }
    }
}

impl Query {
    /// Parses a query string. Only the parameters in `known` are accepted.
    ///
    /// # Errors
    /// [`InvalidParameter`] if a parameter is unknown or its value can't be used.
    pub fn parse(query: Option<&str>, known: &[Parameter]) -> Result<Self, InvalidParameter> {
        let mut parsed = Self::default();
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let invalid = |reason: InvalidValue| InvalidParameter {
                name: name.chars().take(64).collect(),
                reason,
            };
            let Some(parameter) = known.iter().find(|known| known.name() == name) else {
                let names: Vec<&str> = known.iter().map(|known| known.name()).collect();
                let known = match names.is_empty() {
                    true => "none".to_owned(),
                    false => names.join(", "),
                };
                return Err(invalid(InvalidValue::Unknown { known }));
            };
            let value = value.replace('+', " ");
            let value = decoded(&value).map_err(|error| invalid(error.into()))?;
            parsed.set(*parameter, &value).map_err(invalid)?;
        }
        Ok(parsed)
    }

    fn set(&mut self, parameter: Parameter, value: &str) -> Result<(), InvalidValue> {
        match parameter {
            Parameter::Ttl => self.ttl = Some(parse_ttl(value)?),
            Parameter::Timeout => self.timeout = parse_timeout(value)?,
            Parameter::Consistency => {
                self.consistency = Consistency::parse(value).ok_or(InvalidValue::Consistency)?;
            }
            Parameter::Prefix => value.clone_into(&mut self.prefix),
            Parameter::After => self.after = Some(Key::parse(value)?),
            Parameter::Limit => {
                let limit = value.parse().ok();
                let limit = limit.filter(|limit| (1..=LIST_LIMIT).contains(limit));
                self.limit = limit.ok_or(InvalidValue::Limit)?;
            }
        }
        Ok(())
    }
}

/// Parses a time to live: at least a millisecond, at most a hundred years.
///
/// # Errors
/// [`InvalidValue`] if it is not a duration, or out of range.
pub(super) fn parse_ttl(text: &str) -> Result<Duration, InvalidValue> {
    let ttl = settings::Duration::parse(text)?.0;
    let fits = (Duration::from_millis(1)..=LONGEST_TTL).contains(&ttl);
    fits.then_some(ttl).ok_or(InvalidValue::Ttl)
}

fn parse_timeout(text: &str) -> Result<Duration, InvalidValue> {
    let timeout = settings::Duration::parse(text)?.0;
    let fits = (Duration::from_millis(1)..=LONGEST_TIMEOUT).contains(&timeout);
    fits.then_some(timeout).ok_or(InvalidValue::Timeout)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_parameter_is_read() {
        let query = Query::parse(
            Some("ttl=30s&timeout=250ms&consistency=majority&prefix=a%2Fb&after=a%2fb+c&limit=7"),
            &Parameter::ALL,
        );
        let expected = Query {
            ttl: Some(Duration::from_secs(30)),
            consistency: Consistency::Majority,
            timeout: Duration::from_millis(250),
            prefix: "a/b".to_owned(),
            after: Some(Key::parse("a/b c").unwrap()),
            limit: 7,
        };
        assert_eq!(query, Ok(expected));
        assert_eq!(Query::parse(None, &[]), Ok(Query::default()));
    }

    #[test]
    fn what_a_parameter_can_not_be_is_said() {
        for (query, says) in [
            ("ttl=30", "write 30s"),
            ("ttl=0s", "at least 1ms"),
            ("ttl=-1s", "length of time"),
            ("ttl=200y", "at most 100 years"),
            ("timeout=2h", "at most 60s"),
            ("timeout=0s", "at least 1ms"),
            ("prefix=%zz", "percent-encoded"),
            ("consistency=quorum", "region, majority or all"),
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("after=", "1 to 1024"),
            ("prefix=%ff", "UTF-8"),
            ("colour=red", "accepts ttl"),
        ] {
            let error = Query::parse(Some(query), &Parameter::ALL)
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{query}: {error}");
        }
        assert!(Query::parse(Some("ttl=1s"), &[Parameter::Timeout]).is_err());
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in ".{0,200}") {
            let _: Result<Query, InvalidParameter> = Query::parse(Some(&query), &Parameter::ALL);
        }
    }
}
