//! The newest events of one class. If several sources cause them, the source with the most events
//! loses its oldest one, so that no flood pushes out the events of others.

use std::collections::{BTreeMap, VecDeque};

use super::{Class, Event, Slot, Source};

/// The share of a ring that an event belongs to: its kind and source.
type Share = (&'static str, Source);

#[derive(Debug)]
pub(super) struct Ring {
    class: Class,
    kept: VecDeque<(Share, Event)>,
}

impl Ring {
    pub(super) fn new(class: Class) -> Self {
        Self {
            class,
            kept: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, source: &Source, mut event: Event) {
        let place = match self.kept.len() {
            kept if kept < self.class.kept() => kept,
            _ => self.make_room(),
        };
        event.slot = self.class.journal_slots().map(|class| Slot { class, place });
        self.kept.push_back(((event.kind, source.clone()), event));
    }

    /// Removes the oldest event of the largest share and returns its place.
    fn make_room(&mut self) -> usize {
        let most = match self.class.journal_slots() {
            Some(_) => self.greatest_share(),
            None => 0,
        };
        let gone = self.kept.remove(most);
        gone.and_then(|(_, event)| event.slot)
            .map_or(0, |slot| slot.place)
    }

    fn greatest_share(&self) -> usize {
        let mut shares: BTreeMap<&Share, (usize, usize)> = BTreeMap::new();
        for (at, (share, _)) in self.kept.iter().enumerate() {
            shares.entry(share).or_insert((0, at)).0 += 1;
        }
        let greatest = shares
            .into_values()
            .max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)));
        greatest.map_or(0, |(_, oldest)| oldest)
    }

    pub(super) fn after(&self, sequence: u64) -> impl Iterator<Item = &Event> {
        let kept = self.kept.iter().map(|(_, event)| event);
        kept.filter(move |event| event.sequence > sequence)
    }
}
