//! Versions: the total order that decides every merge (design.md section 4).

use std::fmt;

use crate::coordinates::WriterId;
use crate::hlc::Hlc;
use crate::names::RegionName;

/// Identifies a write. Ordered by stamp, then region name bytes, then writer; the greater version
/// wins in every region.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When it was written.
    pub hlc: Hlc,
    /// Where it was written.
    pub region: RegionName,
    /// The process run that wrote it.
    pub writer: WriterId,
}

impl Version {
    /// The trace of the write if none was recorded when it began: the same in every region. Never
    /// zero.
    #[must_use]
    pub fn trace_id(&self) -> u128 {
        xxhash_rust::xxh3::xxh3_128(self.to_string().as_bytes()).max(1)
    }
}

/// Text that is not `<16 hex digits>-<region>-<16 hex digits>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a version: expected <16 hex digits>-<region>-<16 hex digits>")]
pub struct InvalidVersion;

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.hlc, self.region, self.writer)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}/{:?}", self.hlc, self.region, self.writer)
    }
}

impl std::str::FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let (hlc, rest) = text.split_once('-').ok_or(InvalidVersion)?;
        let (region, writer) = rest.rsplit_once('-').ok_or(InvalidVersion)?;
        Ok(Self {
            hlc: Hlc::from_bits(hex16(hlc)?),
            region: RegionName::parse(region).map_err(|_| InvalidVersion)?,
            writer: WriterId(hex16(writer)?),
        })
    }
}

fn hex16(text: &str) -> Result<u64, InvalidVersion> {
    if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(InvalidVersion);
    }
    u64::from_str_radix(text, 16).map_err(|_| InvalidVersion)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_round_trips(hlc: u64, writer: u64, region in "[a-z0-9-]{1,32}") {
            let version = Version {
                hlc: Hlc::from_bits(hlc),
                region: RegionName::parse(&region).expect("drawn as a valid name"),
                writer: WriterId(writer),
            };
            prop_assert_eq!(version.to_string().parse(), Ok(version));
        }

        #[test]
        fn any_text_is_a_version_or_an_error(text in ".{0,80}") {
            let _: Result<Version, InvalidVersion> = text.parse();
        }
    }
}
