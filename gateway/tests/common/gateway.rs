//! A real gateway process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use isthmus_log::testing::{free_port, until};
use serde_json::Value;

use super::SOON;

/// A gateway process. It is killed by its id when dropped.
pub(crate) struct GatewayProcess {
    child: Child,
    pub name: String,
    admin: String,
    log: PathBuf,
    client: reqwest::Client,
}

impl GatewayProcess {
    /// Starts a gateway that listens for links on `link` and dials each peer at the given
    /// addresses.
    pub(crate) fn start<'a>(
        settings: &Path,
        name: &str,
        link: u16,
        dial: impl Iterator<Item = (&'a str, &'a [SocketAddr])>,
    ) -> Self {
        let admin = format!("127.0.0.1:{}", free_port());
        let log = settings.with_file_name(format!("{name}.log"));
        let peers: Vec<String> = dial
            .map(|(peer, ways)| {
                let ways: Vec<String> = ways.iter().map(|way| format!("\"{way}\"")).collect();
                format!("{peer}: [{}]", ways.join(", "))
            })
            .collect();
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_isthmus-gateway"))
            .arg("--settings")
            .arg(settings)
            .env("ISTHMUS_NAME", name)
            .env("ISTHMUS_ADMIN__LISTEN", &admin)
            .env("ISTHMUS_LINK__LISTEN", format!("127.0.0.1:{link}"))
            .env("ISTHMUS_LINK__DIAL", format!("{{{}}}", peers.join(", ")))
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self {
            child,
            name: name.to_owned(),
            admin,
            log,
            client: reqwest::Client::new(),
        }
    }

    /// The URL of its admin listener.
    pub(crate) fn admin(&self) -> String {
        format!("http://{}", self.admin)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the process has logged `text`. An effect can be visible before its line is
    /// written.
    pub(crate) async fn logs(&self, text: &str) {
        until(text, SOON, || async { self.log().contains(text).then_some(()) }).await;
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops the process with SIGTERM, as an operator does.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(killed.success());
        self.ended().await
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let ended = until("the gateway's end", SOON, || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        });
        ended.await
    }

    pub(crate) async fn text(&self, path: &str) -> Option<String> {
        let answer = self
            .client
            .get(format!("http://{}{path}", self.admin))
            .timeout(SOON)
            .send()
            .await
            .ok()?;
        let ready = answer.status().is_success();
        let text = answer.text().await.ok()?;
        ready.then_some(text)
    }

    pub(crate) async fn post(&self, path: &str) -> u16 {
        let answer = self
            .client
            .post(format!("http://{}{path}", self.admin))
            .send()
            .await
            .unwrap();
        answer.status().as_u16()
    }

    pub(crate) async fn status(&self) -> Option<Value> {
        serde_json::from_str(&self.text("/v1/status").await?).ok()
    }

    /// Waits until the status meets `condition`.
    pub(crate) async fn becomes(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let found = tokio::time::timeout(SOON, async {
            loop {
                if let Some(status) = self.status().await.filter(|status| condition(status)) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match found.await {
            Ok(status) => status,
            Err(_) => panic!(
                "{} never had {what}: {:?}\n{}",
                self.name,
                self.status().await,
                self.log()
            ),
        }
    }

    pub(crate) async fn leads(&self) {
        self.becomes("the lead", |status| status["leading"] == true).await;
    }

    /// Waits until the link to `peer` is up.
    pub(crate) async fn connected(&self, peer: &str) -> Value {
        self.becomes("a link", |status| link(status, peer)["state"] == "connected")
            .await
    }

    /// The value of a sample of a metric.
    pub(crate) async fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.text("/metrics").await?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        line?.parse().ok()
    }

    /// Waits until a sample of a metric is at least `least`.
    pub(crate) async fn counts(&self, sample: &str, least: f64) {
        let counted = tokio::time::timeout(SOON, async {
            while self.metric(sample).await.is_none_or(|value| value < least) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(
            counted.await.is_ok(),
            "{sample} is not {least} at {}\n{}",
            self.name,
            self.log()
        );
    }
}

pub(crate) fn link<'a>(status: &'a Value, peer: &str) -> &'a Value {
    let links = status["links"].as_array();
    let found = links.and_then(|links| links.iter().find(|link| link["peer"] == peer));
    found.unwrap_or(&Value::Null)
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
