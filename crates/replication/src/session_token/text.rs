//! The text form of a token.

use std::fmt;

use super::{Life, Position, RegionName, Sequence, SessionToken, Shard};
use crate::limits;
use crate::names::GroupName;

/// Text that is not a session token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session token: {0}; send the Isthmus-Session of the last response, or none")]
pub struct InvalidToken(&'static str);

/// Persisted by clients: a later form gets another number.
const FORM: &str = "1";

impl fmt::Display for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(FORM)?;
        let mut within: (Option<&RegionName>, Option<&GroupName>) = (None, None);
        for ((origin, shard, life), sequence) in &self.positions {
            if within.0 != Some(origin) {
                write!(f, ";{origin}")?;
                within = (Some(origin), None);
            }
            if within.1 != Some(&shard.group) {
                write!(f, ":{}", shard.group)?;
                within.1 = Some(&shard.group);
            }
            write!(
                f,
                ",{:x}.{:x}.{:x}.{:x}",
                shard.partition, life.number, life.nonce, sequence.0
            )?;
        }
        Ok(())
    }
}

impl std::str::FromStr for SessionToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        if text.len() > limits::SESSION_BYTES {
            return Err(InvalidToken("too long"));
        }
        let mut parts = text.split(';');
        if parts.next() != Some(FORM) {
            return Err(InvalidToken("of an unknown format"));
        }
        let mut token = Self::default();
        for part in parts {
            let mut groups = part.split(':');
            let origin = groups.next().and_then(|name| RegionName::parse(name).ok());
            let origin = origin.ok_or(InvalidToken("origin"))?;
            for group in groups {
                read_group(&mut token, &origin, group)?;
            }
        }
        Ok(token)
    }
}

fn read_group(token: &mut SessionToken, origin: &RegionName, text: &str) -> Result<(), InvalidToken> {
    let mut positions = text.split(',');
    let group = positions.next().and_then(|name| GroupName::parse(name).ok());
    let group = group.ok_or(InvalidToken("group"))?;
    for position in positions {
        let mut numbers = position.split('.').map(number);
        let mut next = || numbers.next().flatten().ok_or(InvalidToken("position"));
        let partition = u16::try_from(next()?).ok().filter(|p| *p < limits::PARTITIONS);
        let shard = Shard {
            group: group.clone(),
            partition: partition.ok_or(InvalidToken("partition"))?,
        };
        let life = Life {
            number: next()?,
            nonce: next()?,
        };
        let sequence = Sequence(next()?);
        if numbers.next().is_some() {
            return Err(InvalidToken("position"));
        }
        token
            .note(origin, &shard, Position { life, sequence })
            .map_err(|_| InvalidToken("too many positions"))?;
    }
    Ok(())
}

fn number(text: &str) -> Option<u64> {
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let digits = !text.is_empty() && text.bytes().all(hexadecimal);
    digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}
