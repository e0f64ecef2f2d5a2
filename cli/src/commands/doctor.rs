//! `isthmus doctor`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures::future::join_all;
use isthmus_report::{DoctorReport, Finding, Verdict};
use isthmus_runtime::doctor::{self, machine};
use reqwest::Client;
use serde::{Deserialize, Serialize};

use crate::client::http;
use crate::client::proof::Proof;
use crate::failure::Failure;
use crate::folder::run_file::RunFile;
use crate::output::{counted, line, note, pretty_json};

/// Check what every process depends on, before trouble comes, and report what to fix
///
/// Each process checks itself: clocks, certificates and their expiry, the paths to peers, NATS,
/// the region's streams, disk, memory. This command checks what NATS servers report on their
/// monitoring port: when they sync to disk, and their storage. Exit 0 if all is well, 3 if
/// something should be fixed, 2 if something must be fixed.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  isthmus doctor --dir shop\n  isthmus doctor --via http://127.0.0.1:7110 --via http://127.0.0.1:7111 --monitor http://127.0.0.1:8222 --json"
)]
pub(super) struct Doctor {
    /// The folder that `isthmus up` runs
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// The admin listener of a process, instead of a folder; may be given more than once
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    via: Vec<String>,
    #[command(flatten)]
    proof: Proof,
    /// The monitoring port of a NATS server (`http:` in its configuration); may be given more than
    /// once
    #[arg(long, value_name = "URL", conflicts_with = "dir")]
    monitor: Vec<String>,
    /// Print the findings as one JSON array
    #[arg(long)]
    json: bool,
}

/// A finding and the process that it is about.
#[derive(Serialize)]
struct ProcessFinding {
    region: String,
    process: String,
    #[serde(flatten)]
    finding: Finding,
}

/// A process or server to ask.
struct Asked {
    region: String,
    name: String,
    url: String,
    /// The folder that it runs in on this machine; `None` if only a URL was given.
    folder: Option<PathBuf>,
}

/// The part of a NATS server's `/varz` that is checked.
#[derive(Deserialize)]
struct Server {
    server_name: String,
    version: String,
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JetStream {
    config: Option<JetStreamConfig>,
    stats: JetStreamStats,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JetStreamConfig {
    max_storage: u64,
    store_dir: PathBuf,
    /// In nanoseconds.
    sync_interval: u64,
    sync_always: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JetStreamStats {
    storage: u64,
    reserved_storage: u64,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let (processes, servers) = self.asked()?;
        let client = self.proof.client(&self.via)?;
        let of_nats = self.proof.of_nobody().client(&self.monitor)?;
        let of_processes = join_all(processes.iter().map(|asked| of_process(&client, asked)));
        let of_servers = join_all(servers.iter().map(|asked| of_server(&of_nats, asked)));
        let (mut reported, of_servers) = futures::join!(of_processes, of_servers);
        reported.extend(of_servers);
        let mut reported: Vec<ProcessFinding> = reported.into_iter().flatten().collect();
        if servers.is_empty() {
            note("without --monitor, neither the storage of NATS nor when it syncs to disk is checked");
        }
        reported.sort_by(|one, other| {
            let place = |reported: &ProcessFinding| (reported.region.clone(), reported.process.clone());
            let graver = other.finding.verdict.cmp(&one.finding.verdict);
            graver.then_with(|| place(one).cmp(&place(other)))
        });
        if self.json {
            pretty_json(&reported)?;
        } else {
            text(&reported).into_iter().try_for_each(line)?;
        }
        verdict(&reported)
    }

    fn asked(&self) -> Result<(Vec<Asked>, Vec<Asked>), Failure> {
        let named = |urls: &[String]| -> Vec<Asked> {
            let asked = |url: &String| Asked {
                region: String::new(),
                name: url.clone(),
                url: url.trim_end_matches('/').to_owned(),
                folder: None,
            };
            urls.iter().map(asked).collect()
        };
        if !self.via.is_empty() || !self.monitor.is_empty() {
            return Ok((named(&self.via), named(&self.monitor)));
        }
        let run = RunFile::of_running(&self.dir).map_err(Failure::environment)?;
        let (mut processes, mut servers) = (Vec::new(), Vec::new());
        for (region, run) in run.regions_in_order() {
            let asked = |name: &str, url: &str| Asked {
                region: region.to_owned(),
                name: name.to_owned(),
                url: url.to_owned(),
                folder: Some(self.dir.join(region)),
            };
            processes.extend(run.agents.iter().map(|agent| asked(&agent.name, &agent.admin)));
            processes.extend(
                run.gateways
                    .iter()
                    .map(|gateway| asked(&gateway.name, &gateway.admin)),
            );
            servers.push(asked("nats", &run.nats.monitor));
        }
        Ok((processes, servers))
    }
}

impl Asked {
    /// The local path of a file of the server, if the server runs on this machine: in a folder that
    /// runs here, or at a loopback address.
    fn on_this_machine(&self, path: &Path) -> Option<PathBuf> {
        if let Some(folder) = &self.folder {
            return Some(folder.join(path));
        }
        let host = self.url.rsplit("://").next()?;
        let local = ["127.", "[::1]", "localhost"]
            .iter()
            .any(|name| host.starts_with(name));
        (local && path.is_absolute()).then(|| path.to_owned())
    }

    fn process_finding(&self, finding: Finding) -> ProcessFinding {
        ProcessFinding {
            region: self.region.clone(),
            process: self.name.clone(),
            finding,
        }
    }
}

async fn of_process(client: &Client, asked: &Asked) -> Vec<ProcessFinding> {
    let request = client.get(format!("{}/v1/doctor", asked.url));
    let answer: Result<DoctorReport, _> = http::json(request).await;
    match answer {
        Ok(answer) => {
            let reported = |finding| ProcessFinding {
                region: answer.region.clone(),
                process: answer.process.clone(),
                finding,
            };
            answer.findings.into_iter().map(reported).collect()
        }
        Err(error) => {
            let mend = "check its log, and start it";
            vec![asked.process_finding(Finding::fail("process", "", error.to_string(), mend))]
        }
    }
}

async fn of_server(client: &Client, asked: &Asked) -> Vec<ProcessFinding> {
    let answer: Result<Server, _> = http::json(client.get(format!("{}/varz", asked.url))).await;
    let findings = match answer {
        Ok(server) => of_varz(&server, asked),
        Err(error) => {
            let mend = "check the server, and `http:` in its configuration";
            vec![Finding::fail("nats", "", error.to_string(), mend)]
        }
    };
    findings
        .into_iter()
        .map(|finding| asked.process_finding(finding))
        .collect()
}

fn of_varz(server: &Server, asked: &Asked) -> Vec<Finding> {
    let of = server.server_name.as_str();
    let mut findings = vec![doctor::nats_version(of, Some(&server.version))];
    let Some(config) = &server.jetstream.config else {
        let mend = "add jetstream { ... } to its configuration";
        findings.push(Finding::fail("nats storage", of, "it has no JetStream", mend));
        return findings;
    };
    let stats = &server.jetstream.stats;
    let interval = Duration::from_nanos(config.sync_interval);
    findings.push(doctor::sync_interval(of, config.sync_always, interval));
    findings.push(doctor::server_storage(
        of,
        stats.storage,
        stats.reserved_storage,
        config.max_storage,
    ));
    let store = asked.on_this_machine(&config.store_dir);
    findings.extend(store.and_then(|store| of_store(&store, stats)));
    findings
}

/// The disk under a server's store, if the store is on this machine.
fn of_store(folder: &Path, stats: &JetStreamStats) -> Option<Finding> {
    let room = machine::room(folder).ok()?;
    let may_grow = stats.reserved_storage.saturating_sub(stats.storage);
    Some(doctor::disk(&folder.display().to_string(), room, may_grow))
}

/// One line per finding, the worst last, where it is noticed, each with its fix below.
fn text(reported: &[ProcessFinding]) -> Vec<String> {
    let mut lines = Vec::new();
    for ProcessFinding {
        region,
        process,
        finding,
    } in reported.iter().rev()
    {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        let place = [region.as_str(), process.as_str()].join(" ");
        let what = [finding.check.as_str(), finding.of.as_str()].join(" ");
        let (place, what) = (place.trim_start(), what.trim_end());
        lines.push(format!("{verdict:<5} {place}, {what}: {}", finding.found));
        if let Some(mend) = &finding.mend {
            lines.push(format!("      fix: {mend}"));
        }
    }
    lines
}

/// The worst finding decides.
fn verdict(reported: &[ProcessFinding]) -> Result<(), Failure> {
    let count = |verdict| {
        reported
            .iter()
            .filter(|reported| reported.finding.verdict == verdict)
            .count()
    };
    let (bad, poor) = (count(Verdict::Fail), count(Verdict::Warn));
    let should = counted(poor, "thing should be fixed", "things should be fixed");
    match (bad, poor) {
        (0, 0) => Ok(()),
        (0, _) => Err(Failure::warning(should)),
        (_, 0) => Err(Failure::difference(must(bad))),
        _ => Err(Failure::difference(format!("{}, {should}", must(bad)))),
    }
}

fn must(bad: usize) -> String {
    counted(bad, "thing must be fixed", "things must be fixed")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Code;

    fn at(url: &str) -> Asked {
        Asked {
            region: "eu-west".to_owned(),
            name: "agent-1".to_owned(),
            url: url.to_owned(),
            folder: None,
        }
    }

    #[test]
    fn a_path_is_looked_at_on_its_own_machine_only() {
        let path = |url, path| at(url).on_this_machine(Path::new(path));
        assert_eq!(
            path("http://127.0.0.1:8222", "/data"),
            Some(PathBuf::from("/data"))
        );
        assert_eq!(path("http://nats-2.example.org:8222", "/data"), None);
        assert_eq!(path("http://localhost:8222", "data"), None);
        let of_folder = Asked {
            folder: Some(PathBuf::from("shop/eu-west")),
            ..at("http://127.0.0.1:8222")
        };
        let store = of_folder.on_this_machine(Path::new("data"));
        assert_eq!(store, Some(PathBuf::from("shop/eu-west/data")));
    }

    fn found(verdicts: &[Verdict]) -> Vec<ProcessFinding> {
        let asked = at("");
        let reported = |verdict: &Verdict| {
            asked.process_finding(Finding::of_verdict(*verdict, "disk", "", String::new(), "mend"))
        };
        verdicts.iter().map(reported).collect()
    }

    #[test]
    fn the_worst_finding_comes_last_with_its_fix() {
        let mut reported = found(&[Verdict::Warn, Verdict::Ok]);
        reported[0].finding.of = "data".to_owned();
        assert_eq!(
            text(&reported),
            [
                "ok    eu-west agent-1, disk: ",
                "warn  eu-west agent-1, disk data: ",
                "      fix: mend"
            ]
        );
    }

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let code = |verdicts: &[Verdict]| verdict(&found(verdicts)).err().map(|failure| failure.code);
        assert_eq!(code(&[Verdict::Ok]), None);
        assert_eq!(code(&[Verdict::Ok, Verdict::Warn]), Some(Code::Warning));
        assert_eq!(code(&[Verdict::Warn, Verdict::Fail]), Some(Code::Difference));
    }

    #[test]
    fn a_server_is_judged_by_what_it_says_of_itself() -> Result<(), serde_json::Error> {
        let judged = |jetstream| -> Result<Vec<_>, serde_json::Error> {
            let server: Server = serde_json::from_value(
                json!({ "server_name": "n1", "version": "2.15.1", "jetstream": jetstream }),
            )?;
            let findings = of_varz(&server, &at("http://nats.example.org:8222")).into_iter();
            Ok(findings.map(|finding| (finding.check, finding.verdict)).collect())
        };
        let named = |check: &str, verdict| (check.to_owned(), verdict);
        let version = named("nats version", Verdict::Ok);
        for (always, reserved, verdict) in [(false, 2000, Verdict::Warn), (true, 200, Verdict::Ok)] {
            let found = judged(json!({
                "config": { "max_storage": 1000, "store_dir": "/no/such/folder", "sync_interval": 120_000_000_000_u64, "sync_always": always },
                "stats": { "storage": 10, "reserved_storage": reserved },
            }))?;
            assert_eq!(
                found,
                [
                    version.clone(),
                    named("sync interval", verdict),
                    named("nats storage", verdict)
                ]
            );
        }
        assert_eq!(
            judged(json!({}))?,
            [version, named("nats storage", Verdict::Fail)]
        );
        Ok(())
    }
}
