//! A process from its arguments to its exit code, with real signals.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SET: &str = "set: shop\ngeneration: 1\nregions:\n  eu-west: { gateways: [\"h:1\"], trust: t.pem }\n";
const AGENT: &str = "set: set.yaml\nregion: eu-west\nnats: { servers: [\"nats://127.0.0.1:1\"] }\n\
    listen: 127.0.0.1:0\nadmin: { listen: 127.0.0.1:0 }\n";

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(TempDir::new().unwrap());
        std::fs::write(folder.0.path().join("set.yaml"), SET).unwrap();
        folder.write(AGENT);
        folder
    }

    fn settings(&self) -> PathBuf {
        self.0.path().join("agent.yaml")
    }

    fn write(&self, agent: &str) {
        std::fs::write(self.settings(), agent).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = idle();
        command.arg("--settings").arg(self.settings());
        command
    }

    fn start(&self) -> Running {
        self.start_as(self.command())
    }

    fn start_as(&self, mut command: Command) -> Running {
        let mut running = Running::of(command.stderr(Stdio::piped()).spawn().unwrap());
        running.says("waits");
        running
    }
}

/// The example `idle`, which is built with these tests.
fn idle() -> Command {
    let tests = std::env::current_exe().unwrap();
    let target = tests.ancestors().nth(2).unwrap();
    let idle = target.join("examples/idle");
    assert!(idle.exists(), "cargo build -p isthmus-runtime --example idle");
    let mut command = Command::new(idle);
    command.env_remove("ISTHMUS_TEST_BROKEN");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A process that is killed when it is dropped.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    fn of(mut child: Child) -> Self {
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// Reads the log up to a line that contains `text`, and returns it. Fails at the end of the
    /// log.
    fn says(&mut self, text: &str) -> String {
        let mut read = String::new();
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(
                self.log.read_line(&mut line).unwrap(),
                0,
                "the process ended without saying {text:?}"
            );
            read.push_str(&line);
        }
        read
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_signal_drains_and_the_exit_code_is_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = Folder::new();
        let mut running = folder.start();
        running.signal(signal);
        running.says("stopped");
        assert_eq!(running.child.wait().unwrap().code(), Some(0));
    }
}

/// The process's log, up to its end.
fn logged(folder: &Folder, text: &str) -> String {
    let mut command = folder.command();
    command.env("ISTHMUS_TEST_LOGGED", text);
    let child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running::of(child);
    let mut log = running.says("waits");
    running.signal(Signal::TERM);
    running.log.read_to_string(&mut log).unwrap();
    log
}

#[test]
fn text_from_others_is_escaped_in_logs_and_forges_no_line() {
    let folder = Folder::new();
    let evil = "peer\n2026-01-01T00:00:00Z  INFO forged\r\x1b[2J\u{9b}1m\u{202e}\u{200b}\u{2028}";
    let log = logged(&folder, evil);
    let shown = "peer\\n2026-01-01T00:00:00Z  INFO forged\\r";
    assert_eq!(log.matches(shown).count(), 2, "{log}");
    let acts = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{200b}' | '\u{2028}' | '\u{202e}'));
    assert_eq!(log.find(acts), None, "{log:?}");
    folder.write(&format!("{AGENT}telemetry: {{ log_format: json }}\n"));
    let log = logged(&folder, evil);
    assert_eq!(log.find(acts), None, "{log:?}");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let received: Vec<_> = lines
        .filter(|line| line["message"] == evil && line["of"] == evil)
        .collect();
    assert_eq!(received.len(), 1, "{log}");
}

#[test]
fn kubernetes_variables_are_ignored_and_a_stray_one_is_named() {
    let folder = Folder::new();
    let links = [
        ("ISTHMUS_SERVICE_HOST", "10.96.0.17"),
        ("ISTHMUS_SERVICE_PORT_HTTP", "7110"),
        ("ISTHMUS_AGENT_PORT", "tcp://10.96.0.17:7110"),
        ("ISTHMUS_AGENT_PORT_7110_TCP_PROTO", "tcp"),
    ];
    let check = |stray: &[(&str, &str)]| {
        let mut command = folder.command();
        command.arg("--check").envs(links).envs(stray.iter().copied());
        command.output().unwrap()
    };
    assert_eq!(check(&[]).status.code(), Some(0), "{}", stderr(&check(&[])));
    let output = check(&[("ISTHMUS_AGENT_PORT", "7110"), ("ISTHMUS_ZONE", "a")]);
    assert_eq!(output.status.code(), Some(64));
    let said = stderr(&output);
    assert!(
        said.contains("environment variable ISTHMUS_AGENT_PORT: unknown field `agent_port`"),
        "{said}"
    );
}

#[test]
fn a_hangup_rereads_the_settings_and_keeps_the_old_if_bad() {
    let folder = Folder::new();
    let mut running = folder.start();
    running.signal(Signal::HUP);
    running.says("the settings are unchanged");
    folder.write(&format!("{AGENT}drain: 10\n"));
    running.signal(Signal::HUP);
    running.says("the settings are invalid, the old ones stay in effect");
    folder.write(&format!("{AGENT}name: other\ndrain: 11s\n"));
    running.signal(Signal::HUP);
    running.says("in effect: drain; at the next start: name");
    running.signal(Signal::TERM);
    running.says("stopped");
}

#[test]
fn a_file_that_has_changed_is_read_again_without_a_signal() {
    let folder = Folder::new();
    let mut running = folder.start();
    folder.write(&format!("{AGENT}drain: 10\n"));
    running.says("the settings are invalid, the old ones stay in effect");
    folder.write(&format!("{AGENT}telemetry: {{ log: debug }}\n"));
    running.says("in effect: telemetry.log");
    std::fs::write(
        folder.0.path().join("set.yaml"),
        SET.replace("generation: 1", "generation: 2"),
    )
    .unwrap();
    running.says("at the next start: set.yaml");
    running.signal(Signal::TERM);
    running.says("stopped");
}

#[test]
fn a_filter_of_logs_that_changed_is_in_effect() {
    let folder = Folder::new();
    folder.write(&format!("{AGENT}telemetry: {{ log: \"error,idle=info\" }}\n"));
    let mut running = folder.start();
    folder.write(&format!("{AGENT}drain: 11s\n"));
    running.says("in effect: drain, telemetry.log");
    running.signal(Signal::TERM);
    running.says("stopped");
}

/// The service manager's end of the notifications.
struct Manager(UnixDatagram);

impl Manager {
    /// The next notification; `None` if there is none within `patience`.
    fn hears(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.0.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// Reads up to a notification that starts with `text`.
    fn receives(&self, text: &str) -> String {
        loop {
            let received = self.hears(Duration::from_secs(30)).expect(text);
            if received.starts_with(text) {
                return received;
            }
        }
    }
}

#[test]
fn a_service_manager_gets_states_and_no_beat_when_stuck() {
    let folder = Folder::new();
    let socket = folder.0.path().join("notify");
    let manager = Manager(UnixDatagram::bind(&socket).unwrap());
    let mut command = folder.command();
    command
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "600000");
    let mut running = folder.start_as(command);
    manager.receives("READY=1");
    manager.receives("STATUS=takes writes");
    for _ in 0..3 {
        manager.receives("WATCHDOG=1");
    }
    running.signal(Signal::HUP);
    assert!(manager.receives("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.receives("READY=1");
    running.signal(Signal::STOP);
    // Pending notifications arrive; then nothing.
    let silence = (0..100).any(|_| manager.hears(Duration::from_millis(1_500)).is_none());
    assert!(silence, "a stopped process feeds the watchdog");
    running.signal(Signal::CONT);
    manager.receives("WATCHDOG=1");
    running.signal(Signal::TERM);
    manager.receives("STOPPING=1");
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_task_that_fails_ends_the_process_with_1() {
    let output = Folder::new()
        .command()
        .env("ISTHMUS_TEST_BROKEN", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("idle: task wait failed: panicked: broken on demand"),
        "{said}"
    );
}

#[test]
fn bad_settings_exit_with_64_and_name_the_line_and_the_fix() {
    let folder = Folder::new();
    folder.write(&format!("{AGENT}drain: 10\n"));
    for check in [&[][..], &["--check"]] {
        let output = folder.command().args(check).output().unwrap();
        assert_eq!(output.status.code(), Some(64));
        let said = stderr(&output);
        assert!(
            said.contains("agent.yaml:6:8: 10 has no unit of time; write 10s or 10ms"),
            "{said}"
        );
    }
    let output = Folder::new()
        .command()
        .env("ISTHMUS_LISTN", "127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("ISTHMUS_LISTN"));
}

#[test]
fn good_settings_pass_the_check() {
    let output = Folder::new().command().arg("--check").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("agent.yaml: valid (set shop generation 1, region eu-west)"),
        "{said}"
    );
}

#[test]
fn bad_arguments_end_it_with_64_and_help_does_not() {
    for bad in [&[][..], &["--nonsense"], &["--settings", "nowhere.yaml"]] {
        assert_eq!(
            idle().args(bad).output().unwrap().status.code(),
            Some(64),
            "{bad:?}"
        );
    }
    let help = idle().arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("Example:"));
}

#[test]
fn a_clock_offset_that_cannot_be_used_ends_it_with_1() {
    let folder = Folder::new();
    let offset = folder.0.path().join("offset");
    std::fs::write(&offset, "soon").unwrap();
    let output = folder
        .command()
        .env("ISTHMUS_CLOCK_OFFSET_FILE", &offset)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("such as +8h"), "{}", stderr(&output));
}
