//! What is left to compare: spans of the stores, in the order of their names.

use super::{Ask, COARSE_CELLS, FINE_CELLS, InvalidReply, Span, Want};
use crate::cell::CellId;
use crate::hlc::Hlc;
use crate::store::Store;

/// The spans that are left. The next one is asked for next.
///
/// Invariant: the spans are disjoint and in order, and everything before the first one was
/// compared.
#[derive(Debug)]
pub(super) struct Walk {
    floor: Hlc,
    /// The next one last.
    left: Vec<Left>,
    /// Cells of the source that were compared or taken.
    passed: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    after: Option<CellId>,
    through: Option<CellId>,
    want: Want,
}

impl Walk {
    /// A walk over everything. Cells that are absent at `floor` do not count.
    pub(super) fn new(floor: Hlc) -> Self {
        let everything = Left {
            after: None,
            through: None,
            want: Want::Digests(COARSE_CELLS),
        };
        Self {
            floor,
            left: vec![everything],
            passed: 0,
        }
    }

    /// What to ask next; none once everything was compared.
    pub(super) fn next(&self) -> Option<Ask> {
        let next = self.left.last()?;
        Some(Ask {
            after: next.after.clone(),
            through: next.through.clone(),
            floor: self.floor,
            want: next.want,
        })
    }

    pub(super) fn floor(&self) -> Hlc {
        self.floor
    }

    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// The digests of the spans that were asked for last.
    pub(super) fn take_spans(&mut self, store: &Store, spans: Vec<Span>) -> Result<(), InvalidReply> {
        let asked = self.left.pop().ok_or(InvalidReply("spans"))?;
        let Want::Digests(size) = asked.want else {
            return Err(InvalidReply("spans"));
        };
        let mut differing: Vec<Left> = Vec::new();
        let mut after = asked.after;
        let mut ends = false;
        for span in spans {
            let through = checked(after.as_ref(), asked.through.as_ref(), span.last)?;
            ends = through == asked.through;
            let (digest, cells) = store.span_digest(after.as_ref(), through.as_ref(), self.floor);
            if (digest, cells) == (span.digest, span.cells) {
                self.passed += cells;
            } else {
                let is_small = span.cells <= u64::from(FINE_CELLS) || cells * 2 < span.cells;
                let want = match is_small || size == FINE_CELLS {
                    true => Want::Cells,
                    false => Want::Digests(FINE_CELLS),
                };
                match differing.last_mut() {
                    Some(last) if last.want == want && last.through == after => {
                        last.through.clone_from(&through)
                    }
                    _ => differing.push(Left {
                        after,
                        through: through.clone(),
                        want,
                    }),
                }
            }
            after = through;
        }
        if !ends {
            self.left.push(Left {
                after,
                through: asked.through,
                want: asked.want,
            });
        }
        self.left.extend(differing.into_iter().rev());
        Ok(())
    }

    /// All cells up to `through` were taken, `cells` of them the source's.
    pub(super) fn take_cells(&mut self, through: Option<CellId>, cells: u64) -> Result<(), InvalidReply> {
        let asked = self.left.pop().ok_or(InvalidReply("cells"))?;
        let through = checked(asked.after.as_ref(), asked.through.as_ref(), through)?;
        self.passed += cells;
        if through != asked.through {
            self.left.push(Left {
                after: through,
                ..asked
            });
        }
        Ok(())
    }
}

/// Where an answer ends: after the question's begin, and not after its end.
fn checked(
    after: Option<&CellId>,
    through: Option<&CellId>,
    last: Option<CellId>,
) -> Result<Option<CellId>, InvalidReply> {
    let Some(last) = last else {
        return Ok(through.cloned());
    };
    let is_after = after.is_none_or(|after| last > *after);
    let is_within = through.is_none_or(|through| last <= *through);
    match is_after && is_within {
        true => Ok(Some(last)),
        false => Err(InvalidReply("an end outside of what was asked")),
    }
}
