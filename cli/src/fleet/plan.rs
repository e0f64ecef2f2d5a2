//! Turns a folder, programs and ports into the processes to start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use isthmus_replication::names::RegionName;

use super::binaries::Binaries;
use super::child::{Child, hold_file, log_file};
use super::loopback;
use super::ports::{Ports, RegionPorts};
use super::ready::Awaited;
use super::restarts::EverReady;
use crate::folder::Folder;
use crate::folder::run_file::{AgentRun, GatewayRun, LinkRun, NatsRun, RegionRun, RunFile, WanRun};

/// Every process of a folder.
#[derive(Debug)]
pub struct Plan {
    binaries: Binaries,
    regions: Vec<RegionPlan>,
}

#[derive(Debug)]
struct RegionPlan {
    name: RegionName,
    folder: PathBuf,
    ports: RegionPorts,
    dial: String,
}

impl Plan {
    /// Combines the parts.
    pub fn new(folder: &Folder, binaries: &Binaries, ports: &Ports, links: &[LinkRun]) -> Self {
        let regions = folder
            .regions
            .iter()
            .zip(&ports.regions)
            .map(|(name, ports)| RegionPlan {
                name: name.clone(),
                folder: folder.region(name),
                ports: ports.clone(),
                dial: dial(name, links),
            });
        Self {
            binaries: binaries.clone(),
            regions: regions.collect(),
        }
    }

    /// `run.json` before any process has started.
    pub fn run_file(&self, wan: WanRun, links: Vec<LinkRun>) -> RunFile {
        RunFile {
            pid: std::process::id(),
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            ready: false,
            order: self
                .regions
                .iter()
                .map(|region| region.name.to_string())
                .collect(),
            regions: self
                .regions
                .iter()
                .map(|region| (region.name.to_string(), region.run()))
                .collect(),
            wan,
            links,
        }
    }

    /// The NATS servers and their readiness checks.
    pub fn servers(&self) -> (Vec<Awaited>, Vec<Child>) {
        self.regions
            .iter()
            .map(|region| region.server(&self.binaries))
            .unzip()
    }

    /// Agents and gateways and their readiness checks.
    pub fn processes(&self) -> (Vec<Awaited>, Vec<Child>) {
        self.regions
            .iter()
            .flat_map(|region| region.processes(&self.binaries))
            .unzip()
    }
}

/// The override of `link.dial`: the proxies through which this region reaches each other region.
fn dial(from: &RegionName, links: &[LinkRun]) -> String {
    let mut dial: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for link in links.iter().filter(|link| link.from == from.as_str()) {
        dial.entry(&link.to)
            .or_default()
            .push(format!("\"{}\"", link.proxy));
    }
    let entries: Vec<String> = dial
        .iter()
        .map(|(to, proxies)| format!("{to}: [{}]", proxies.join(", ")))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn url(port: u16) -> String {
    format!("http://{}", loopback(port))
}

impl RegionPlan {
    fn run(&self) -> RegionRun {
        let agents = self
            .ports
            .agents
            .iter()
            .enumerate()
            .map(|(index, (http, admin))| AgentRun {
                name: format!("agent-{}", index + 1),
                http: url(*http),
                admin: url(*admin),
                pid: 0,
                clock_file: self.clock_file(&format!("agent-{}", index + 1)),
            });
        let gateways = self
            .ports
            .gateways
            .iter()
            .enumerate()
            .map(|(index, (link, admin))| GatewayRun {
                name: format!("gateway-{}", index + 1),
                link: loopback(*link),
                admin: url(*admin),
                pid: 0,
                clock_file: self.clock_file(&format!("gateway-{}", index + 1)),
            });
        RegionRun {
            nats: NatsRun {
                url: self.nats_url(),
                monitor: url(self.ports.nats.1),
                pid: 0,
            },
            agents: agents.collect(),
            gateways: gateways.collect(),
        }
    }

    fn nats_url(&self) -> String {
        format!("nats://{}", loopback(self.ports.nats.0))
    }

    fn clock_file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.clock"))
    }

    fn server(&self, binaries: &Binaries) -> (Awaited, Child) {
        let (clients, monitor) = self.ports.nats;
        let arguments = [
            "-c",
            "nats.conf",
            "-a",
            "127.0.0.1",
            "-p",
            &clients.to_string(),
            "-m",
            &monitor.to_string(),
        ]
        .map(str::to_owned);
        let child = Child {
            program: binaries.nats_server.clone(),
            arguments: arguments.to_vec(),
            environment: Vec::new(),
            ..self.child("nats")
        };
        let checks = vec![format!("{}/healthz", url(monitor))];
        (self.awaited(&child, checks), child)
    }

    fn processes(&self, binaries: &Binaries) -> Vec<(Awaited, Child)> {
        let agents = self
            .ports
            .agents
            .iter()
            .enumerate()
            .map(|(index, (http, admin))| {
                let name = format!("agent-{}", index + 1);
                let mut environment = self.environment(&name, *admin);
                let data = self.folder.join("data").join(&name);
                environment.push(("ISTHMUS_LISTEN", loopback(*http).to_string()));
                environment.push(("ISTHMUS_DATA", data.display().to_string()));
                self.process(
                    &name,
                    binaries.agent.clone(),
                    "region-agent.yaml",
                    environment,
                    *admin,
                )
            });
        let gateways = self
            .ports
            .gateways
            .iter()
            .enumerate()
            .map(|(index, (link, admin))| {
                let name = format!("gateway-{}", index + 1);
                let mut environment = self.environment(&name, *admin);
                environment.push(("ISTHMUS_LINK__LISTEN", loopback(*link).to_string()));
                environment.push(("ISTHMUS_LINK__DIAL", self.dial.clone()));
                self.process(
                    &name,
                    binaries.gateway.clone(),
                    "gateway.yaml",
                    environment,
                    *admin,
                )
            });
        agents.chain(gateways).collect()
    }

    fn environment(&self, name: &str, admin: u16) -> Vec<(&'static str, String)> {
        vec![
            ("ISTHMUS_NAME", name.to_owned()),
            ("ISTHMUS_ADMIN__LISTEN", loopback(admin).to_string()),
            ("ISTHMUS_NATS__SERVERS", format!("[\"{}\"]", self.nats_url())),
            (
                "ISTHMUS_CLOCK_OFFSET_FILE",
                self.clock_file(name).display().to_string(),
            ),
        ]
    }

    fn process(
        &self,
        name: &str,
        program: PathBuf,
        settings: &str,
        environment: Vec<(&'static str, String)>,
        admin: u16,
    ) -> (Awaited, Child) {
        let settings = self.folder.join(settings).display().to_string();
        let arguments = vec!["--settings".to_owned(), settings];
        let child = Child {
            program,
            arguments,
            environment,
            ..self.child(name)
        };
        let checks = ["readyz/read", "readyz/write"].map(|path| format!("{}/{path}", url(admin)));
        (self.awaited(&child, checks.to_vec()), child)
    }

    fn child(&self, name: &str) -> Child {
        Child {
            region: self.name.to_string(),
            name: name.to_owned(),
            program: PathBuf::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: self.folder.clone(),
            ever_ready: EverReady::default(),
        }
    }

    fn awaited(&self, child: &Child, checks: Vec<String>) -> Awaited {
        Awaited {
            region: child.region.clone(),
            name: child.name.clone(),
            checks,
            log: log_file(&self.folder, &child.name),
            ever_ready: child.ever_ready.clone(),
        }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let run = self.run();
        let agents = run.agents.into_iter().map(|agent| agent.name);
        agents
            .chain(run.gateways.into_iter().map(|gateway| gateway.name))
            .chain(["nats".to_owned()])
    }
}

impl Plan {
    /// Clears what an earlier run left: hold files and clock offsets.
    pub fn clear_faults(&self) -> std::io::Result<()> {
        for region in &self.regions {
            for name in region.names() {
                let hold = hold_file(&region.folder, &name);
                if hold.exists() {
                    std::fs::remove_file(hold)?;
                }
                if name != "nats" {
                    std::fs::write(region.clock_file(&name), "0s\n")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dial_override_names_every_proxy_of_every_peer() -> Result<(), Box<dyn std::error::Error>> {
        let link = |from: &str, to: &str, gateway: &str, port| LinkRun {
            from: from.to_owned(),
            to: to.to_owned(),
            gateway: gateway.to_owned(),
            proxy: loopback(port),
        };
        let links = [
            link("a", "b", "gateway-1", 1),
            link("a", "b", "gateway-2", 2),
            link("b", "a", "gateway-1", 3),
        ];
        let text = dial(&RegionName::parse("a")?, &links);
        assert_eq!(text, r#"{b: ["127.0.0.1:1", "127.0.0.1:2"]}"#);
        let parsed: BTreeMap<String, Vec<String>> = serde_saphyr::from_str(&text)?;
        assert_eq!(parsed["b"].len(), 2);
        assert_eq!(dial(&RegionName::parse("c")?, &links), "{}");
        Ok(())
    }
}
