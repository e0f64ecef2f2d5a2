//! The exit codes of commands that fail.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use isthmus_runtime::printable;

/// The exit codes of `isthmus` other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// 1: the machine or a running process is not as needed (a taken port, an agent that does not
    /// answer, a bad row).
    Environment,
    /// 2: everything ran, and what was compared differs or something must be fixed.
    Difference,
    /// 3: everything ran, and something should be fixed.
    Warning,
    /// 64: arguments or settings.
    Settings,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        match code {
            Code::Environment => Self::from(1),
            Code::Difference => Self::from(2),
            Code::Warning => Self::from(3),
            Code::Settings => Self::from(64),
        }
    }
}

/// An error and its exit code. Displays the error and its causes in one line, unless
/// [`Failure::with_lines`] keeps the error's own lines.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: Code,
    cause: Box<dyn Error + Send + Sync>,
    has_lines: bool,
}

impl Failure {
    /// The machine or a running process is not as needed.
    pub fn environment(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: Code::Environment,
            cause: cause.into(),
            has_lines: false,
        }
    }

    /// What was compared differs, or something must be fixed.
    pub fn difference(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: Code::Difference,
            cause: cause.into(),
            has_lines: false,
        }
    }

    /// Everything ran, and something should be fixed.
    pub fn warning(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: Code::Warning,
            cause: cause.into(),
            has_lines: false,
        }
    }

    /// Arguments or settings are wrong if `arguments` is set; else the machine or a running process
    /// is not as needed.
    pub fn blaming(arguments: bool, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        if arguments {
            Self::settings(cause)
        } else {
            Self::environment(cause)
        }
    }

    /// Arguments or settings are wrong.
    pub fn settings(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            code: Code::Settings,
            cause: cause.into(),
            has_lines: false,
        }
    }
}

impl Failure {
    /// The same failure, whose text keeps its line breaks.
    #[must_use]
    pub fn with_lines(self) -> Self {
        Self {
            has_lines: true,
            ..self
        }
    }

    /// Whether the output was closed by its reader, which is no failure of the command.
    pub fn is_closed_output(&self) -> bool {
        let cause = self.cause.downcast_ref::<io::Error>();
        cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = match self.has_lines {
            true => printable::lines(&self.cause),
            false => printable::line(&self.cause),
        };
        f.write_str(&said)?;
        let mut next = self.cause.source();
        while let Some(cause) = next {
            let text = printable::line(cause);
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            next = cause.source();
        }
        Ok(())
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("settings of eu-west")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn a_failure_says_its_causes_once() {
        let cause = "x".parse::<u8>().expect_err("not a number");
        assert_eq!(
            Failure::settings(Outer(cause)).to_string(),
            "settings of eu-west: invalid digit found in string"
        );
    }

    #[test]
    fn what_an_error_repeats_forges_no_line() {
        let repeated = "the answer is ok\nisthmus: all is well\x1b[1A";
        assert_eq!(
            Failure::environment(repeated).to_string(),
            "the answer is ok\\nisthmus: all is well\\u{1b}[1A"
        );
        assert_eq!(
            Failure::settings("a.yaml:8: \x1b\n  fix: b")
                .with_lines()
                .to_string(),
            "a.yaml:8: \\u{1b}\n  fix: b"
        );
    }
}
