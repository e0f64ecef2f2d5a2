//! The link between two gateways of different regions: a TLS 1.3 session with a proven identity at both ends that
//! carries length-delimited frames (design.md section 8).
//!
//! A certificate speaks for a region by exactly one URI name. The region it claims selects the bundle of CAs that may
//! vouch for it, so one region's CA can't vouch for another. Nothing is resumed: every session verifies both chains.
//! Certificates, trust and revocation are read again while sessions run, and a session that no longer holds is found.
//!
//! **This crate knows no protocol.** Frames are bytes; what they mean, who leads and what is sent is decided in
//! isthmus-replication and the gateway. **No handshake, frame or file can make it panic or hold unbounded memory**:
//! the bounds are in [`limits`], and each refusal has a [`RefusalReason`] to log and count it by.
//!
//! Reading order: [`identity`] and [`trust`] (who may speak for a region), [`credentials`] (what is on disk),
//! [`dial()`] and [`listen`] (how a [`Connection`] comes to be), [`frame`] (what flows over it).

pub mod connection;
pub mod credentials;
pub mod dial;
pub mod fingerprint;
pub mod frame;
pub mod identity;
pub mod limits;
pub mod listen;
pub mod peer;
pub mod port;
pub mod progress;
pub mod refusal;
mod tls;
pub mod trust;
mod verifier;

pub use connection::{Connection, Transport};
pub use credentials::{
    ClientCertificate, CredentialFiles, Credentials, CredentialsError, DoorFiles, DoorTls, Reload,
    TrustSource,
};
pub use dial::{DialError, dial};
pub use fingerprint::Fingerprint;
pub use frame::{FrameError, FrameReader, FrameWriter};
pub use identity::{Place, TrustDomain};
pub use limits::LinkLimits;
pub use listen::{AcceptError, Listener};
pub use peer::{End, Peer};
pub use port::{Accepts, Links};
pub use progress::Passed;
pub use refusal::{Refusal, RefusalReason};
