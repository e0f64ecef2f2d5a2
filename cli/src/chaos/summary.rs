//! The result of a chaos run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::inject::Fate;
use super::kind::Kind;
use crate::history::{Verdict, Violation};
use crate::recording::Recorded;

/// How many violations are shown.
const SHOWN: usize = 20;

/// The faults that happened and their effects.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) seed: u64,
    /// How long writes ran, in seconds.
    pub(crate) seconds: u64,
    /// How many faults of each enabled kind happened.
    pub(crate) faults: BTreeMap<Kind, usize>,
    /// Faults that were planned and never happened, or whose heal failed.
    pub(crate) failed_faults: usize,
    /// Acknowledged writes.
    pub(crate) acknowledged: usize,
    /// Refused writes.
    pub(crate) refused: usize,
    /// Writes whose outcome is unknown.
    pub(crate) unknown: usize,
    pub(crate) session_reads: usize,
    /// Agents read at the end.
    pub(crate) agents: usize,
    /// How long after the last write all agents had equal digests; `None` if not in time.
    pub(crate) equal_after_ms: Option<u64>,
    pub(crate) violations: usize,
    /// The first `SHOWN` of them.
    pub(crate) first_violations: Vec<Violation>,
}

impl Summary {
    pub(super) fn new(
        (seed, writes): (u64, Duration),
        enabled: &[Kind],
        fates: &[(Kind, Fate)],
        recorded: &Recorded,
        verdict: Verdict,
    ) -> Self {
        let mut faults: BTreeMap<Kind, usize> = enabled.iter().map(|kind| (*kind, 0)).collect();
        for (kind, _) in fates.iter().filter(|(_, fate)| *fate != Fate::NeverHappened) {
            *faults.entry(*kind).or_default() += 1;
        }
        Self {
            seed,
            seconds: writes.as_secs(),
            faults,
            failed_faults: fates.iter().filter(|(_, fate)| *fate != Fate::Healed).count(),
            acknowledged: verdict.acknowledged,
            refused: verdict.failed,
            unknown: verdict.unknown,
            session_reads: verdict.session_reads,
            agents: verdict.agents,
            equal_after_ms: recorded.agreed_after.map(|after| after.as_millis() as u64),
            violations: verdict.violations.len(),
            first_violations: verdict.violations.into_iter().take(SHOWN).collect(),
        }
    }

    /// Every reason why the run failed, as text; empty if it passed.
    pub(crate) fn wrongs(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        for (kind, _) in self.faults.iter().filter(|(_, times)| **times == 0) {
            wrongs.push(format!("{kind} was enabled and never happened"));
        }
        if self.failed_faults > 0 {
            wrongs.push(format!(
                "{} faults did not happen or were not healed",
                self.failed_faults
            ));
        }
        if self.equal_after_ms.is_none() {
            wrongs.push("the agents did not become equal in time".to_owned());
        }
        if self.session_reads == 0 {
            wrongs.push("nothing was read with a session".to_owned());
        }
        if self.violations > 0 {
            wrongs.push(format!("the history has {} violations", self.violations));
        }
        wrongs
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.faults.values().sum();
        writeln!(f, "seed {}, {} s, {total} faults:", self.seed, self.seconds)?;
        for (kind, times) in &self.faults {
            writeln!(f, "  {kind:<12} {times:>3}")?;
        }
        writeln!(
            f,
            "writes: {} acknowledged, {} refused, {} unknown; {} reads with a session; {} agents read",
            self.acknowledged, self.refused, self.unknown, self.session_reads, self.agents
        )?;
        if let Some(after) = self.equal_after_ms {
            writeln!(f, "all digests equal {after} ms after the last write")?;
        }
        for violation in &self.first_violations {
            writeln!(f, "  {violation:?}")?;
        }
        let wrongs = self.wrongs();
        if wrongs.is_empty() {
            return f.write_str("no acknowledged write lost, no stale session read, nothing came back");
        }
        write!(f, "FAILED: {}", wrongs.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Counts;

    fn summary(fates: &[(Kind, Fate)], agreed: bool, verdict: Verdict) -> Summary {
        let recorded = Recorded {
            counts: Counts::default(),
            agreed_after: agreed.then_some(Duration::from_millis(40)),
        };
        let kinds = [Kind::Cut, Kind::KillNats];
        Summary::new((7, Duration::from_secs(60)), &kinds, fates, &recorded, verdict)
    }

    fn good() -> Verdict {
        Verdict {
            acknowledged: 9,
            session_reads: 1,
            ..Verdict::default()
        }
    }

    const BOTH: [(Kind, Fate); 2] = [(Kind::Cut, Fate::Healed), (Kind::KillNats, Fate::Healed)];

    #[test]
    fn a_run_passes_only_if_every_fault_happened_and_was_healed() {
        assert_eq!(summary(&BOTH, true, good()).wrongs(), [""; 0]);
        let never = [(Kind::Cut, Fate::Healed), (Kind::KillNats, Fate::NeverHappened)];
        assert_eq!(summary(&never, true, good()).wrongs().len(), 2);
        assert_eq!(
            summary(&BOTH[..1], true, good()).wrongs(),
            ["kill-nats was enabled and never happened"]
        );
        let stuck = [(Kind::Cut, Fate::NotHealed), BOTH[1]];
        assert_eq!(summary(&stuck, true, good()).wrongs().len(), 1);
        assert_eq!(summary(&BOTH, false, good()).wrongs().len(), 1);
        let unread = Verdict {
            session_reads: 0,
            ..good()
        };
        assert_eq!(summary(&BOTH, true, unread).wrongs().len(), 1);
        let nothing = crate::history::verdict::judge(&[]);
        assert!(summary(&BOTH, true, nothing).wrongs().len() >= 2);
    }

    #[test]
    fn the_summary_names_kinds_as_the_command_line_does() {
        let summary = summary(&BOTH, true, good());
        let json = serde_json::to_value(&summary).expect("plain fields");
        assert_eq!(json["faults"], serde_json::json!({"cut": 1, "kill-nats": 1}));
        assert!(summary.to_string().contains("seed 7, 60 s, 2 faults"));
    }
}
