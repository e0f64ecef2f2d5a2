//! A region of real processes: a nats-server and agents, which all end with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use isthmus_log::nats::{Connection, ConnectionSettings, Readers};
use isthmus_log::testing::{NatsServer, NatsServerSettings, free_port, try_until, until};
use isthmus_log::{Ports, RegionNames, Role};
use isthmus_replication::names::{RegionName, SetName};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

mod limits;

/// The bound of every wait.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The variable with what the shell runs before it becomes an agent.
const PRELUDE: &str = "TEST_PRELUDE";

const TWO_REGIONS: &str = r#"
set: shop
generation: 1
regions:
  eu-west: { gateways: ["127.0.0.1:1"], trust: eu-west.pem }
  us-east: { gateways: ["127.0.0.1:2"], trust: us-east.pem }
groups:
  default: { partitions: 2 }
  us-only: { partitions: 1, regions: [us-east] }
buckets:
  "*": { max_value: 64KiB, unknown: refuse }
  carts: {}
  flags: { ttl: 5s }
  small: { max_value: 16B }
  abroad: { group: us-only }
"#;

pub(crate) struct Region {
    pub nats: NatsServer,
    pub folder: TempDir,
    pub client: Client,
    pub max_bytes: &'static str,
}

impl Region {
    /// A set of one region: a majority is one.
    pub(crate) fn alone() -> Self {
        let set = TWO_REGIONS.replace(
            "  us-east: { gateways: [\"127.0.0.1:2\"], trust: us-east.pem }\n",
            "",
        );
        let set = set.replace("  us-only: { partitions: 1, regions: [us-east] }\n", "");
        Self::with_set(&set.replace("  abroad: { group: us-only }\n", ""))
    }

    /// One of two regions. There are no gateways, so the test decides what the other one does.
    pub(crate) fn one_of_two() -> Self {
        Self::with_set(TWO_REGIONS)
    }

    /// A set of one region that accepts values of up to 950 KiB.
    pub(crate) fn with_large_values() -> Self {
        let region = Self::alone();
        let set = region.folder.path().join("set.yaml");
        let text = std::fs::read_to_string(&set).unwrap();
        std::fs::write(&set, text.replace("max_value: 64KiB", "max_value: 950KiB")).unwrap();
        region
    }

    fn with_set(set: &str) -> Self {
        Self::with(set, "64MiB")
    }

    /// A set of one region whose logs hold at most `max_bytes`.
    pub(crate) fn with_small_logs(max_bytes: &'static str) -> Self {
        let mut region = Self::alone();
        region.max_bytes = max_bytes;
        region
    }

    fn with(set: &str, max_bytes: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("set.yaml"), set).unwrap();
        Self {
            nats: NatsServer::start_with(&NatsServerSettings::default()),
            folder,
            client: Client::new(),
            max_bytes,
        }
    }

    /// Starts an agent and waits until it takes writes.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let agent = self.agent_with(name, &[]);
        agent.ready("write").await;
        agent
    }

    /// Starts an agent whose environment has `variables`.
    pub(crate) fn agent_with(&self, name: &str, variables: &[(&str, &str)]) -> Agent {
        let settings = self.folder.path().join(format!("{name}.yaml"));
        let (http, admin) = (free_port(), free_port());
        let text = format!(
            "set: set.yaml\nregion: eu-west\nname: {name}\nnats: {{ servers: [\"{}\"] }}\nlisten: 127.0.0.1:{http}\n\
             admin: {{ listen: 127.0.0.1:{admin} }}\nlog: {{ create: true, max_bytes: {}, retention: 1MiB }}\n\
             telemetry: {{ log: \"info\" }}\ndrain: 3s\n",
            self.nats.url(),
            self.max_bytes,
        );
        std::fs::write(&settings, text).unwrap();
        Agent::start(settings, http, admin, variables, self.client.clone())
    }

    /// Starts an agent after the shell has run `prelude`.
    pub(crate) fn agent_after(&self, name: &str, prelude: &str) -> Agent {
        self.agent_with(name, &[(PRELUDE, prelude)])
    }

    pub(crate) fn names(&self) -> RegionNames {
        RegionNames {
            set: SetName::parse("shop").unwrap(),
            region: RegionName::parse("eu-west").unwrap(),
        }
    }

    /// The region's ports, as a gateway has them.
    pub(crate) async fn ports(&self) -> (Connection, Ports) {
        let connection = Connection::open(ConnectionSettings {
            servers: vec![self.nats.url()],
            credentials: None,
            ca: None,
            domain: None,
            role: Some(Role::Gateway),
            process: "test".to_owned(),
            readers: Readers::Own,
            names: self.names(),
        })
        .await
        .unwrap();
        connection.connected().await;
        let ports = connection.ports();
        (connection, ports)
    }
}

pub(crate) struct Agent {
    process: Child,
    settings: PathBuf,
    variables: Vec<(String, String)>,
    http: u16,
    admin: u16,
    pub client: Client,
}

impl Agent {
    fn start(settings: PathBuf, http: u16, admin: u16, variables: &[(&str, &str)], client: Client) -> Self {
        let variables: Vec<_> = variables
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        Self {
            process: spawn(&settings, &variables),
            settings,
            variables,
            http,
            admin,
            client,
        }
    }

    /// Kills it with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
    }

    /// Starts it again on the same ports and folder.
    pub(crate) fn start_again(&mut self) {
        self.process = spawn(&self.settings, &self.variables);
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.settings.with_extension("log")).unwrap()
    }

    /// Waits for its end and returns its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let mut code = None;
        until("the agent ends", BOUND, || {
            let status = self.process.try_wait().unwrap();
            code = status.and_then(|status| status.code());
            async move { status.map(|_| ()) }
        })
        .await;
        code
    }

    /// Waits until `/readyz/{what}` answers 200.
    pub(crate) async fn ready(&self, what: &str) {
        until(
            &format!("{} is ready to {what}", self.settings.display()),
            BOUND,
            || async { (self.readiness(what).await? == 200).then_some(()) },
        )
        .await;
    }

    /// Waits until `/readyz/{what}` answers 503 with `why`. Events report the cause earlier.
    pub(crate) async fn not_ready(&self, what: &str, why: &str) {
        until(
            &format!("{} is not ready to {what}: {why}", self.settings.display()),
            BOUND,
            || async { self.not_ready_now(what).await?.contains(why).then_some(()) },
        )
        .await;
    }

    /// What `/readyz/{what}` answers if it answers 503.
    pub(crate) async fn not_ready_now(&self, what: &str) -> Option<String> {
        let request = self.client.get(self.admin(&format!("/readyz/{what}")));
        let answer = request.send().await.ok()?;
        let refused = answer.status() == 503;
        let text = answer.text().await.ok()?;
        refused.then_some(text)
    }

    async fn readiness(&self, what: &str) -> Option<StatusCode> {
        let answer = self
            .client
            .get(self.admin(&format!("/readyz/{what}")))
            .send()
            .await
            .ok()?;
        Some(answer.status())
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", SocketAddr::from(([127, 0, 0, 1], self.http)))
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", SocketAddr::from(([127, 0, 0, 1], self.admin)))
    }

    pub(crate) fn kv(&self, path: &str) -> String {
        self.http(&format!("/v1/kv/{path}"))
    }

    pub(crate) async fn put(&self, path: &str, value: impl Into<reqwest::Body>) -> Response {
        send(self.client.put(self.kv(path)).body(value)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        send(self.client.get(self.kv(path))).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        send(self.client.delete(self.kv(path))).await
    }

    /// The value of a key; none if it is absent.
    pub(crate) async fn value(&self, path: &str) -> Option<String> {
        let answer = self.get(path).await;
        match answer.status().as_u16() {
            200 => Some(answer.text().await.unwrap()),
            404 => None,
            status => panic!("GET {path}: {status} {}", answer.text().await.unwrap()),
        }
    }

    /// The finding of a check of doctor.
    pub(crate) async fn finding(&self, check: &str) -> Value {
        let report: Value = send(self.client.get(self.admin("/v1/doctor")))
            .await
            .json()
            .await
            .unwrap();
        let mut findings = report["findings"].as_array().unwrap().iter();
        findings
            .find(|finding| finding["check"] == check)
            .unwrap()
            .clone()
    }

    pub(crate) async fn status(&self) -> Value {
        send(self.client.get(self.admin("/v1/status")))
            .await
            .json()
            .await
            .unwrap()
    }

    pub(crate) async fn metrics(&self) -> String {
        send(self.client.get(self.admin("/metrics")))
            .await
            .text()
            .await
            .unwrap()
    }

    /// Waits for an event of `kind`.
    pub(crate) async fn event(&self, kind: &str) -> Value {
        until(&format!("an event {kind}"), BOUND, || async {
            let events: Value = self
                .client
                .get(self.admin("/v1/events"))
                .send()
                .await
                .ok()?
                .json()
                .await
                .ok()?;
            events
                .as_array()?
                .iter()
                .find(|event| event["kind"] == kind)
                .cloned()
        })
        .await
    }

    /// Waits until the status meets `condition`. The panic shows the last status.
    pub(crate) async fn until_status(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let last = Mutex::new(Value::Null);
        let probe = async || {
            let answer = self.client.get(self.admin("/v1/status")).send().await.ok()?;
            let status: Value = answer.json().await.ok()?;
            let holds = condition(&status);
            *last.lock().unwrap() = status.clone();
            holds.then_some(status)
        };
        let found = try_until(BOUND, probe).await;
        found.unwrap_or_else(|| {
            panic!(
                "not within {BOUND:?}: {what}; the status is {}\n{}",
                last.lock().unwrap(),
                self.log()
            )
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

fn spawn(settings: &Path, variables: &[(String, String)]) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(settings.with_extension("log"))
        .unwrap();
    // The agent ignores what the shell ignores: a file beyond a limit is then an error, as on a
    // full disk. The agent may also be started with any umask.
    Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; umask 000; eval \"$TEST_PRELUDE\"; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_isthmus-region-agent"),
        ])
        .arg("--settings")
        .arg(settings)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Sends a request that must be answered.
pub(crate) async fn send(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    answer
        .headers()
        .get(name)
        .map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

/// Waits until all agents show the same digests and cell counts at rest.
pub(crate) async fn equal(agents: &[&Agent]) {
    until("agents are equal", BOUND, || async {
        let mut shown = Vec::new();
        for agent in agents {
            let status = agent.status().await;
            let shards = status["shards"].as_array()?.clone();
            let digests: Vec<_> = shards
                .iter()
                .map(|shard| {
                    (
                        shard["digest"].clone(),
                        shard["cells"].clone(),
                        shard["phase"].clone(),
                    )
                })
                .collect();
            shown.push(digests);
        }
        let serving = shown[0].iter().all(|shard| shard.2 == "serving");
        (serving && shown.windows(2).all(|pair| pair[0] == pair[1])).then_some(())
    })
    .await;
}
