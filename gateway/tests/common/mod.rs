//! Regions on one machine: a nats-server each, real gateway processes, a network between them that
//! can be cut, and a publisher in place of agents.
#![allow(dead_code, unused_imports, clippy::unwrap_used)]

mod acceptor;
mod certificates;
mod gateway;
mod peer;
mod publisher;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use acceptor::{Acceptor, Says};
pub(crate) use certificates::Authority;
pub(crate) use gateway::{GatewayProcess, link};
use isthmus_log::nats::{Connection, ConnectionSettings, Readers};
use isthmus_log::testing::{Backup, NatsServer, free_port};
use isthmus_log::{LogSettings, Ports, RegionNames, Role};
use isthmus_replication::coordinates::Shard;
use isthmus_replication::names::{GroupName, RegionName, SetName};
use isthmus_wan::{Command, Shape, Wan};
pub(crate) use peer::{Peer, REFUSED_WITHIN, framed, hello};
pub(crate) use publisher::{Contents, Publisher, applied_by, expected};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

pub(crate) const EU: &str = "eu-west";
pub(crate) const US: &str = "us-east";
pub(crate) const AP: &str = "ap-south";
/// The bound of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn region(name: &str) -> RegionName {
    RegionName::parse(name).unwrap()
}

pub(crate) fn shard() -> Shard {
    Shard {
        group: GroupName::parse("default").unwrap(),
        partition: 0,
    }
}

/// Regions with their servers, files and the network between them.
pub(crate) struct World {
    pub folder: TempDir,
    pub wan: Wan,
    pub regions: BTreeMap<String, Place>,
}

/// One region.
pub(crate) struct Place {
    pub name: String,
    pub nats: NatsServer,
    pub ports: Ports,
    pub authority: Authority,
    /// The ports that its gateways listen on.
    pub links: [u16; 2],
    /// Where each peer is dialled.
    pub dial: BTreeMap<String, Vec<SocketAddr>>,
    connection: Connection,
}

impl World {
    /// Two regions with one shard and a round trip of `rtt` between them.
    pub(crate) async fn two_regions(rtt: Duration) -> Self {
        Self::of(&[EU, US], rtt).await
    }

    /// These regions with one shard and a round trip of `rtt` between them.
    pub(crate) async fn of(names: &[&str], rtt: Duration) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("isthmus-gateway-")
            .tempdir()
            .unwrap();
        let wan = Wan::new(Shape::of_round_trip(rtt));
        let mut regions = BTreeMap::new();
        for name in names {
            regions.insert((*name).to_owned(), Place::new(name).await);
        }
        let mut world = Self { folder, wan, regions };
        world.write_files();
        world.join().await;
        world
    }

    /// Copies what the region's NATS has stored.
    pub(crate) fn back_up(&mut self, region: &str) -> Backup {
        let nats = &mut self.regions.get_mut(region).unwrap().nats;
        tokio::task::block_in_place(|| nats.back_up())
    }

    /// Restores `backup`: the region's NATS loses what it has stored since.
    pub(crate) fn put_back(&mut self, region: &str, backup: &Backup) {
        let nats = &mut self.regions.get_mut(region).unwrap().nats;
        tokio::task::block_in_place(|| nats.put_back(backup));
    }

    pub(crate) fn place(&self, region: &str) -> &Place {
        &self.regions[region]
    }

    fn write_files(&self) {
        let trust = self.folder.path().join("trust");
        std::fs::create_dir_all(&trust).unwrap();
        let mut set = "set: shop\ngeneration: 1\ntrust_domain: example.org\ngroups: { default: { partitions: 1 } }\nregions:\n".to_owned();
        for (name, place) in &self.regions {
            let gateways = place.links.map(|port| format!("\"127.0.0.1:{port}\"")).join(", ");
            set.push_str(&format!(
                "  {name}: {{ gateways: [{gateways}], trust: trust/{name}.pem }}\n"
            ));
            std::fs::write(trust.join(format!("{name}.pem")), place.authority.pem()).unwrap();
            self.write_region(place);
        }
        std::fs::write(self.folder.path().join("set.yaml"), set).unwrap();
    }

    fn write_region(&self, place: &Place) {
        let folder = self.folder_of(&place.name);
        std::fs::create_dir_all(&folder).unwrap();
        place.authority.issue(&place.name).write(&folder);
        let settings = format!(
            "set: ../set.yaml\nregion: {}\nnats: {{ servers: [\"{}\"] }}\nlog: {{ create: true, max_bytes: 64MiB, retention: 16MiB }}\nlink: {{ listen: 127.0.0.1:0, certificate: gateway.crt, key: gateway.key }}\n",
            place.name,
            place.nats.url(),
        );
        std::fs::write(folder.join("gateway.yaml"), settings).unwrap();
    }

    pub(crate) fn folder_of(&self, region: &str) -> PathBuf {
        self.folder.path().join(region)
    }

    /// Opens a path through the network from each region to each gateway of every other one.
    async fn join(&mut self) {
        let targets: Vec<(String, [u16; 2])> = self
            .regions
            .values()
            .map(|place| (place.name.clone(), place.links))
            .collect();
        for place in self.regions.values_mut() {
            for (peer, ports) in targets.iter().filter(|(peer, _)| *peer != place.name) {
                let mut ways = Vec::new();
                for port in ports {
                    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                    let target = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
                    ways.push(self.wan.link(&place.name, peer, any, target).await.unwrap().proxy);
                }
                place.dial.insert(peer.clone(), ways);
            }
        }
    }

    /// Starts gateway 1 or 2 of `region`.
    pub(crate) fn gateway(&self, region: &str, number: usize) -> GatewayProcess {
        self.gateway_of(&self.folder_of(region), region, number)
    }

    /// Starts a gateway of `region` with the files in `folder`.
    pub(crate) fn gateway_of(&self, folder: &Path, region: &str, number: usize) -> GatewayProcess {
        let place = self.place(region);
        let dial = place
            .dial
            .iter()
            .map(|(peer, ways)| (peer.as_str(), ways.as_slice()));
        GatewayProcess::start(
            &folder.join("gateway.yaml"),
            &format!("gateway-{number}"),
            place.links[number - 1],
            dial,
        )
    }

    /// Starts gateway 1 of both regions.
    pub(crate) fn one_gateway_each(&self) -> (GatewayProcess, GatewayProcess) {
        (self.gateway(EU, 1), self.gateway(US, 1))
    }

    /// The fingerprint of the certificate of a region's gateways.
    pub(crate) fn fingerprint(&self, region: &str) -> String {
        let pem = std::fs::read(self.folder_of(region).join("gateway.crt")).unwrap();
        let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
        isthmus_link::Fingerprint::of(&certificate).to_string()
    }

    pub(crate) fn cut(&self) {
        let (from, to) = (EU.to_owned(), US.to_owned());
        let cut = Command::Cut {
            from,
            to,
            one_way: false,
            for_ms: None,
        };
        self.wan.apply(&cut).unwrap();
    }

    pub(crate) fn heal(&self) {
        self.wan.apply(&Command::Heal { from: None, to: None }).unwrap();
    }

    /// A region's publisher, which begins its log.
    pub(crate) async fn publisher(&self, region: &str) -> Publisher {
        let place = self.place(region);
        Publisher::begin(place.ports.clone()).await
    }
}

impl Place {
    async fn new(name: &str) -> Self {
        let nats = NatsServer::start();
        let names = RegionNames {
            set: SetName::parse("shop").unwrap(),
            region: region(name),
        };
        let connection = Connection::open(ConnectionSettings {
            servers: vec![nats.url()],
            credentials: None,
            ca: None,
            domain: None,
            role: Some(Role::Agent),
            process: "publisher".to_owned(),
            readers: Readers::Own,
            names,
        })
        .await
        .unwrap();
        connection.connected().await;
        let ports = connection.ports();
        let wanted = LogSettings {
            create: true,
            replicas: 1,
            max_bytes: 64 * 1024 * 1024,
        };
        ports.log.ensure(&shard(), &wanted).await.unwrap();
        Self {
            name: name.to_owned(),
            nats,
            ports,
            authority: Authority::new(name),
            links: [free_port(), free_port()],
            dial: BTreeMap::new(),
            connection,
        }
    }
}

/// The text of a file that a test replaces.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
