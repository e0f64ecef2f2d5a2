//! Clock offsets as an operator writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Time added to, or taken from, a process's wall time. Written as `+8h`, `-300ms`, `0s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offset {
    behind: bool,
    by: Duration,
}

#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a clock offset; write one like +8h, -300ms or 0s")]
pub(crate) struct NotAnOffset {
    text: String,
    #[source]
    source: humantime::DurationError,
}

impl Offset {
    /// No offset: a clock that is right.
    pub(crate) const NONE: Self = Self::ahead(Duration::ZERO);

    pub(crate) const fn ahead(by: Duration) -> Self {
        Self { behind: false, by }
    }

    pub(crate) const fn behind(by: Duration) -> Self {
        Self { behind: true, by }
    }
}

impl FromStr for Offset {
    type Err = NotAnOffset;

    fn from_str(text: &str) -> Result<Self, NotAnOffset> {
        let (behind, amount) = match text.strip_prefix('-') {
            Some(amount) => (true, amount),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let by = humantime::parse_duration(amount).map_err(|source| NotAnOffset {
            text: text.to_owned(),
            source,
        })?;
        Ok(Self { behind, by })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.behind { '-' } else { '+' };
        match self.by.as_millis() {
            whole if whole % 1000 == 0 => write!(f, "{sign}{}s", whole / 1000),
            millis => write!(f, "{sign}{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_written_with_one_unit() -> Result<(), NotAnOffset> {
        for (text, written) in [
            ("+8h", "+28800s"),
            ("-300ms", "-300ms"),
            ("0s", "+0s"),
            ("2m", "+120s"),
        ] {
            assert_eq!(text.parse::<Offset>()?.to_string(), written);
        }
        for bad in ["", "8", "+-3s", "soon"] {
            assert!(bad.parse::<Offset>().is_err(), "{bad}");
        }
        Ok(())
    }
}
