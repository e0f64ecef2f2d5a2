//! The secret that clients of a network's control door must present.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// Bytes of randomness in a secret.
const BYTES: usize = 32;

/// The secret of one network's control door. Each network gets a new random one; its text is 64
/// digits.
#[derive(Clone)]
pub struct ControlSecret(String);

/// Text that is not a secret.
#[derive(Debug, thiserror::Error)]
#[error("the text is not the secret of a network's control door")]
pub struct NotASecret;

impl ControlSecret {
    /// The secret made of these random bytes.
    #[must_use]
    pub fn of_random(bytes: [u8; BYTES]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Parses the text of a secret.
    ///
    /// # Errors
    /// [`NotASecret`], which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let is_one = text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_one {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASecret)
        }
    }

    /// The secret as text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The line that presents the secret.
    pub(crate) fn line(&self) -> String {
        format!("secret {}", self.0)
    }

    /// Whether `line` presents the secret. The comparison takes the same time wherever the two
    /// differ.
    pub(crate) fn is(&self, line: &str) -> bool {
        verify_slices_are_equal(line.as_bytes(), self.line().as_bytes()).is_ok()
    }
}

impl fmt::Debug for ControlSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_line_alone_presents_it_and_nothing_else_shows_it() {
        let secret = ControlSecret::of_random([0xa5; BYTES]);
        let text = secret.text().to_owned();
        let read = ControlSecret::parse(&text);
        assert!(read.is_ok_and(|read| read.is(&format!("secret {text}"))));
        for other in [
            String::new(),
            text.clone(),
            format!("secret {text}0"),
            format!("secret b{}", &text[1..]),
        ] {
            assert!(!secret.is(&other), "{other}");
        }
        for bad in ["", "secret", &text[1..], &format!("{text}\n"), &"x".repeat(64)] {
            assert!(ControlSecret::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{secret:?}"), "ControlSecret");
    }
}
