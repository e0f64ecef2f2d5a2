//! The ports of a folder's processes: a fixed block, or a free one.
//!
//! The block of the region at index i starts at `base + 20 i`: +1 NATS, +2 its monitoring, +10/+11
//! door and admin of agent-1, +12/+13 of agent-2, +14/+15 link and admin of gateway-1, +16/+17 of
//! gateway-2. The network's proxies follow the last region's block. Port `base` itself stays bound
//! for the whole run, so that two runs never share a block.

use std::net::TcpListener;
use std::str::FromStr;

use isthmus_replication::names::RegionName;

use super::loopback;
use crate::folder::{PORTS_PER_REGION, PROCESSES_PER_ROLE};

/// Automatic blocks are below the ports that the system uses for outgoing connections, and start at
/// `AUTO_FROM` plus a multiple of their size. Tests take their ports from the same blocks, in the
/// same way (`free_port` of crates/log).
const AUTO_FROM: u16 = 10_240;
const AUTO_TO: u16 = 32_512;
const AUTO_BLOCK: u16 = 256;

/// The value of `--port-base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChoice {
    /// The block that starts here.
    Base(u16),
    /// Any free block.
    Auto,
}

/// `--port-base` is neither a port nor `auto`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is neither a port from 1024 to 65535 nor \"auto\"")]
pub struct NotAPortChoice(String);

impl FromStr for PortChoice {
    type Err = NotAPortChoice;

    fn from_str(text: &str) -> Result<Self, NotAPortChoice> {
        match (text, text.parse::<u16>()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(port)) if port >= 1024 => Ok(Self::Base(port)),
            _ => Err(NotAPortChoice(text.to_owned())),
        }
    }
}

/// The ports of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionPorts {
    /// Of the NATS server: clients, monitoring.
    pub nats: (u16, u16),
    /// Of each agent: application door, admin listener.
    pub agents: Vec<(u16, u16)>,
    /// Of each gateway: link, admin listener.
    pub gateways: Vec<(u16, u16)>,
}

impl RegionPorts {
    fn from(block: u16) -> Self {
        let pairs = |first: u16| {
            (0..PROCESSES_PER_ROLE)
                .map(|n| (first + 2 * n, first + 2 * n + 1))
                .collect()
        };
        Self {
            nats: (block + 1, block + 2),
            agents: pairs(block + 10),
            gateways: pairs(block + 14),
        }
    }

    fn roles(&self) -> impl Iterator<Item = (u16, String)> {
        let nats = [
            (self.nats.0, "nats-server".to_owned()),
            (self.nats.1, "nats-server's monitoring".to_owned()),
        ];
        let pairs = |kind: &str, listener: &str, pairs: &[(u16, u16)]| {
            let mut roles = Vec::new();
            for (index, pair) in pairs.iter().enumerate() {
                roles.push((pair.0, format!("{kind}-{}'s {listener}", index + 1)));
                roles.push((pair.1, format!("{kind}-{}'s admin listener", index + 1)));
            }
            roles
        };
        let agents = pairs("agent", "door", &self.agents);
        let gateways = pairs("gateway", "link", &self.gateways);
        nats.into_iter().chain(agents).chain(gateways)
    }
}

/// A claimed block.
#[derive(Debug)]
pub struct Ports {
    /// Stays bound so that no other run takes the block.
    pub guard: TcpListener,
    /// In the order of the folder's regions.
    pub regions: Vec<RegionPorts>,
    /// Ports of the network's proxies; empty if any port will do.
    pub wan: Vec<u16>,
}

/// Why a block could not be claimed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Something listens on a port of the block.
    #[error(
        "port {port} ({role}) is taken; stop what uses it, or choose other ports with --port-base N or --port-base auto"
    )]
    Taken {
        /// The port.
        port: u16,
        /// What the port is for.
        role: String,
    },
    /// The block would end above 65535.
    #[error("a block of {size} ports from {base} up ends above 65535; choose a lower --port-base")]
    TooHigh {
        /// The first port of the block.
        base: u16,
        /// The number of ports needed.
        size: usize,
    },
    /// No automatic block is free.
    #[error(
        "no block of free ports was found between {AUTO_FROM} and {AUTO_TO}; stop other runs, or choose one with --port-base N"
    )]
    NoneFree,
}

/// Finds the ports and binds the first one of the block.
pub fn claim(choice: PortChoice, regions: &[RegionName]) -> Result<Ports, PortError> {
    match choice {
        PortChoice::Base(base) => claim_block(base, regions, true),
        PortChoice::Auto => {
            let blocks = (AUTO_TO - AUTO_FROM) / AUTO_BLOCK;
            let start = getrandom::u32().unwrap_or_else(|_| std::process::id()) % u32::from(blocks);
            (0..blocks)
                .map(|step| AUTO_FROM + (start as u16 + step) % blocks * AUTO_BLOCK)
                .find_map(|base| claim_block(base, regions, false).ok())
                .ok_or(PortError::NoneFree)
        }
    }
}

fn claim_block(base: u16, regions: &[RegionName], fixed_proxies: bool) -> Result<Ports, PortError> {
    let proxies = regions.len() * regions.len().saturating_sub(1) * usize::from(PROCESSES_PER_ROLE);
    let of_regions = regions.len() * usize::from(PORTS_PER_REGION);
    let size = of_regions + proxies;
    if usize::from(base) + size > usize::from(u16::MAX) {
        return Err(PortError::TooHigh { base, size });
    }
    let guard = bind(base, || "the first of the block".to_owned())?;
    let chosen = check_regions(base, regions)?;
    let first_proxy = base + of_regions as u16;
    let wan: Vec<u16> = if fixed_proxies {
        (0..proxies).map(|n| first_proxy + n as u16).collect()
    } else {
        Vec::new()
    };
    for port in &wan {
        bind(*port, || "the network between regions".to_owned())?;
    }
    Ok(Ports {
        guard,
        regions: chosen,
        wan,
    })
}

/// The ports of each region in the block that starts at `base`, if all of them are free.
fn check_regions(base: u16, regions: &[RegionName]) -> Result<Vec<RegionPorts>, PortError> {
    let mut chosen = Vec::new();
    for (index, region) in regions.iter().enumerate() {
        let ports = RegionPorts::from(base + PORTS_PER_REGION * index as u16);
        for (port, role) in ports.roles() {
            bind(port, || format!("{role} in {region}"))?;
        }
        chosen.push(ports);
    }
    Ok(chosen)
}

fn bind(port: u16, role: impl FnOnce() -> String) -> Result<TcpListener, PortError> {
    TcpListener::bind(loopback(port)).map_err(|_| PortError::Taken { port, role: role() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn regions(count: usize) -> Vec<RegionName> {
        (0..count)
            .map(|n| RegionName::parse(&format!("r{n}")).unwrap())
            .collect()
    }

    #[test]
    fn the_block_is_the_documented_one() {
        let ports = RegionPorts::from(7060);
        assert_eq!(ports.nats, (7061, 7062));
        assert_eq!(ports.agents, [(7070, 7071), (7072, 7073)]);
        assert_eq!(ports.gateways, [(7074, 7075), (7076, 7077)]);
    }

    #[test]
    fn two_automatic_claims_never_share_a_block() {
        let one = claim(PortChoice::Auto, &regions(3)).unwrap();
        let other = claim(PortChoice::Auto, &regions(3)).unwrap();
        assert_ne!(one.regions, other.regions);
    }

    #[test]
    fn a_taken_port_is_one_sentence_with_its_role() {
        let free = claim(PortChoice::Auto, &regions(1)).unwrap();
        let base = free.guard.local_addr().unwrap().port();
        let taken = PortError::Taken {
            port: base,
            role: "the first of the block".to_owned(),
        };
        assert_eq!(claim(PortChoice::Base(base), &regions(1)).unwrap_err(), taken);
        let _squatter = TcpListener::bind(loopback(base + 11)).unwrap();
        let error = check_regions(base, &regions(1)).unwrap_err().to_string();
        assert!(error.contains("agent-1's admin listener in r0"), "{error}");
    }

    #[test]
    fn choices_are_parsed() {
        assert_eq!("auto".parse::<PortChoice>().unwrap(), PortChoice::Auto);
        assert_eq!("7040".parse::<PortChoice>().unwrap(), PortChoice::Base(7040));
        for bad in ["", "80", "70000", "any"] {
            assert!(bad.parse::<PortChoice>().is_err(), "{bad}");
        }
        assert!(matches!(
            claim(PortChoice::Base(65_500), &regions(3)),
            Err(PortError::TooHigh { .. })
        ));
    }
}
