//! Checks whether regions converge, as far as this gateway knows: changes missing until a sync,
//! tails that only a peer has, stores that differ.

use std::time::Duration;

use isthmus_replication::agreement::{Found, PARTS};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::RegionName;
use isthmus_replication::time::Now;
use isthmus_report::{Finding, LagRow, LaneState};
use isthmus_runtime::settings::ProcessSettings;

use crate::lag;
use crate::tables::Known;
use crate::view::LaneView;

/// A shard is reported if a part of it could not be compared for longer than this.
const UNCOMPARED: Duration = Duration::from_secs(600);

pub(super) fn findings(process: &ProcessSettings, known: Known<'_>, now: Now) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (peer, link) in &known.view.links {
        let lanes = link.lanes.iter();
        findings.extend(lanes.filter_map(|(shard, lane)| of_tail(known, peer, shard, lane)));
    }
    findings.extend(of_sync(process, known, now));
    findings.extend(of_compared(known, now));
    findings
}

/// The peer's cursor is beyond the end of this region's log, or names a message that the log does
/// not have there.
fn of_tail(known: Known<'_>, peer: &RegionName, shard: &Shard, lane: &LaneView) -> Option<Finding> {
    let head = known.view.heads.get(shard).and_then(|head| head.position);
    let beyond = lane.cursor.zip(head).filter(|(cursor, head)| {
        cursor.position.life == head.life && cursor.position.sequence > head.sequence
    });
    let found = match beyond {
        Some((cursor, head)) => format!(
            "region {peer} has this region's log through {}, but the log ends at {}: it has lost a tail",
            cursor.position.sequence, head.sequence
        ),
        None if lane.state == LaneState::LifeSuspected => {
            format!(
                "what region {peer} has of this region's log differs from what the log holds: the log has lost a tail"
            )
        }
        None => return None,
    };
    let mend = "the agents begin a new life by themselves within half a minute; if they don't, check them (isthmus events). Remove no agent's data folder: it may hold the only copy";
    Some(Finding::fail("tail", &shard.to_string(), found, mend))
}

/// Changes that are missing at either end of a lane of this region.
fn of_sync<'a>(
    process: &'a ProcessSettings,
    known: Known<'_>,
    now: Now,
) -> impl Iterator<Item = Finding> + 'a {
    let rows = lag::of_all(process, known, now).into_iter();
    let own = |row: &LagRow| row.needs_sync && row.involves(process.region.as_str());
    rows.filter(own).map(|row| {
        let of = format!("{} to {} {}/{}", row.origin, row.peer, row.group, row.partition);
        let found = row.reason.unwrap_or_else(|| lag::MISSING.to_owned());
        let mend = "docs/operations/alerts/IsthmusNeedsSync.md says what can be done";
        Finding::fail("needs sync", &of, found, mend)
    })
}

fn of_compared(known: Known<'_>, now: Now) -> Vec<Finding> {
    let all: Vec<_> = known.tables.compared.found(now.mono).collect();
    let bad: Vec<Finding> = all
        .iter()
        .filter_map(|(peer, shard, found)| judged(peer, shard, *found))
        .collect();
    let compared = all.iter().filter(|(_, _, found)| found.all_compared).count();
    if bad.is_empty() && compared < all.len() {
        let of = format!("{} of {} shards of peers", all.len() - compared, all.len());
        let found = "not compared yet since this gateway leads; no difference was found so far";
        return vec![Finding::ok("regions", &of, found)];
    }
    if bad.is_empty() && !all.is_empty() {
        let of = format!("{} shards of peers", all.len());
        let whole = all.iter().all(|(.., found)| found.all_compared);
        let said = if whole {
            "no difference was found"
        } else {
            "no difference was found so far"
        };
        return vec![Finding::ok("regions", &of, said)];
    }
    bad
}

fn judged(peer: &RegionName, shard: &Shard, found: Found) -> Option<Finding> {
    let of = format!("{peer} {shard}");
    if found.differing > 0 {
        let said = format!(
            "this region and {peer} hold different values in {} of {PARTS} parts",
            found.differing
        );
        let mend = "look for tail_held_by_peer, peer_lost_tail, agents_differ and undecodable among both regions' events; isthmus why shows what each agent holds of a key. Remove no agent's data folder";
        return Some(Finding::fail("regions", &of, said, mend));
    }
    (found.compared_within > UNCOMPARED).then(|| {
        let minutes = found.compared_within.as_secs() / 60;
        let said = format!("some of it could not be compared for {minutes} min");
        let mend = "a part is compared once it does not change for about two seconds in both regions; an agent that needs sync, and gateways of an older version, are not compared";
        Finding::warn("regions", &of, said, mend)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use isthmus_replication::coordinates::{Cursor, Life, MessageId, Position, Sequence};
    use isthmus_replication::names::GroupName;
    use isthmus_report::Verdict;

    use super::*;
    use crate::tables::State;
    use crate::view::{Head, View};

    fn shard() -> Shard {
        Shard {
            group: GroupName::parse("default").unwrap(),
            partition: 0,
        }
    }

    fn position(life: u64, sequence: u64) -> Position {
        Position {
            life: Life {
                number: life,
                nonce: 1,
            },
            sequence: Sequence(sequence),
        }
    }

    #[test]
    fn a_tail_that_only_a_peer_has_fails_unless_it_is_on_its_way() {
        let peer = RegionName::parse("us-east").unwrap();
        let verdict = |state: LaneState, cursor: Position, head: Position| {
            let (mut view, tables) = (View::default(), State::default());
            let shown = Head {
                position: Some(head),
                ..Head::default()
            };
            view.heads.insert(shard(), shown);
            let cursor = Cursor {
                position: cursor,
                message_id: MessageId(1),
            };
            let lane = LaneView {
                state: state.into(),
                cursor: Some(cursor),
                ..LaneView::default()
            };
            let known = Known {
                view: &view,
                tables: &tables,
            };
            of_tail(known, &peer, &shard(), &lane).map(|finding| finding.verdict)
        };
        assert_eq!(
            verdict(LaneState::Streaming, position(1, 9), position(1, 9)),
            None
        );
        assert_eq!(
            verdict(LaneState::Streaming, position(1, 10), position(1, 9)),
            Some(Verdict::Fail)
        );
        assert_eq!(
            verdict(LaneState::Streaming, position(1, 10), position(2, 9)),
            None,
            "a new life has begun"
        );
        assert_eq!(
            verdict(LaneState::LifeSuspected, position(1, 5), position(1, 9)),
            Some(Verdict::Fail)
        );
    }

    #[test]
    fn a_difference_fails_and_a_late_comparison_warns() {
        let peer = RegionName::parse("us-east").unwrap();
        let verdict = |differing, seconds| {
            let found = Found {
                differing,
                compared_within: Duration::from_secs(seconds),
                all_compared: true,
            };
            judged(&peer, &shard(), found).map(|finding| (finding.verdict, finding.of))
        };
        let of = "us-east default/0".to_owned();
        assert_eq!(verdict(0, 600), None);
        assert_eq!(verdict(0, 601), Some((Verdict::Warn, of.clone())));
        assert_eq!(verdict(1, 3), Some((Verdict::Fail, of)));
    }
}
