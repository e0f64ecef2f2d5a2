//! The lives of one log, and where each one began.

use super::{HeaderError, Life, Position, Sequence};
use crate::planted::{self, Planted};
use crate::{limits, wire};

/// A life and what it began from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeLink {
    /// The life.
    pub life: Life,
    /// The life before it; none for the first.
    pub parent: Option<Life>,
    /// The last sequence that it shares with its parent; [`Sequence::NONE`] for the first life.
    pub fork: Sequence,
}

impl LifeLink {
    pub(crate) fn to_wire(self) -> wire::LifeLink {
        wire::LifeLink {
            life: Some(self.life.into()),
            parent: self.parent.map(Into::into),
            fork: self.fork.0,
        }
    }

    pub(crate) fn from_wire(wire: &wire::LifeLink) -> Result<Self, HeaderError> {
        let life: Life = wire.life.ok_or(HeaderError::Malformed("no life"))?.into();
        let parent: Option<Life> = wire.parent.map(Into::into);
        if parent.is_some_and(|parent| parent.number >= life.number) {
            return Err(HeaderError::Malformed("a life not numbered above its parent"));
        }
        Ok(Self {
            life,
            parent,
            fork: Sequence(wire.fork),
        })
    }
}

/// The lives of one log, oldest kept first, each the parent of the next. At most
/// [`limits::LINEAGE`] are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lineage(Vec<LifeLink>);

impl Lineage {
    /// The current life; none before the first.
    #[must_use]
    pub fn current(&self) -> Option<Life> {
        self.0.last().map(|link| link.life)
    }

    /// The lives, oldest kept first.
    #[must_use]
    pub fn links(&self) -> &[LifeLink] {
        &self.0
    }

    /// Begins a life whose parent is the current one. Returns false, and changes nothing, if it is
    /// not.
    pub fn begin(&mut self, link: LifeLink) -> bool {
        let follows = self.current() == link.parent;
        if follows {
            if self.0.len() == limits::LINEAGE {
                self.0.remove(0);
            }
            self.0.push(link);
        }
        follows
    }

    /// The last sequence through which the log at `position` is the same in the current life: the
    /// least of the position and every fork since its life. None if its life is not among the kept
    /// ones.
    #[must_use]
    pub fn shared_through(&self, position: Position) -> Option<Sequence> {
        let at = self.0.iter().position(|link| link.life == position.life)?;
        if planted::is(Planted::LifeIgnored) {
            return Some(position.sequence);
        }
        Some(
            self.0[at + 1..]
                .iter()
                .map(|link| link.fork)
                .fold(position.sequence, Sequence::min),
        )
    }

    /// The sequence after which a lane continues for a peer that has the log through `position`:
    /// what the peer shares with the current life. If a complete lineage does not have the peer's
    /// life, and the current life has a greater number, they share nothing: the log was recreated,
    /// and all of it follows. None if the lineage does not show where to continue.
    #[must_use]
    pub fn resumes_after(&self, position: Position) -> Option<Sequence> {
        let complete = self.0.first().is_some_and(|first| first.parent.is_none());
        let newer = self
            .current()
            .is_some_and(|current| current.number > position.life.number);
        self.shared_through(position)
            .or((complete && newer).then_some(Sequence::NONE))
    }

    /// Whether a peer that has the log through `cursor` needs nothing of what ended at `end`: it
    /// has that, or `end` is of a life that had ended when the cursor's life began.
    #[must_use]
    pub fn covers(&self, cursor: Position, end: Position) -> bool {
        let place = |life: Life| self.0.iter().position(|link| link.life == life);
        match (place(cursor.life), place(end.life)) {
            (Some(of_cursor), Some(of_end)) if of_cursor < of_end => {
                let forks = self.0[of_cursor + 1..=of_end].iter().map(|link| link.fork);
                end.sequence <= forks.fold(cursor.sequence, Sequence::min)
            }
            _ if cursor.life == end.life => end.sequence <= cursor.sequence,
            _ => end.life.number < cursor.life.number,
        }
    }

    pub(crate) fn to_wire(&self) -> Vec<wire::LifeLink> {
        self.0.iter().map(|link| link.to_wire()).collect()
    }

    /// Decodes a lineage that may be empty.
    pub(crate) fn from_wire_or_none(wire: &[wire::LifeLink]) -> Result<Self, HeaderError> {
        if wire.len() > limits::LINEAGE {
            return Err(HeaderError::Malformed("too many lives"));
        }
        let links = wire
            .iter()
            .map(LifeLink::from_wire)
            .collect::<Result<Vec<_>, _>>()?;
        if links.windows(2).any(|pair| pair[1].parent != Some(pair[0].life)) {
            return Err(HeaderError::Malformed("lives that do not follow each other"));
        }
        Ok(Self(links))
    }

    pub(crate) fn from_wire(wire: &[wire::LifeLink]) -> Result<Self, HeaderError> {
        if wire.is_empty() {
            return Err(HeaderError::Malformed("no life"));
        }
        Self::from_wire_or_none(wire)
    }
}
