//! The limit of open files of this process (getrlimit(2), `RLIMIT_NOFILE`), and how it is shared.
//!
//! A connection is an open file, and so are a checkpoint, a link and the connection to NATS. A door
//! that accepts connections until the system refuses would use up the files that the others need.
//! So the process raises its limit as far as it may, reserves what it needs for itself, gives
//! operators their part, and applications the rest.

use isthmus_report::Finding;
use rustix::process::{Resource, getrlimit, setrlimit};

/// The largest limit that any Isthmus process can use.
const WANTED: u64 = 65_536;
/// Open files of every process besides doors, shards and links: standard streams, the runtime,
/// NATS, name service, reloaded files, an OTLP receiver.
const OF_PROCESS: u64 = 64;
/// Minimum number of connections for a usable door.
const LEAST_OPERATORS: u64 = 16;
const LEAST_APPLICATIONS: u64 = 16;
/// Maximum number of concurrent connections of operators: they are few.
const MOST_OPERATORS: u64 = 256;
/// Maximum number of concurrent connections of applications.
const MOST_APPLICATIONS: u64 = 4096;

/// How to raise the limit.
const MEND: &str = "raise its limit: LimitNOFILE=65536 in its unit, ulimit -n in a shell, --ulimit nofile=65536 for a container";

/// Maximum numbers of concurrent connections of each door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// The door for operators.
    pub operators: usize,
    /// The door for applications.
    pub applications: usize,
    /// The limit of open files from which both are derived.
    pub limit: u64,
    /// Whether a higher limit would allow more connections.
    pub is_short: bool,
}

/// The limit of open files leaves nothing for callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the process may open {limit} files and needs at least {needed}; {MEND}")]
pub struct TooFewFiles {
    /// The limit.
    pub limit: u64,
    /// The number that the process needs.
    pub needed: u64,
}

/// Raises the limit as far as this process may, and returns it.
pub fn raise() -> u64 {
    let mut limits = getrlimit(Resource::Nofile);
    let wanted = limits.maximum.map_or(WANTED, |most| most.min(WANTED));
    if limits.current.is_some_and(|current| current < wanted) {
        limits.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limits) {
            tracing::warn!(%error, "the limit of open files can't be raised");
        }
    }
    limit()
}

/// The current limit.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Divides `limit` files of a process that needs `own` of them (checkpoints, links) in addition to
/// those of every process.
///
/// # Errors
/// [`TooFewFiles`]; the process exits with 1.
pub fn share(limit: u64, own: u64, has_applications: bool) -> Result<Connections, TooFewFiles> {
    let (least, most) = if has_applications {
        (
            LEAST_OPERATORS + LEAST_APPLICATIONS,
            MOST_OPERATORS + MOST_APPLICATIONS,
        )
    } else {
        (LEAST_OPERATORS, MOST_OPERATORS)
    };
    let own = own + OF_PROCESS;
    let needed = own + least;
    let left = limit.saturating_sub(own);
    if left < least {
        return Err(TooFewFiles { limit, needed });
    }
    let operators = if has_applications { left / 4 } else { left };
    let operators = operators.clamp(LEAST_OPERATORS, MOST_OPERATORS);
    let applications = (left - operators).min(MOST_APPLICATIONS);
    let connections = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(Connections {
        operators: connections(operators),
        applications: if has_applications {
            connections(applications)
        } else {
            0
        },
        limit,
        is_short: left < most,
    })
}

impl Connections {
    /// Logs a warning if they are few.
    pub fn tell(&self) {
        if self.is_short {
            let Self {
                operators,
                applications,
                limit,
                ..
            } = self;
            tracing::warn!(
                limit,
                operators,
                applications,
                "the limit of open files is low, so doors accept few connections; {MEND}"
            );
        }
    }

    /// The same as a finding of the doctor.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let Self {
            operators,
            applications,
            limit,
            ..
        } = self;
        let found = format!(
            "{limit} files may be open: {operators} connections of operators, {applications} of applications"
        );
        if self.is_short {
            return Finding::warn("open files", "", found, MEND);
        }
        Finding::ok("open files", "", found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sharing_out_files_always_leaves_the_process_its_own() {
        for limit in (0..6_000).chain([65_536, u64::MAX]) {
            for own in [0, 3, 1_000] {
                for has_applications in [true, false] {
                    let Ok(shared) = share(limit, own, has_applications) else {
                        assert!(limit < own + OF_PROCESS + LEAST_OPERATORS + LEAST_APPLICATIONS);
                        continue;
                    };
                    let taken = (shared.operators + shared.applications) as u64;
                    assert!(taken + own + OF_PROCESS <= limit, "{limit} {own} {shared:?}");
                    assert!(shared.operators as u64 >= LEAST_OPERATORS);
                    assert!(shared.is_short || shared.operators as u64 == MOST_OPERATORS);
                    let most = if has_applications { MOST_APPLICATIONS } else { 0 };
                    assert!(shared.is_short || shared.applications as u64 == most);
                }
            }
        }
    }

    #[test]
    fn too_few_files_name_how_many_are_needed_and_the_fix() {
        let error = share(100, 10, true).unwrap_err().to_string();
        assert!(
            error.contains("may open 100 files and needs at least 106"),
            "{error}"
        );
        assert!(error.contains("LimitNOFILE"), "{error}");
        assert!(share(106, 10, true).is_ok());
    }

    #[test]
    fn the_limit_is_raised_as_far_as_it_may_be() {
        let before = getrlimit(Resource::Nofile);
        let raised = raise();
        assert_eq!(raised, limit());
        let may = before.maximum.map_or(WANTED, |most| most.min(WANTED));
        assert_eq!(
            raised,
            before.current.map_or(u64::MAX, |current| current.max(may))
        );
    }
}
