//! The link between two gateways of different regions: a TLS 1.3 session with an authenticated
//! identity at both ends that carries length-delimited frames (design.md section 8).
//!
//! A certificate identifies a region by exactly one URI name. The claimed region selects the bundle
//! of CAs that may vouch for it, so one region's CA can't vouch for another. Sessions are not
//! resumed: each one verifies both chains. Certificates, trust and revocation are reloaded while
//! sessions run, and a session whose peer is no longer valid is detected.
//!
//! **This crate knows no protocol.** Frames are bytes; isthmus-replication and the gateway define
//! their content, which end leads and what is sent. **No handshake, frame or file can make it panic
//! or use unbounded memory**: the bounds are in [`limits`], and each refusal has a
//! [`RefusalReason`] for logs and metrics.
//!
//! Reading order: [`identity`] and [`trust`] (identities of regions and their CAs), [`credentials`]
//! (files on disk), [`dial()`] and [`listen`] (how a [`Connection`] is made), [`frame`] (what a
//! link carries).

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
