//! A region whose NATS a test runs itself, and its processes, from a folder of `isthmus init`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use isthmus_log::testing::free_port;

use crate::{Agent, Process};

/// The addresses of a region.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name.
    pub name: &'static str,
    /// Its NATS servers.
    pub nats: Vec<String>,
    /// The port on which its gateway accepts links.
    pub link: u16,
    /// Another region, and the port on which its gateway accepts links.
    pub dial: (&'static str, u16),
}

impl Site {
    fn common(&self, name: &str, settings: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        let own = [
            ("ISTHMUS_NAME", format!("{}-{name}", self.name)),
            ("ISTHMUS_NATS__SERVERS", format!("{:?}", self.nats)),
            ("ISTHMUS_ADMIN__LISTEN", address(free_port())),
        ];
        own.into_iter().chain(settings.iter().cloned()).collect()
    }

    /// Starts the gateway of the set in `set`, with further settings.
    ///
    /// # Errors
    /// When it does not start.
    pub fn gateway(&self, set: &Path, settings: &[(&'static str, String)]) -> anyhow::Result<Process> {
        let (process, _) = self.gateway_at(set, "gateway", self.link, settings)?;
        Ok(process)
    }

    /// Starts another gateway, `name`, of the set in `set`. Returns its admin address too.
    ///
    /// # Errors
    /// When it does not start.
    pub fn standby(
        &self,
        set: &Path,
        name: &str,
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<(Process, String)> {
        self.gateway_at(set, name, free_port(), settings)
    }

    fn gateway_at(
        &self,
        set: &Path,
        name: &str,
        link: u16,
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<(Process, String)> {
        let mut settings = self.common(name, settings);
        let admin = admin_address(&settings);
        let (peer, port) = self.dial;
        settings.push(("ISTHMUS_LINK__LISTEN", address(link)));
        settings.push((
            "ISTHMUS_LINK__DIAL",
            format!("{{{peer}: [\"{}\"]}}", address(port)),
        ));
        let process = Process::start(
            set,
            "isthmus-gateway",
            &format!("{}/gateway.yaml", self.name),
            &settings,
        )?;
        Ok((process, admin))
    }

    /// Starts the agent `name` of the set in `set`, with further settings.
    ///
    /// # Errors
    /// When it does not start.
    pub fn agent(
        &self,
        set: &Path,
        name: &str,
        settings: &[(&'static str, String)],
    ) -> anyhow::Result<(Process, Agent)> {
        let mut settings = self.common(name, settings);
        let (http, data) = (address(free_port()), set.join(format!("{}-{name}", self.name)));
        settings.push(("ISTHMUS_LISTEN", http.clone()));
        settings.push(("ISTHMUS_DATA", text(data)?));
        let admin = admin_address(&settings);
        let process = Process::start(
            set,
            "isthmus-region-agent",
            &format!("{}/region-agent.yaml", self.name),
            &settings,
        )?;
        let agent = Agent::new(
            reqwest::Client::new(),
            &format!("http://{http}"),
            &format!("http://{admin}"),
        );
        Ok((process, agent))
    }
}

fn admin_address(settings: &[(&'static str, String)]) -> String {
    let admin = settings.iter().find(|(key, _)| *key == "ISTHMUS_ADMIN__LISTEN");
    admin.map(|(_, address)| address.clone()).unwrap_or_default()
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn text(path: PathBuf) -> anyhow::Result<String> {
    let path = path.into_os_string().into_string();
    path.ok().context("a folder name that is UTF-8")
}
