//! The tables that this gateway bases decisions on, and everything that it knows: these tables and
//! the view.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use isthmus_replication::names::{ProcessName, RegionName};
use isthmus_replication::time::{Mono, Wall};
use isthmus_report::RegionReport;

use crate::applied::AppliedTable;
use crate::compared::Compared;
use crate::view::{PathEstimate, Phase, StatusView, View};

/// The tables that several tasks write and base decisions on. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Tables(Arc<Mutex<State>>);

/// All of the tables.
#[derive(Debug, Default)]
pub struct State {
    /// The inbound links, by a number within this run. The number of links per region is limited.
    pub accepted: BTreeMap<u64, AcceptedLink>,
    /// The newest report of every region. A new leader continues with the lag in its own region's.
    pub reports: BTreeMap<RegionName, HeardReport>,
    /// What this region's agents have applied. Peers receive the least of it.
    pub applied: AppliedTable,
    /// Which of this region's stores are known to equal those of other regions.
    pub compared: Compared,
}

impl Tables {
    /// The tables, for reading and writing. Never held across an await. Code that also locks the
    /// view locks the view first.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An inbound link.
#[derive(Debug, Clone)]
pub struct AcceptedLink {
    /// The region at the other end.
    pub peer: RegionName,
    /// Its gateway, once that has sent its name.
    pub gateway: Option<ProcessName>,
    /// The version of the protocol that both ends speak, once they have greeted each other.
    pub version: Option<u32>,
    /// When its certificate expires, in seconds since the Unix epoch.
    pub certificate_ends: u64,
    /// The other end's address.
    pub address: SocketAddr,
    /// Since when it is up.
    pub since: Wall,
    /// The estimate of its path and clock.
    pub path: PathEstimate,
}

/// A region's report about itself.
#[derive(Debug, Clone)]
pub struct HeardReport {
    /// The report, or that it can't be read.
    pub report: RegionReport,
    /// When it arrived.
    pub heard: Mono,
}

/// The sources of status, lag, metrics and doctor.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What is only shown.
    pub view: &'a View,
    /// What the gateway bases decisions on.
    pub tables: &'a State,
}

/// Computes something from everything that is known at this moment.
pub fn with_known<T>(view: &StatusView, tables: &Tables, compute: impl FnOnce(Known<'_>) -> T) -> T {
    let view = view.lock();
    compute(Known {
        view: &view,
        tables: &tables.lock(),
    })
}

impl<'a> Known<'a> {
    /// When the certificates of the gateways at the other ends of links expire, in seconds since
    /// the Unix epoch, by their regions and names. The link that a region opens may come from
    /// another gateway there, with its own certificate.
    #[must_use]
    pub fn peer_certificates(self) -> BTreeMap<(&'a RegionName, &'a str), u64> {
        let accepted = self.tables.accepted.values();
        let accepted = accepted.map(|link| (&link.peer, &link.gateway, Some(link.certificate_ends)));
        let connected = self
            .view
            .links
            .iter()
            .filter(|(_, link)| link.phase == Phase::Connected);
        let dialled = connected.map(|(peer, link)| (peer, &link.gateway, link.certificate_ends));
        let mut certificates = BTreeMap::new();
        for (peer, gateway, ends) in accepted.chain(dialled) {
            let gateway = gateway.as_ref().map_or("", ProcessName::as_str);
            if let Some(ends) = ends {
                let earliest = certificates.entry((peer, gateway)).or_insert(ends);
                *earliest = ends.min(*earliest);
            }
        }
        certificates
    }
}
