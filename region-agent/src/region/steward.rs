//! The steward: a mark a second for each shard, the membership record, trimming (design.md section
//! 5).

use std::collections::BTreeSet;
use std::convert::Infallible;

use isthmus_log::Role;
use isthmus_replication::coordinates::{Sequence, Shard};
use isthmus_replication::header::{ClockLimits, Membership};
use isthmus_replication::limits;
use isthmus_replication::names::RegionName;
use isthmus_runtime::events::{Severity, Source};
use isthmus_runtime::settings::SetSettings;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Region;
use crate::shard::{Command, ShardHandle};

/// Above this percentage of its size a log is short of room. Local writes are refused only later.
const SHORT_PERCENT: u64 = 60;

/// Does the steward's work while this process is the steward, until `stop`.
///
/// # Errors
/// None.
pub async fn steward(region: Region, stop: CancellationToken) -> Result<(), Infallible> {
    let mut ticks = interval(limits::MARK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut left_behind = BTreeSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if !region.roster().stewards {
            continue;
        }
        let set = &region.context().process.settings.process.set;
        for shard in region.core.shards() {
            let recorded = shard.served().fold.membership().map_or(0, |held| held.number);
            if recorded < set.generation {
                let own = region.core.policy().region();
                shard.command(Command::Membership(membership(set, own, shard.shard())));
            }
            shard.command(Command::Mark);
            let now = region.context().now().mono;
            let stuck = region.core.peers().stuck(now, shard.shard());
            shard.command(Command::Steward { stuck });
        }
        for shard in region.core.shards() {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = trim(&region, shard, &mut left_behind) => {}
            }
        }
    }
}

/// The membership of the regions that share `shard`.
fn membership(set: &SetSettings, region: &RegionName, shard: &Shard) -> Membership {
    Membership {
        number: set.generation,
        members: set.regions_of(&shard.group).cloned().collect(),
        fenced: Vec::new(),
        groups: set.groups_for(region).map(|(name, _)| name.clone()).collect(),
        clock: ClockLimits {
            max_ahead: set.clock.max_ahead,
            max_behind: set.clock.max_behind,
        },
    }
}

/// Trims a log to its target: only what every live agent has checkpointed and no kept mark needs.
async fn trim(region: &Region, shard: &ShardHandle, left_behind: &mut BTreeSet<(RegionName, Shard)>) {
    let context = region.context();
    if shard.log_bytes() <= context.retention() {
        return;
    }
    let Some(keep_from) = keep_from(region, shard) else {
        return;
    };
    if keep_from <= shard.log_first() {
        return;
    }
    name_left_behind(region, shard, keep_from, left_behind);
    match context.ports.log.purge(shard.shard(), keep_from).await {
        Ok(0) => {}
        Ok(messages) => {
            context.metrics.trimmed.inc_by(messages);
            tracing::info!(shard = %shard.shard(), messages, keep_from = %keep_from, "trimmed the log");
        }
        Err(error) => tracing::warn!(shard = %shard.shard(), %error, "the log could not be trimmed"),
    }
}

/// The first message that must stay; none if nothing may be trimmed.
fn keep_from(region: &Region, shard: &ShardHandle) -> Option<Sequence> {
    let context = region.context();
    let members = region.members();
    let agents = members.iter().filter(|(member, _)| member.role == Role::Agent);
    let checkpointed = agents.map(|(_, positions)| {
        positions
            .as_ref()
            .map_or(Sequence::NONE, |positions| positions.checkpointed(shard.shard()))
    });
    let own = shard.served().checkpointed;
    let retention = context.retention();
    let max_bytes = context.process.settings.process.log.max_bytes.0;
    let mark = if is_short(shard.log_bytes(), retention, max_bytes) {
        shard.newest_mark()
    } else {
        shard.oldest_mark()
    };
    let least = checkpointed.min()?.min(own).min(mark?);
    let last = shard.served().fold.at().sequence;
    let target = begin_of_newest(shard.log_first(), last, shard.log_bytes(), retention);
    let least = least.min(target);
    (least > Sequence::NONE).then_some(least)
}

/// Whether a log is short of room. Then the older marks, from which a reader could start further
/// back, no longer prevent trimming; only the newest does. Otherwise a log that fills up within the
/// time of the kept marks could never be trimmed, and could not take the new mark that would fix
/// it.
fn is_short(bytes: u64, retention: u64, max_bytes: u64) -> bool {
    bytes >= retention.max(max_bytes / 100 * SHORT_PERCENT)
}

/// Where the newest `wanted` bytes of a log begin, if all its messages have the same size. A peer
/// that is cut off needs what is kept, so no more is trimmed than necessary. What a log of unequal
/// messages still has above its target is trimmed a second later.
fn begin_of_newest(first: Sequence, last: Sequence, bytes: u64, wanted: u64) -> Sequence {
    let messages = u128::from(last.next().0.saturating_sub(first.0));
    let surplus = u128::from(bytes.saturating_sub(wanted));
    let goes = messages * surplus / u128::from(bytes.max(1));
    Sequence(first.0.saturating_add(u64::try_from(goes).unwrap_or(u64::MAX)))
}

/// Records each peer whose next message is trimmed, once: it can't continue without a sync. A peer
/// whose cursor is not known is left out; the gateway that reaches it reports it.
fn name_left_behind(
    region: &Region,
    shard: &ShardHandle,
    keep_from: Sequence,
    left_behind: &mut BTreeSet<(RegionName, Shard)>,
) {
    for (peer, view) in region.core.peers().newest(shard.shard()) {
        let Some(cursor) = view.last_cursor else { continue };
        let next = cursor.position.sequence.next();
        let lane = (peer.clone(), shard.shard().clone());
        if next >= keep_from {
            left_behind.remove(&lane);
        } else if left_behind.insert(lane) {
            let text = format!(
                "the log of {} is trimmed past what {peer} has: {peer} needs a sync",
                shard.shard()
            );
            let fields = json!({ "peer": peer.as_str(), "shard": shard.shard().to_string(), "next": next.0, "kept_from": keep_from.0 });
            let source = Source::region(&peer).of_shard(shard.shard());
            let events = &region.context().process.events;
            events.record_from(&source, Severity::Alarm, "peer_needs_sync", text, fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_short_of_room_early_and_never_below_its_target() {
        assert!(!is_short(599, 250, 1000));
        assert!(is_short(600, 250, 1000));
        assert!(!is_short(700, 900, 1000));
        assert!(is_short(900, 900, 1000));
    }

    #[test]
    fn what_is_above_the_target_goes_and_no_more() {
        let begin =
            |first, last, bytes, wanted| begin_of_newest(Sequence(first), Sequence(last), bytes, wanted).0;
        assert_eq!(begin(1, 100, 1000, 1000), 1);
        assert_eq!(begin(1, 100, 1000, 750), 26);
        assert_eq!(begin(901, 1000, 1000, 0), 1001);
        assert_eq!(begin(1, 0, 0, 10), 1);
        assert_eq!(begin(1, u64::MAX, u64::MAX, 1), u64::MAX - 1);
    }
}
