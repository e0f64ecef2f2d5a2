//! The bucket and the key that a path names: percent-decoded once, `/` allowed in keys.

use std::borrow::Cow;

use isthmus_replication::names::{BucketName, Key};
use percent_encoding::percent_decode_str;

/// What a path below `/v1/kv/` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: BucketName,
    /// The key; none for the bucket itself.
    pub key: Option<Key>,
}

/// Why text from a request's line can't be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A percent sign without two hexadecimal digits.
    #[error("not percent-encoded: two hexadecimal digits follow each %, and % itself is written %25")]
    Percent,
    /// It is not UTF-8.
    #[error("not UTF-8 once percent-decoded")]
    NotUtf8,
}

/// Percent-decodes `raw`, once.
///
/// # Errors
/// [`Undecodable`] if `raw` is not percent-encoded UTF-8.
pub(super) fn decoded(raw: &str) -> Result<Cow<'_, str>, Undecodable> {
    let digits = |after: &str| after.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !raw.split('%').skip(1).all(digits) {
        return Err(Undecodable::Percent);
    }
    percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Undecodable::NotUtf8)
}

/// Why a path is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// The bucket's name is invalid.
    #[error("the bucket's name is 1 to 32 of the characters a-z, 0-9 and '-'")]
    Bucket,
    /// The key can't be decoded.
    #[error("the key is {0}")]
    Undecodable(#[from] Undecodable),
    /// The key is empty or too long.
    #[error(transparent)]
    Key(#[from] isthmus_replication::names::InvalidKey),
}

impl Target {
    /// Parses what follows `/v1/kv/` in a request's path, undecoded.
    ///
    /// # Errors
    /// [`InvalidTarget`] if the bucket or the key is invalid.
    pub fn parse(rest: &str) -> Result<Self, InvalidTarget> {
        let (bucket, key) = match rest.split_once('/') {
            Some((bucket, key)) => (bucket, Some(key)),
            None => (rest, None),
        };
        let bucket = decoded(bucket).map_err(|_| InvalidTarget::Bucket)?;
        Ok(Self {
            bucket: BucketName::parse(&bucket).map_err(|_| InvalidTarget::Bucket)?,
            key: key.map(parse_key).transpose()?,
        })
    }
}

fn parse_key(raw: &str) -> Result<Key, InvalidTarget> {
    Ok(Key::parse(&decoded(raw)?)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_replication::names::InvalidKey;
    use proptest::prelude::*;

    use super::*;

    fn key_of(rest: &str) -> String {
        Target::parse(rest).unwrap().key.unwrap().as_str().to_owned()
    }

    #[test]
    fn keys_are_decoded_once_and_may_hold_slashes() {
        assert_eq!(key_of("carts/a/b"), "a/b");
        assert_eq!(key_of("carts/a%2Fb"), "a/b");
        assert_eq!(key_of("carts//a"), "/a");
        assert_eq!(key_of("carts/%252F"), "%2F");
        assert_eq!(key_of("carts/%C3%A9%20%0A"), "é \n");
        assert_eq!(key_of("carts/100%25"), "100%");
        assert_eq!(Target::parse("carts").unwrap().key, None);
    }

    #[test]
    fn what_names_nothing_is_refused_with_its_reason() {
        let too_long = format!("carts/{}", "k".repeat(1025));
        for (path, reason) in [
            ("Carts/a", InvalidTarget::Bucket),
            ("", InvalidTarget::Bucket),
            ("%ff/a", InvalidTarget::Bucket),
            ("carts/%ff", InvalidTarget::Undecodable(Undecodable::NotUtf8)),
            ("carts/%zz", InvalidTarget::Undecodable(Undecodable::Percent)),
            ("carts/100%", InvalidTarget::Undecodable(Undecodable::Percent)),
            ("carts/%4", InvalidTarget::Undecodable(Undecodable::Percent)),
            ("carts/", InvalidTarget::Key(InvalidKey { bytes: 0 })),
            (too_long.as_str(), InvalidTarget::Key(InvalidKey { bytes: 1025 })),
        ] {
            assert_eq!(Target::parse(path), Err(reason), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_a_target_or_an_error(path in ".{0,200}") {
            let _: Result<Target, InvalidTarget> = Target::parse(&path);
        }
    }
}
