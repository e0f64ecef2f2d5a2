//! `/v1/doctor`: the results of a process's checks of its environment. Field names are published:
//! never renamed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::label::{MaybeKnown, ProcessKind};

/// The findings of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DoctorReport {
    /// Its region.
    pub region: String,
    /// Its kind.
    #[serde(default)]
    pub role: MaybeKnown<ProcessKind>,
    /// Its name.
    pub process: String,
    /// The findings.
    pub findings: Vec<Finding>,
}

/// The severity of a finding; the greatest value is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No problem.
    Ok,
    /// It works, but something should be fixed.
    Warn,
    /// It does not work, or will soon stop working.
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The name of the check.
    pub check: String,
    /// The checked object: a peer, a stream, a folder; empty if there is only one.
    pub of: String,
    /// The severity.
    pub verdict: Verdict,
    /// The result in words.
    pub found: String,
    /// The fix; null if nothing needs to be fixed.
    pub mend: Option<String>,
}

impl Finding {
    /// A finding without a problem.
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

    /// A finding with a problem that should be fixed.
    #[must_use]
    pub fn warn(check: &str, of: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warn,
            mend: Some(mend.into()),
            ..Self::ok(check, of, found)
        }
    }

    /// A finding with a problem that must be fixed.
    #[must_use]
    pub fn fail(check: &str, of: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(check, of, found, mend)
        }
    }

    /// A finding of severity `verdict`; the fix is dropped if nothing needs to be fixed.
    #[must_use]
    pub fn of_verdict(verdict: Verdict, check: &str, of: &str, found: String, mend: &str) -> Self {
        match verdict {
            Verdict::Ok => Self::ok(check, of, found),
            Verdict::Warn => Self::warn(check, of, found, mend),
            Verdict::Fail => Self::fail(check, of, found, mend),
        }
    }
}
