//! Requests and answers as bytes, checked.

use bytes::Bytes;
use prost::Message;

use super::{Ask, Begun, Reply, Request, SPANS, Span, Want, wire};
use crate::cell::{CellId, Digest};
use crate::coordinates::{Shard, WriterId};
use crate::header::read_positions;
use crate::hlc::Hlc;
use crate::image::History;
use crate::limits;
use crate::names::{GroupName, ProcessName};

/// Bytes that are not a request to the source of a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a request of a sync: {0}")]
pub struct InvalidRequest(&'static str);

/// An answer that is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the answer to what was asked: {0}")]
pub struct InvalidReply(pub(super) &'static str);

impl Request {
    /// Encodes the request.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let ask = self.ask.as_ref().map(|ask| wire::Ask {
            after: name(ask.after.as_ref()),
            through: name(ask.through.as_ref()),
            floor: ask.floor.bits(),
            span: match ask.want {
                Want::Digests(cells) => cells,
                Want::Cells => 0,
            },
        });
        let wire = wire::Request {
            group: self.shard.group.as_str().to_owned(),
            partition: u32::from(self.shard.partition),
            begun: self.begun.as_ref().map(Begun::to_wire),
            ask,
        };
        wire.encode_to_vec().into()
    }

    /// Decodes and checks a request.
    ///
    /// # Errors
    /// [`InvalidRequest`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        let wire = wire::Request::decode(bytes).map_err(|_| InvalidRequest("not protobuf"))?;
        let group = GroupName::parse(&wire.group).map_err(|_| InvalidRequest("group"))?;
        let partition = u16::try_from(wire.partition).ok();
        let partition = partition.filter(|partition| *partition < limits::PARTITIONS);
        let begun = wire.begun.as_ref().map(Begun::from_wire).transpose();
        let ask = wire.ask.as_ref().map(|ask| {
            Ok(Ask {
                after: cell(&ask.after)?,
                through: cell(&ask.through)?,
                floor: Hlc::from_bits(ask.floor),
                want: match ask.span {
                    0 => Want::Cells,
                    cells => Want::Digests(cells),
                },
            })
        });
        Ok(Self {
            shard: Shard {
                group,
                partition: partition.ok_or(InvalidRequest("partition"))?,
            },
            begun: begun.map_err(InvalidRequest)?,
            ask: ask.transpose().map_err(InvalidRequest)?,
        })
    }
}

impl Begun {
    fn to_wire(&self) -> wire::Begun {
        wire::Begun {
            agent: self.agent.as_str().to_owned(),
            run: self.history.run.0,
            rewinds: self.history.rewinds,
            collected: self.collected.bits(),
        }
    }

    fn from_wire(wire: &wire::Begun) -> Result<Self, &'static str> {
        Ok(Self {
            agent: ProcessName::parse(&wire.agent).map_err(|_| "agent")?,
            history: History {
                run: WriterId(wire.run),
                rewinds: wire.rewinds,
            },
            collected: Hlc::from_bits(wire.collected),
        })
    }
}

impl Reply {
    /// Encodes the answer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let wire = match self {
            Self::Refused { lost, reason } => wire::SourceReply {
                refused: reason.clone(),
                lost: *lost,
                ..wire::SourceReply::default()
            },
            Self::Begun {
                begun,
                positions,
                cells,
                bytes,
            } => wire::SourceReply {
                beginning: Some(wire::Beginning {
                    begun: Some(begun.to_wire()),
                    positions: positions.iter().map(|position| position.to_wire()).collect(),
                    cells: *cells,
                    bytes: *bytes,
                }),
                ..wire::SourceReply::default()
            },
            Self::Spans(spans) => {
                let spans = spans.iter().map(|span| wire::Span {
                    last: name(span.last.as_ref()),
                    digest: Bytes::copy_from_slice(&span.digest.0.to_le_bytes()),
                    cells: span.cells,
                });
                wire::SourceReply {
                    spans: Some(wire::Spans {
                        spans: spans.collect(),
                    }),
                    ..wire::SourceReply::default()
                }
            }
            Self::Cells { floor, through, rows } => wire::SourceReply {
                cells: Some(wire::Cells {
                    floor: floor.bits(),
                    through: name(through.as_ref()),
                    rows: rows.iter().map(wire::Row::of).collect(),
                }),
                ..wire::SourceReply::default()
            },
        };
        wire.encode_to_vec().into()
    }

    /// Decodes an answer, and checks that spans and cells are in order.
    ///
    /// # Errors
    /// [`InvalidReply`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidReply> {
        let wire = wire::SourceReply::decode(bytes).map_err(|_| InvalidReply("not protobuf"))?;
        if !wire.refused.is_empty() {
            return Ok(Self::Refused {
                lost: wire.lost,
                reason: wire.refused,
            });
        }
        match (wire.beginning, wire.spans, wire.cells) {
            (Some(beginning), None, None) => {
                let begun = beginning.begun.as_ref().ok_or(InvalidReply("no source"))?;
                Ok(Self::Begun {
                    begun: Begun::from_wire(begun).map_err(InvalidReply)?,
                    positions: read_positions(&beginning.positions).map_err(|_| InvalidReply("positions"))?,
                    cells: beginning.cells,
                    bytes: beginning.bytes,
                })
            }
            (None, Some(spans), None) => read_spans(&spans.spans).map(Self::Spans),
            (None, None, Some(cells)) => {
                let row = |row: &wire::Row| row.read().ok_or(InvalidReply("cell"));
                let rows: Vec<_> = cells.rows.iter().map(row).collect::<Result<_, _>>()?;
                if !rows.is_sorted_by(|(one, _), (next, _)| one < next) {
                    return Err(InvalidReply("cells out of order"));
                }
                Ok(Self::Cells {
                    floor: Hlc::from_bits(cells.floor),
                    through: cell(&cells.through).map_err(InvalidReply)?,
                    rows,
                })
            }
            _ => Err(InvalidReply("not one answer")),
        }
    }
}

fn read_spans(wire: &[wire::Span]) -> Result<Vec<Span>, InvalidReply> {
    if wire.is_empty() || wire.len() > SPANS {
        return Err(InvalidReply("number of spans"));
    }
    let span = |span: &wire::Span| {
        let digest: Result<[u8; 16], _> = span.digest.as_ref().try_into();
        Ok(Span {
            last: cell(&span.last)?,
            digest: Digest(u128::from_le_bytes(digest.map_err(|_| "digest")?)),
            cells: span.cells,
        })
    };
    let spans: Result<Vec<_>, &'static str> = wire.iter().map(span).collect();
    let spans = spans.map_err(InvalidReply)?;
    // Only the last span may end at the question's end.
    let ends_later = |one: &Span, next: &Span| match (&one.last, &next.last) {
        (Some(one), Some(next)) => one < next,
        (one, _) => one.is_some(),
    };
    match spans.is_sorted_by(ends_later) {
        true => Ok(spans),
        false => Err(InvalidReply("spans out of order")),
    }
}

fn name(id: Option<&CellId>) -> Bytes {
    id.map(CellId::to_stored).unwrap_or_default().into()
}

fn cell(name: &[u8]) -> Result<Option<CellId>, &'static str> {
    let id = (!name.is_empty()).then(|| CellId::from_stored(name));
    id.transpose().map_err(|_| "name of a cell")
}
