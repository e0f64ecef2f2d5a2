//! Names that nobody can guess, for inboxes.
//!
//! The identifiers that the NATS client generates for its inboxes are sequential (NUID): a process
//! that has seen one, as the reply subject of a request, can guess the next ones. So an inbox has a
//! part that is generated for it alone.

use std::fmt;

/// 128 bits, as 32 digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unguessable(String);

impl Unguessable {
    const DIGITS: usize = 32;

    /// Generates one at random.
    pub(crate) fn draw() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; Self::DIGITS / 2];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Whether `text` has the form of such a name.
    pub(crate) fn is_one(text: &str) -> bool {
        text.len() == Self::DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl fmt::Display for Unguessable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
