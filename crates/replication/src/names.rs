//! Validated names: set, region, group, bucket, process and caller names, and keys (design.md
//! section 6).

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// A name that is not `[a-z0-9-]{1,32}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} is not a name: use 1 to 32 of the characters a-z, 0-9 and '-'")]
pub struct InvalidName {
    /// The kind of name that was expected.
    pub what: &'static str,
    /// The rejected text, cut to 64 characters.
    pub name: String,
}

fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=limits::NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(InvalidName {
            what,
            name: name.chars().take(64).collect(),
        })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and returns the name.
            ///
            /// # Errors
            /// [`InvalidName`] unless it is `[a-z0-9-]{1,32}`.
            pub fn parse(name: &str) -> Result<Self, InvalidName> {
                check($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl std::str::FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::parse(name)
            }
        }
    };
}

name!(
    /// The name of a set: in every subject, stream name and certificate.
    SetName,
    "set"
);
name!(
    /// The name of a region. Ordered by bytes, which is the tie-break of
    /// [`crate::version::Version`].
    RegionName,
    "region"
);
name!(
    /// The name of a group of buckets that share partitions and residency.
    GroupName,
    "group"
);
name!(
    /// The name of a bucket.
    BucketName,
    "bucket"
);
name!(
    /// The name of one process (agent or gateway) within its region.
    ProcessName,
    "process"
);
name!(
    /// The name of a client that may use a listener: an application or an operator.
    CallerName,
    "caller"
);

/// A key that is empty or longer than [`limits::KEY_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has 1 to 1024 bytes of UTF-8, this one has {bytes}")]
pub struct InvalidKey {
    /// Its length in bytes.
    pub bytes: usize,
}

/// A key within a bucket: 1 to 1024 bytes of UTF-8, any characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// Checks and returns the key.
    ///
    /// # Errors
    /// [`InvalidKey`] unless it has 1 to 1024 bytes.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        if (1..=limits::KEY_BYTES).contains(&key.len()) {
            Ok(Self(key.into()))
        } else {
            Err(InvalidKey { bytes: key.len() })
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_1_to_32_of_the_allowed_characters() {
        for good in ["a", "eu-west", "0", &"x".repeat(32)] {
            assert!(RegionName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "EU", "a_b", "a.b", "a b", "é", "_agent", &"x".repeat(33)] {
            assert!(RegionName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_1_to_1024_bytes_not_characters() {
        assert!(Key::parse("").is_err());
        assert!(Key::parse(&"k".repeat(1024)).is_ok());
        assert_eq!(Key::parse(&"é".repeat(513)), Err(InvalidKey { bytes: 1026 }));
    }
}
