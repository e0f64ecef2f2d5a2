//! The rights in configs/production/nats.conf are enough for agents and gateways, and no more than
//! the comments in that file state.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Agent, NatsUser, Process, Site, binary, isthmus, until};
use isthmus_log::nats::{Connection, ConnectionSettings, Readers};
use isthmus_log::testing::{NatsServer, free_port};
use isthmus_log::{AppendError, EntryName, JournalName, Ports, RegionNames, Role};
use isthmus_replication::coordinates::{MessageId, Shard, WriterId};
use isthmus_replication::fold::SubjectToken;
use isthmus_replication::header::{BodySeal, Header, Local, Record, StageTimes};
use isthmus_replication::hlc::Hlc;
use isthmus_replication::names::{GroupName, RegionName, SetName};
use nkeys::KeyPair;
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
const MIB: u64 = 1024 * 1024;
const STANDBY: &str = "standby";

/// The users of one region's NATS.
struct Users {
    operator: KeyPair,
    agent: KeyPair,
    gateway: KeyPair,
}

impl Users {
    fn new() -> Self {
        Self {
            operator: KeyPair::new_user(),
            agent: KeyPair::new_user(),
            gateway: KeyPair::new_user(),
        }
    }

    /// Writes the seed of a user into a file, as an operator gives it to a process.
    fn seed(folder: &Path, name: &str, user: &KeyPair) -> anyhow::Result<String> {
        let path = folder.join(format!("{name}.nk"));
        std::fs::write(&path, user.seed()? + "\n")?;
        path.into_os_string()
            .into_string()
            .ok()
            .context("a folder name that is UTF-8")
    }
}

/// The configuration without the block of this name.
fn without(text: &str, block: &str) -> anyhow::Result<String> {
    let (before, rest) = text
        .split_once(&format!("\n{block} {{"))
        .context("the block begins")?;
    let (_, after) = rest.split_once("\n}\n").context("the block ends")?;
    Ok(format!("{before}\n{after}"))
}

/// One node of `region`. Everything but its cluster, TLS and addresses is as in the production
/// file.
fn server(region: &str, users: &Users) -> anyhow::Result<NatsServer> {
    // The path at run time: several checkouts may share one build folder.
    let package = std::env::var("CARGO_MANIFEST_DIR")?;
    let file = Path::new(&package).join("../../configs/production/nats.conf");
    let written = std::fs::read_to_string(file)?;
    let mut text = without(&without(&written, "cluster")?, "tls")?.replace("shop", "dev");
    if region == "us-east" {
        text = text
            .replace("eu-west", "ELSEWHERE")
            .replace("us-east", "eu-west")
            .replace("ELSEWHERE", "us-east");
    }
    let variables = [
        ("OPERATOR_NKEY", &users.operator),
        ("AGENT_NKEY", &users.agent),
        ("GATEWAY_NKEY", &users.gateway),
        ("SYSTEM_NKEY", &KeyPair::new_user()),
    ];
    for (variable, user) in variables {
        text = text.replace(&format!("${variable}"), &user.public_key());
    }
    ensure!(
        text.contains("data/nats") && text.contains("0.0.0.0:4222") && text.contains("http: 127.0.0.1:8222"),
        "the production file has other addresses than this test replaces"
    );
    Ok(NatsServer::start_as(|port, store| {
        text.replace("data/nats", &store.display().to_string())
            .replace("0.0.0.0:4222", &format!("127.0.0.1:{port}"))
            .replace("http: 127.0.0.1:8222", "")
    }))
}

async fn connect(
    server: &NatsServer,
    region: &str,
    role: Role,
    seed: &str,
) -> anyhow::Result<(Connection, Ports)> {
    let connection = Connection::open(ConnectionSettings {
        servers: vec![server.url()],
        credentials: Some(seed.into()),
        ca: None,
        domain: Some(region.to_owned()),
        role: Some(role),
        process: "test".to_owned(),
        readers: Readers::Own,
        names: RegionNames {
            set: SetName::parse("dev")?,
            region: RegionName::parse(region)?,
        },
    })
    .await?;
    tokio::time::timeout(SOON, connection.connected()).await?;
    let ports = connection.ports();
    Ok((connection, ports))
}

fn shards() -> anyhow::Result<Vec<Shard>> {
    let group = GroupName::parse("default")?;
    let shard = |partition| Shard {
        group: group.clone(),
        partition,
    };
    Ok((0..4).map(shard).collect())
}

/// The operator's part: the streams, the journals and the bucket of leases. Repeating it changes
/// nothing. Settings that differ from what exists are an error.
fn create(settings: &str, nats: &NatsServer, region: &str, operator: &str) -> anyhow::Result<()> {
    let init = |max_bytes: &str| {
        Command::new(binary("isthmus")?)
            .args([
                "region",
                "init",
                "--settings",
                settings,
                "--credentials",
                operator,
                "--process",
                &format!("{region}-agent-1"),
                "--process",
                &format!("{region}-gateway"),
                "--process",
                &format!("{region}-{STANDBY}"),
                "--json",
            ])
            .envs([
                ("ISTHMUS_NATS__SERVERS", format!("[\"{}\"]", nats.url())),
                ("ISTHMUS_NATS__DOMAIN", region.to_owned()),
                ("ISTHMUS_LOG__MAX_BYTES", max_bytes.to_owned()),
                ("ISTHMUS_LOG__RETENTION", "8MiB".to_owned()),
            ])
            .output()
            .context("isthmus runs")
    };
    for _ in 0..2 {
        let output = init("64MiB")?;
        ensure!(output.status.success(), "{output:?}");
        let streams: Value = serde_json::from_slice(&output.stdout)?;
        let logs = streams.as_array().into_iter().flatten();
        let logs = logs.filter(|stream| stream["refuses_at_bytes"] == 64 * MIB && stream["current"] == 1);
        ensure!(logs.count() == shards()?.len(), "{streams}");
    }
    let output = init("32MiB")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(64) && said.contains("max_bytes"),
        "{output:?}"
    );
    Ok(())
}

/// Appends an entry to a journal, as agents and gateways do.
async fn keeps(ports: &Ports, journal: &JournalName, name: &str) -> anyhow::Result<Result<(), AppendError>> {
    let entry = bytes::Bytes::from_static(b"kept");
    let appended = ports
        .journal
        .append(journal, &EntryName::parse(name)?, entry)
        .await;
    Ok(appended.map(drop))
}

/// Appends a batch under the token of a region. At home only that region's agents may do that,
/// elsewhere only gateways.
async fn append_as(ports: &Ports, region: &str) -> anyhow::Result<Result<(), AppendError>> {
    let local = Local {
        message_id: MessageId(1),
        writer: WriterId(1),
        lowest_stamp: Hlc::ZERO,
        highest_stamp: Hlc::ZERO,
    };
    let shard = shards()?.remove(0);
    let header = Header {
        set: SetName::parse("dev")?,
        shard: shard.clone(),
        record: Record::Batch(local),
        body: BodySeal::default(),
        stages: StageTimes::default(),
    };
    let token = SubjectToken::Origin(RegionName::parse(region)?);
    let appending = ports
        .log
        .append(&shard, &token, &header, bytes::Bytes::new())
        .await;
    Ok(appending.await.map(drop))
}

async fn reads(agent: &Agent, key: &str, value: &str) -> anyhow::Result<()> {
    until(&format!("{key} is {value}"), SOON, || async {
        let answer = agent.value("shop", key).await?.ok()?;
        ensure!(answer.text() == value, "{key} is {}", answer.text());
        Ok(())
    })
    .await
}

/// What stolen credentials of a process must not allow: creating a consumer (with one, the server
/// would write under any subject), creating, changing or emptying streams, and reading messages for
/// others.
fn nobody_may_do_more(nats: &NatsServer, users: &Users) -> anyhow::Result<()> {
    let address = format!("127.0.0.1:{}", nats.port());
    let log = "ISTHMUS_dev_eu-west_default_0";
    let push = r#"{"stream_name":"ISTHMUS_dev_eu-west_EVENTS","config":{"durable_name":"x","deliver_subject":"isthmus.dev.eu-west.log.default.0.us-east"}}"#;
    let of_both = [
        (format!("CONSUMER.CREATE.{log}"), push),
        (format!("CONSUMER.CREATE.{log}.x"), push),
        (format!("CONSUMER.CREATE.{log}.x.isthmus.>"), push),
        (format!("CONSUMER.DURABLE.CREATE.{log}.x"), push),
        (format!("CONSUMER.DELETE.{log}.eu-west-agent-1_0"), ""),
        (format!("CONSUMER.PAUSE.{log}.eu-west-agent-1_0"), "{}"),
        (
            "STREAM.CREATE.MINE".to_owned(),
            r#"{"name":"MINE","subjects":["mine"]}"#,
        ),
        (format!("STREAM.UPDATE.{log}"), "{}"),
        (format!("STREAM.DELETE.{log}"), ""),
        (format!("STREAM.RESTORE.{log}"), "{}"),
        (format!("STREAM.SNAPSHOT.{log}"), "{}"),
        (format!("STREAM.MSG.DELETE.{log}"), r#"{"seq":1}"#),
        (format!("STREAM.LEADER.STEPDOWN.{log}"), ""),
    ];
    let of_gateway = [(format!("STREAM.PURGE.{log}"), r#"{"filter":"none"}"#)];
    let refused = |who: &str, user: &KeyPair, asks: &[(String, &str)], heard: &[&str], written: &[String]| {
        let mut user = NatsUser::connect(&address, user)?;
        for (ask, payload) in asks {
            for prefix in ["$JS.API", "$JS.eu-west.API"] {
                let refused = user.publish(&format!("{prefix}.{ask}"), payload)?;
                ensure!(refused.is_some(), "{who} may ask for {prefix}.{ask}");
            }
        }
        for subject in heard {
            ensure!(
                user.subscribe(subject)?.is_some(),
                "{who} hears what is said at {subject}"
            );
        }
        for subject in written {
            ensure!(user.publish(subject, "")?.is_some(), "{who} may write {subject}");
        }
        anyhow::Ok(())
    };
    let inbox = |role: &str| format!("_INBOX.isthmus.dev.eu-west.{role}.>");
    let everything = [">", "isthmus.>", "isthmus.dev.eu-west.log.>", "_INBOX.>", "$JS.>"];
    let (agents, gateways) = (inbox("agent"), inbox("gateway"));
    let not_agents: Vec<&str> = everything.into_iter().chain([gateways.as_str()]).collect();
    let not_gateways: Vec<&str> = everything.into_iter().chain([agents.as_str()]).collect();
    let inboxes = |roles: &[&str]| -> Vec<String> {
        let of_role = |role: &&str| format!("_INBOX.isthmus.dev.eu-west.{role}");
        roles.iter().map(of_role).collect()
    };
    let mut other = inboxes(&[
        "agent.x.y",
        "gateway.x.y",
        "gateway.answer.x",
        "agent.answer-gateway.x",
        "operator.x.y",
    ]);
    other.push("isthmus.dev.eu-west.log.default.0.us-east".to_owned());
    let mut own = inboxes(&[
        "agent.x.y",
        "agent.answer.x",
        "gateway.answer-agent.x",
        "gateway.x.y",
        "operator.x.y",
    ]);
    own.push("isthmus.dev.eu-west.log.default.0.eu-west".to_owned());
    own.push("isthmus.dev.eu-west.peer.image.default.0.agent-1".to_owned());
    own.push("isthmus.dev.eu-west.peer.sync.us-east".to_owned());
    other.push("isthmus.dev.eu-west.peer.source.default.0".to_owned());
    let of_agent: Vec<(String, &str)> = [
        "KV_ISTHMUS_dev_eu-west_LEASES",
        "ISTHMUS_dev_eu-west_EVENTS",
        "ISTHMUS_dev_eu-west_ASIDE_default",
    ]
    .map(|stream| (format!("STREAM.PURGE.{stream}"), ""))
    .into();
    refused("an agent", &users.agent, &of_both, &not_agents, &other)?;
    refused("an agent", &users.agent, &of_agent, &[], &[])?;
    refused("a gateway", &users.gateway, &of_both, &not_gateways, &own)?;
    refused("a gateway", &users.gateway, &of_gateway, &[], &[])?;
    // The requests themselves are valid: the operator is not refused.
    let mut operator = NatsUser::connect(&address, &users.operator)?;
    let list = operator.publish(&format!("$JS.API.STREAM.SNAPSHOT.{log}"), "{}")?;
    ensure!(
        list.is_none() && operator.subscribe("nothing.>")?.is_none(),
        "{list:?}"
    );
    Ok(())
}

/// A standby learns from its leader, and an agent's credentials do not allow answering in the
/// leader's place.
async fn only_gateways_answer_gateways(
    nats: &NatsServer,
    users: &Users,
    standby: &str,
) -> anyhow::Result<()> {
    until("the standby learns the leader's links", SOON, || async {
        let status: Value = reqwest::get(format!("http://{standby}/v1/status"))
            .await?
            .json()
            .await?;
        ensure!(status["links"][0]["state"] == "connected", "{}", status["links"]);
        Ok(())
    })
    .await?;
    let address = format!("127.0.0.1:{}", nats.port());
    let mut stolen = NatsUser::connect(&address, &users.agent)?;
    ensure!(stolen.subscribe("isthmus.dev.eu-west.peer.>")?.is_none());
    let reply = stolen.next_question()?;
    ensure!(
        reply.starts_with("_INBOX.isthmus.dev.eu-west.gateway.answer."),
        "{reply}"
    );
    let forged = r#"{"eu-west":{"links":[]}}"#;
    ensure!(
        stolen.publish(&reply, forged)?.is_some(),
        "an agent answers a gateway at {reply}"
    );
    let mut gateway = NatsUser::connect(&address, &users.gateway)?;
    ensure!(
        gateway.publish(&reply, forged)?.is_none(),
        "a gateway can't answer at {reply}"
    );
    Ok(())
}

/// Checks that a write in one region is readable in the other.
async fn travels(agents: &[Agent]) -> anyhow::Result<()> {
    for (here, there) in [(0, 1), (1, 0)] {
        until("the write is taken", SOON, || async {
            agents[here]
                .put("shop", &format!("from-{here}"), "?timeout=2s", "here")
                .await?
                .ok()
        })
        .await?;
        reads(&agents[there], &format!("from-{here}"), "here").await?;
    }
    agents[0].put_everywhere("shop", "everywhere", "x").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_production_file_are_enough_and_no_more() -> anyhow::Result<()> {
    let folder = TempDir::new()?;
    let set = folder.path().join("set");
    let set_text = set.to_str().context("a folder name that is UTF-8")?;
    isthmus(&["init", set_text, "--regions", "eu-west,us-east"])?;
    let links = [("eu-west", free_port()), ("us-east", free_port())];
    let mut running = Vec::new();
    let mut agents = Vec::new();
    let mut homes = Vec::new();
    let mut sites = Vec::new();
    for (region, peer) in [(0, 1), (1, 0)] {
        let (name, link) = links[region];
        let users = Users::new();
        let nats = server(name, &users)?;
        let seed = |role: &str, user| Users::seed(folder.path(), &format!("{name}-{role}"), user);
        let operator = seed("operator", &users.operator)?;
        let gateway = set.join(name).join("gateway.yaml");
        create(gateway.to_str().context("UTF-8")?, &nats, name, &operator)?;
        let site = Site {
            name,
            nats: vec![nats.url()],
            link,
            dial: links[peer],
        };
        let settings = |credentials: &str| {
            [
                ("ISTHMUS_NATS__CREDENTIALS", credentials.to_owned()),
                ("ISTHMUS_NATS__DOMAIN", name.to_owned()),
                ("ISTHMUS_LOG__CREATE", "false".to_owned()),
                ("ISTHMUS_LOG__MAX_BYTES", "64MiB".to_owned()),
                ("ISTHMUS_LOG__RETENTION", "8MiB".to_owned()),
            ]
        };
        let (agent_seed, gateway_seed) = (seed("agent", &users.agent)?, seed("gateway", &users.gateway)?);
        let (process, agent) = site.agent(&set, "agent-1", &settings(&agent_seed))?;
        running.push(process);
        running.push(site.gateway(&set, &settings(&gateway_seed))?);
        agents.push(agent);
        sites.push((site, settings(&gateway_seed)));
        homes.push((nats, users, agent_seed, gateway_seed));
    }
    travels(&agents).await.with_context(|| {
        let said: Vec<String> = running.iter().map(Process::said).collect();
        said.join("\n")
    })?;

    let (nats, users, agent_seed, gateway_seed) = &homes[0];
    let name = "eu-west";
    nobody_may_do_more(nats, users)?;
    let (site, settings) = &sites[0];
    let (process, standby) = site.standby(&set, STANDBY, settings)?;
    only_gateways_answer_gateways(nats, users, &standby)
        .await
        .with_context(|| process.said())?;
    let (_connection, as_agent) = connect(nats, name, Role::Agent, agent_seed).await?;
    let (_connection, as_gateway) = connect(nats, name, Role::Gateway, gateway_seed).await?;
    ensure!(append_as(&as_agent, "eu-west").await?.is_ok());
    ensure!(append_as(&as_gateway, "us-east").await?.is_ok());
    ensure!(
        append_as(&as_agent, "us-east").await?.is_err(),
        "an agent appended under another origin"
    );
    ensure!(
        append_as(&as_gateway, "eu-west").await?.is_err(),
        "a gateway appended under its own region"
    );
    let aside = JournalName::Aside(GroupName::parse("default")?);
    for (ports, name) in [(&as_agent, "agent"), (&as_gateway, "gateway")] {
        for journal in [&JournalName::Events, &aside] {
            ensure!(keeps(ports, journal, name).await?.is_ok(), "{name} {journal:?}");
        }
        ensure!(ports.journal.remove(&aside, &EntryName::parse(name)?).await?);
    }
    let last = as_gateway.log.bounds(&shards()?[0]).await?.last;
    ensure!(
        as_gateway.log.purge(&shards()?[0], last).await.is_err(),
        "a gateway trimmed the log"
    );
    Ok(())
}
