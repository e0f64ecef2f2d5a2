//! `/v1/doctor`: what a process found when it looked at what it stands on. Field names are
//! published: never renamed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::{MaybeKnown, ProcessKind};

/// What a process found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorReport {
    /// Its region.
    pub region: String,
    /// Its kind.
    #[serde(default)]
    pub role: MaybeKnown<ProcessKind>,
    /// Its name.
    pub process: String,
    /// What it found.
    pub findings: Vec<Finding>,
}

/// How grave a finding is; the greatest is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something should be mended.
    Warn,
    /// It does not work, or will not for long.
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The name of the check.
    pub check: String,
    /// What was looked at: a peer, a stream, a folder; empty where there is only one.
    pub of: String,
    /// How grave it is.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; none where there is nothing to do.
    pub mend: Option<String>,
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(check: &str, of: &str, found: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            of: of.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            mend: None,
        }
    }

    /// Something should be mended.
    #[must_use]
    pub fn warn(check: &str, of: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            mend: Some(mend.into()),
            ..Self::ok(check, of, found)
        }
    }

    /// Something must be mended.
    #[must_use]
    pub fn fail(check: &str, of: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(check, of, found, mend)
        }
    }

    /// As grave as `verdict`; the mend is kept where there is something to mend.
    #[must_use]
    pub fn of_verdict(verdict: Verdict, check: &str, of: &str, found: String, mend: &str) -> Self {
        match verdict {
            Verdict::Ok => Self::ok(check, of, found),
            Verdict::Warn => Self::warn(check, of, found, mend),
            Verdict::Fail => Self::fail(check, of, found, mend),
        }
    }
}
