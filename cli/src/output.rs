//! Writing to the terminal or pipe without a panic when nobody reads, and counting in words.

use std::fmt::Display;
use std::io::{self, Write};

use crate::failure::Failure;

/// Writes a result line to standard output.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::environment)
}

/// Tells something on standard error, if anybody reads it.
pub(crate) fn note(text: impl Display) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Shows something on standard output, or on standard error if `aside`, if anybody reads it.
pub(crate) fn show(text: &str, aside: bool) {
    if aside {
        io::stderr().lock().write_all(text.as_bytes()).ok();
    } else {
        io::stdout().lock().write_all(text.as_bytes()).ok();
    }
}

/// A number with the noun, and what else depends on the number: `1 row was`, `2 rows were`.
pub fn counted<N: Display + PartialEq + From<u8>>(number: N, one: &str, many: &str) -> String {
    let counts = if number == N::from(1) { one } else { many };
    format!("{number} {counts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_everything_else_plural() {
        let told: Vec<String> = [0, 1, 2]
            .map(|number: u64| counted(number, "row was", "rows were"))
            .into();
        assert_eq!(told, ["0 rows were", "1 row was", "2 rows were"]);
    }
}
