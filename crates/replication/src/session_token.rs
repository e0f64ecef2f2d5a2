//! The positions that a client has read and written, carried from response to request:
//! `Isthmus-Session` (design.md section 6).
//!
//! A token maps (origin, shard, life) to a position of that origin's log. A store satisfies it for
//! a shard when it has applied that much of every origin. A position of an ended life counts up to
//! the forks since; above them it was lost, and waiting can't bring it back.
//!
//! The text form is printable, bounded and needs no quoting in an HTTP header:
//!
//! ```text
//! token    = "1" *( ";" origin 1*( ":" group 1*( "," position ) ) )
//! position = partition "." life-number "." life-nonce "." sequence      ; lower-case hexadecimal
//! ```

use std::collections::BTreeMap;

use crate::coordinates::{Life, Position, Sequence, Shard};
use crate::fold::Fold;
use crate::header::Lineage;
use crate::limits;
use crate::names::RegionName;

#[cfg(test)]
mod tests;
mod text;

pub use text::InvalidToken;

/// The positions that a client has seen, merged over its requests. At most
/// [`limits::SESSION_POSITIONS`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionToken {
    positions: BTreeMap<(RegionName, Shard, Life), Sequence>,
}

/// A token that would have more than [`limits::SESSION_POSITIONS`] positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a session of more than {} positions: begin a new one",
    limits::SESSION_POSITIONS
)]
pub struct TooManyPositions;

/// How far a store has applied every origin of one shard, with their known lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    shard: Shard,
    origins: BTreeMap<RegionName, Applied>,
}

/// How far one origin was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    /// Nothing is missing through this position.
    whole: Position,
    /// Readers may have been shown everything through this position; above `whole` if a sync is
    /// needed.
    shown: Position,
    lineage: Lineage,
}

/// Whether a store has everything that a token requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// It has.
    Satisfied,
    /// It will, once it has applied more.
    Behind(Vec<Behind>),
    /// A position was lost with the tail of its log; only a sync can recover it.
    NeedsSync {
        /// The region of the log.
        origin: RegionName,
        /// The token's position.
        want: Position,
        /// The current life shares the position's life through this sequence, if known.
        shared: Option<Sequence>,
    },
}

/// How far a store is behind a token in one origin's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The region of the log.
    pub origin: RegionName,
    /// The applied position; none before the first range.
    pub have: Option<Position>,
    /// The token's position.
    pub want: Position,
}

impl Behind {
    /// How many positions are missing; none if the two are of different lives.
    #[must_use]
    pub fn distance(&self) -> Option<u64> {
        let have = self.have.map_or(0, |have| have.sequence.0);
        let comparable = self.have.is_none_or(|have| have.life == self.want.life);
        comparable.then(|| self.want.sequence.0.saturating_sub(have))
    }
}

impl Frontier {
    /// The frontier of a store to which everything up to `fold` was applied.
    #[must_use]
    pub fn of(fold: &Fold) -> Self {
        let own = fold.position().map(|position| {
            let applied = Applied {
                whole: position,
                shown: position,
                lineage: fold.lineage().clone(),
            };
            (fold.log().region.clone(), applied)
        });
        let others = fold.origins().map(|(region, origin)| {
            let applied = Applied {
                whole: origin.whole_through(),
                shown: origin.cursor.position,
                lineage: origin.lineage.clone(),
            };
            (region.clone(), applied)
        });
        Self {
            shard: fold.log().shard.clone(),
            origins: others.chain(own).collect(),
        }
    }

    /// The shard.
    #[must_use]
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// `origin`'s log has been applied without gaps through this position.
    #[must_use]
    pub fn position(&self, origin: &RegionName) -> Option<Position> {
        self.origins.get(origin).map(|applied| applied.whole)
    }

    fn check(&self, origin: &RegionName, want: Position) -> Check {
        let behind = |have| {
            Check::Behind(vec![Behind {
                origin: origin.clone(),
                have,
                want,
            }])
        };
        let Some(applied) = self.origins.get(origin) else {
            return behind(None);
        };
        let have = applied.whole;
        match applied.lineage.shared_through(want) {
            Some(shared) if shared == want.sequence && shared <= have.sequence => Check::Satisfied,
            Some(shared) if shared == want.sequence && have == applied.shown => behind(Some(have)),
            None if want.life.number > have.life.number => behind(Some(have)),
            shared => Check::NeedsSync {
                origin: origin.clone(),
                want,
                shared,
            },
        }
    }
}

impl SessionToken {
    /// Whether the client has seen nothing yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// The logs of which the client has seen something: the origin and the shard, one entry for
    /// each life.
    pub fn logs(&self) -> impl Iterator<Item = (&RegionName, &Shard)> {
        self.positions.keys().map(|(origin, shard, _)| (origin, shard))
    }

    /// Records that the client has seen `origin`'s log of `shard` through `position`.
    ///
    /// # Errors
    /// [`TooManyPositions`]; the token is unchanged.
    pub fn note(
        &mut self,
        origin: &RegionName,
        shard: &Shard,
        position: Position,
    ) -> Result<(), TooManyPositions> {
        let id = (origin.clone(), shard.clone(), position.life);
        if let Some(held) = self.positions.get_mut(&id) {
            *held = position.sequence.max(*held);
            return Ok(());
        }
        if self.positions.len() >= limits::SESSION_POSITIONS {
            return Err(TooManyPositions);
        }
        self.positions.insert(id, position.sequence);
        Ok(())
    }

    /// Records everything that a store has applied, since a read may have seen it. Positions of
    /// ended lives that the current lives share become positions of the current lives.
    ///
    /// # Errors
    /// [`TooManyPositions`]; the token has taken a part of it.
    pub fn note_read(&mut self, frontier: &Frontier) -> Result<(), TooManyPositions> {
        for (origin, applied) in &frontier.origins {
            self.settle(origin, &frontier.shard, &applied.lineage);
            self.note(origin, &frontier.shard, applied.shown)?;
        }
        Ok(())
    }

    /// Adds the positions of another token.
    ///
    /// # Errors
    /// [`TooManyPositions`]; the token has taken a part of it.
    pub fn merge(&mut self, other: &Self) -> Result<(), TooManyPositions> {
        for ((origin, shard, life), sequence) in &other.positions {
            let position = Position {
                life: *life,
                sequence: *sequence,
            };
            self.note(origin, shard, position)?;
        }
        Ok(())
    }

    /// Whether a store at `frontier` has all positions of the token for its shard. Lost positions
    /// take precedence over late ones.
    #[must_use]
    pub fn satisfied_by(&self, frontier: &Frontier) -> Check {
        let mut late = Vec::new();
        for ((origin, shard, life), sequence) in &self.positions {
            if *shard != frontier.shard {
                continue;
            }
            let want = Position {
                life: *life,
                sequence: *sequence,
            };
            match frontier.check(origin, want) {
                Check::Satisfied => {}
                Check::Behind(behind) => late.extend(behind),
                lost @ Check::NeedsSync { .. } => return lost,
            }
        }
        if late.is_empty() {
            Check::Satisfied
        } else {
            Check::Behind(late)
        }
    }

    /// Converts positions of ended lives that the current life shares completely into positions of
    /// the current life.
    fn settle(&mut self, origin: &RegionName, shard: &Shard, lineage: &Lineage) {
        let Some(current) = lineage.current() else {
            return;
        };
        let mut shared = None;
        self.positions.retain(|(of, at, life), sequence| {
            let position = Position {
                life: *life,
                sequence: *sequence,
            };
            let settled = of == origin
                && at == shard
                && *life != current
                && lineage.shared_through(position) == Some(*sequence);
            shared = shared.max(settled.then_some(*sequence));
            !settled
        });
        if let Some(sequence) = shared {
            let held = self.positions.entry((origin.clone(), shard.clone(), current));
            held.and_modify(|held| *held = sequence.max(*held))
                .or_insert(sequence);
        }
    }
}
