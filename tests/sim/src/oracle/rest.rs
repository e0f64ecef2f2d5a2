//! What must hold after everything has healed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use isthmus_region_agent::shard::ShardHandle;
use isthmus_replication::cell::{CellId, Content};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::time::Wall;
use isthmus_replication::version::Version;

use super::Oracle;
use crate::reference::Held;
use crate::trace;

/// How early a value may be hidden: a machine's clock may differ from its log's clock, and that one
/// from the true time.
const MOST_OFF: Duration = Duration::from_secs(5);

impl Oracle {
    /// Whether a region's log has a value of this version that has not expired on any allowed
    /// clock.
    pub(super) fn is_live(&self, site: usize, cell: &CellId, version: &Version, now: Wall) -> bool {
        let mut of_site = self.logs.iter().filter(|((of, _), _)| *of == site);
        of_site.any(|(_, log)| {
            let held = log.reference.cells.get(cell);
            held.filter(|held| held.version == *version && held.value.is_some())
                .is_some_and(|held| held.expires_at.is_none_or(|at| at > now.after(MOST_OFF)))
        })
    }

    /// Compares the cells of all logs, and every agent in `handles` with its log. Returns the first
    /// difference.
    pub fn differs(&self, handles: &[(String, usize, ShardHandle)]) -> Option<String> {
        for ((site, shard), log) in &self.logs {
            let Some(first) = self.logs.get(&(0, shard.clone())) else {
                continue;
            };
            let (one, other) = (&first.reference.cells, &log.reference.cells);
            let differs = |id: &&CellId| {
                let pair = [one.get(*id), other.get(*id)];
                pair[0] != pair[1]
                    && !self.is_collected_in_one(id, pair)
                    && !self.may_differ(id, pair.map(|held| held.map(|held| &held.version)))
            };
            if let Some(id) = one.keys().chain(other.keys()).find(differs) {
                let version =
                    |cells: &BTreeMap<CellId, Held>| cells.get(id).map(|held| held.version.to_string());
                return Some(format!(
                    "the logs of regions 0 and {site} differ in {} of {shard}: {:?} and {:?}",
                    id.key,
                    version(one),
                    version(other)
                ));
            }
        }
        for (name, site, handle) in handles {
            let served = handle.served();
            let Some(log) = self.logs.get(&(*site, handle.shard().clone())) else {
                return Some(format!("{name} holds {}, whose log was not read", handle.shard()));
            };
            if let Some(refusal) = served.refusal() {
                return Some(format!("{name} does not serve {}: {refusal}", handle.shard()));
            }
            if served.fold.at().sequence != log.reference.last() {
                return Some(format!("{name} has not read all of {}", handle.shard()));
            }
            let cells = &log.reference.cells;
            let held = |id: &CellId| served.store.held(id).map(|held| held.cell.version.clone());
            let ids: BTreeSet<&CellId> = cells.keys().chain(self.left_behind.keys()).collect();
            let differing = ids.iter().find(|id| {
                let (held, logged) = (held(id), cells.get(**id).map(|held| &held.version));
                held.as_ref() != logged && !self.may_differ(id, [held.as_ref(), logged])
            });
            let known = ids.iter().filter(|id| held(id).is_some()).count() as u64;
            if served.store.cells() != known || differing.is_some() {
                let versions = differing.map(|id| {
                    let text = |version: Option<Version>| version.map(|version| version.to_string());
                    let logged = cells.get(*id).map(|held| held.version.clone());
                    format!("{}: {:?} and {:?}", id.key, text(held(id)), text(logged))
                });
                return Some(format!(
                    "{name} holds {} cells of {} where its log has {}; differing: {versions:?}",
                    served.store.cells(),
                    handle.shard(),
                    cells.len()
                ));
            }
        }
        None
    }

    /// Whether one of two logs has collected what the other one will. One that holds an older
    /// version has not read everything yet.
    fn is_collected_in_one(&self, id: &CellId, pair: [Option<&Held>; 2]) -> bool {
        let gone = self.gone.get(id);
        match pair {
            [Some(held), None] | [None, Some(held)] => gone.is_some_and(|gone| *gone == held.version),
            _ => false,
        }
    }

    /// Whether two places may hold these two versions: only if the newer one was left behind. An
    /// older one that was left behind gives way to the newer one, which is on its way.
    fn may_differ(&self, id: &CellId, versions: [Option<&Version>; 2]) -> bool {
        let newest = versions.into_iter().flatten().max();
        versions[0] != versions[1] && newest.is_some_and(|newest| self.is_left_behind(id, newest))
    }

    /// Whether a version may be in one place and not in another: its log lost it before an agent
    /// had read it, and that was reported. It stays where it is until a sync. Older versions may
    /// have given way to it in the only place that held them.
    fn is_left_behind(&self, id: &CellId, version: &Version) -> bool {
        let left = self
            .left_behind
            .get(id)
            .is_some_and(|left| left.range(version..).next().is_some());
        // Gateways report this when a peer's log is shorter than what they have of it, agents when
        // they begin a life for it. If two regions lost their logs, no gateway may have known more,
        // and the difference of their stores is reported.
        let recorded = |kind| trace::alarms().contains_key(kind);
        let lost: BTreeSet<usize> = (self.logs.iter())
            .filter(|(_, log)| log.has_lost)
            .map(|((site, _), _)| *site)
            .collect();
        let reported = ["peer_lost_tail", "tail_held_by_peer", "undecodable"]
            .into_iter()
            .any(recorded);
        left && (reported || lost.len() >= 2 && recorded("regions_differ"))
    }

    /// A log whose agents agree again is no longer disturbed.
    pub fn settle(&mut self, handles: &[(String, usize, ShardHandle)]) {
        for ((site, shard), log) in self.logs.iter_mut().filter(|(_, log)| log.disturbed) {
            let of_log = handles
                .iter()
                .filter(|(_, index, handle)| index == site && handle.shard() == shard);
            let agrees = |handle: &ShardHandle| {
                let served = handle.served();
                let cells = &log.reference.cells;
                let same = |(id, wanted): (&CellId, &Held)| {
                    served
                        .store
                        .held(id)
                        .is_some_and(|held| held.cell.version == wanted.version)
                };
                let last = log.reference.history.last().map(|after| after.anchor);
                served.refusal().is_none()
                    && last == Some(served.fold.at())
                    && served.store.cells() == cells.len() as u64
                    && cells.iter().all(same)
            };
            let mut all = of_log.map(|(_, _, handle)| agrees(handle)).peekable();
            if all.peek().is_some() && all.all(|agrees| agrees) {
                log.disturbed = false;
            }
        }
    }

    /// After everything has healed: every acknowledged write is there, and no refused one.
    pub fn check_end(&mut self, handles: &[(String, usize, ShardHandle)]) {
        let mut wrong = Vec::new();
        for (cell, versions) in &self.acknowledged {
            let newest = versions.iter().rfind(|(version, _)| {
                !self.excused.contains(*version) && !self.is_left_behind(cell, version)
            });
            let Some((newest, site)) = newest else {
                continue;
            };
            for (name, _, handle) in handles {
                let served = handle.served();
                let held = served.store.held(cell).map(|held| &held.cell);
                if !handles_cell(handle, cell, handles) {
                    continue;
                }
                let gone = self.gone.get(cell);
                match held {
                    None if gone.is_some_and(|gone| gone >= newest) => {}
                    None => wrong.push(format!(
                        "{name} lost {newest} of {}, acknowledged in region {site}",
                        cell.key
                    )),
                    Some(held) if held.version < *newest => wrong.push(format!(
                        "{name} holds {} of {} and {newest} was acknowledged in region {site}",
                        held.version, cell.key
                    )),
                    Some(held) => {
                        let bytes = match &held.content {
                            Content::Value { bytes, .. } => Some(bytes),
                            Content::Tombstone | Content::Swept(_) => None,
                        };
                        if bytes.is_some_and(|bytes| self.refused.contains(bytes)) {
                            wrong.push(format!("{name} holds a refused write of {}", cell.key));
                        }
                        if !self.counted.contains(&held.version) {
                            wrong.push(format!(
                                "{name} holds {} of {}, which never counted",
                                held.version, cell.key
                            ));
                        }
                    }
                }
            }
        }
        for (cell, gone) in &self.gone {
            for (name, _, handle) in handles {
                let served = handle.served();
                let held = served.store.held(cell).map(|held| &held.cell.version);
                if let Some(held) = held.filter(|held| *held < gone) {
                    wrong.push(format!(
                        "{name} holds {held} of {}, and {gone} was collected",
                        cell.key
                    ));
                }
            }
        }
        self.violations.extend(wrong);
    }
}

/// Whether `cell` belongs to the shard of `handle`, with the partition count of all handles.
fn handles_cell(handle: &ShardHandle, cell: &CellId, handles: &[(String, usize, ShardHandle)]) -> bool {
    let partitions = handles
        .iter()
        .map(|(_, _, handle)| handle.shard().partition)
        .max()
        .unwrap_or(0)
        + 1;
    let shard = handle.shard();
    *shard == Shard::of_key(&shard.group, partitions, &cell.bucket, &cell.key)
}
