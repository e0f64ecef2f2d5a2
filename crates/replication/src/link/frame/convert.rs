//! Conversion between the typed parts of frames and their protobuf messages.

use super::{
    Hello, InvalidFrame, LaneOffer, LaneReport, NoAnswer, Party, Ping, Pong, Request, Response, Versions,
    Welcome, text, wire,
};
use crate::coordinates::WriterId;
use crate::limits;
use crate::names::{ProcessName, RegionName, SetName};
use crate::time::Wall;

impl Party {
    fn to_wire(&self) -> wire::Party {
        wire::Party {
            set: self.set.as_str().to_owned(),
            set_digest: bytes::Bytes::copy_from_slice(&self.set_digest),
            generation: self.generation,
            region: self.region.as_str().to_owned(),
            process: self.process.as_str().to_owned(),
            run: self.run.0,
        }
    }

    fn from_wire(wire: Option<wire::Party>) -> Result<Self, InvalidFrame> {
        let wire = wire.ok_or(InvalidFrame::Field("party"))?;
        let digest: Result<[u8; 16], _> = wire.set_digest.as_ref().try_into();
        Ok(Self {
            set: SetName::parse(&wire.set).map_err(|_| InvalidFrame::Field("set"))?,
            set_digest: digest.map_err(|_| InvalidFrame::Field("set digest"))?,
            generation: wire.generation,
            region: RegionName::parse(&wire.region).map_err(|_| InvalidFrame::Field("region"))?,
            process: ProcessName::parse(&wire.process).map_err(|_| InvalidFrame::Field("process"))?,
            run: WriterId(wire.run),
        })
    }
}

impl Hello {
    pub(super) fn to_wire(&self) -> wire::Hello {
        wire::Hello {
            version: self.versions.least,
            party: Some(self.party.to_wire()),
            lanes: self.lanes.iter().map(LaneOffer::to_wire).collect(),
            newest: match self.versions.newest {
                newest if newest == self.versions.least => 0,
                newest => newest,
            },
        }
    }

    pub(super) fn from_wire(wire: wire::Hello) -> Result<Self, InvalidFrame> {
        Ok(Self {
            versions: Versions {
                least: wire.version,
                newest: wire.newest.max(wire.version),
            },
            party: Party::from_wire(wire.party)?,
            lanes: wire
                .lanes
                .into_iter()
                .map(LaneOffer::from_wire)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Welcome {
    pub(super) fn to_wire(&self) -> wire::Welcome {
        wire::Welcome {
            version: self.version,
            party: Some(self.party.to_wire()),
            lanes: self.lanes.iter().map(LaneReport::to_wire).collect(),
        }
    }

    pub(super) fn from_wire(wire: wire::Welcome) -> Result<Self, InvalidFrame> {
        Ok(Self {
            version: wire.version,
            party: Party::from_wire(wire.party)?,
            lanes: wire
                .lanes
                .into_iter()
                .map(LaneReport::from_wire)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Ping {
    pub(super) fn to_wire(self) -> wire::Ping {
        wire::Ping {
            number: self.number,
            sent: self.sent.micros(),
        }
    }

    pub(super) fn from_wire(wire: wire::Ping) -> Self {
        Self {
            number: wire.number,
            sent: Wall::from_micros(wire.sent),
        }
    }
}

impl Pong {
    pub(super) fn to_wire(self) -> wire::Pong {
        wire::Pong {
            number: self.number,
            ping_sent: self.ping_sent.micros(),
            received: self.received.micros(),
            sent: self.sent.micros(),
        }
    }

    pub(super) fn from_wire(wire: wire::Pong) -> Self {
        Self {
            number: wire.number,
            ping_sent: Wall::from_micros(wire.ping_sent),
            received: Wall::from_micros(wire.received),
            sent: Wall::from_micros(wire.sent),
        }
    }
}

impl Request {
    pub(super) fn to_wire(&self) -> wire::Request {
        wire::Request {
            id: self.id,
            method: self.method.clone(),
            body: self.body.clone(),
        }
    }

    pub(super) fn from_wire(wire: wire::Request) -> Result<Self, InvalidFrame> {
        if wire.body.len() > limits::CALL_BYTES {
            return Err(InvalidFrame::Field("length of a request"));
        }
        Ok(Self {
            id: wire.id,
            method: text(wire.method, "method")?,
            body: wire.body,
        })
    }
}

impl Response {
    pub(super) fn to_wire(&self) -> wire::Response {
        let (body, refused) = match &self.outcome {
            Ok(body) => (body.clone(), String::new()),
            Err(refused) => (bytes::Bytes::new(), refused.as_str().to_owned()),
        };
        wire::Response {
            id: self.id,
            refused,
            body,
        }
    }

    pub(super) fn from_wire(wire: wire::Response) -> Result<Self, InvalidFrame> {
        if wire.body.len() > limits::RESPONSE_BYTES {
            return Err(InvalidFrame::Field("length of a response"));
        }
        let outcome = if wire.refused.is_empty() {
            Ok(wire.body)
        } else {
            Err(NoAnswer::because(&text(wire.refused, "refusal")?))
        };
        Ok(Self { id: wire.id, outcome })
    }
}
