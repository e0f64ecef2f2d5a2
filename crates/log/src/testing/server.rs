//! One nats-server process.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports::free_port;

const START: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Settings of a server; the default is a single server with JetStream.
#[derive(Debug, Clone, Default)]
pub struct NatsServerSettings {
    /// Lines within the `jetstream` block, such as `max_file_store: 8MB`.
    pub jetstream: String,
    /// Lines of the configuration file beyond those that every server has.
    pub lines: String,
    /// Its name; `n1` when empty.
    pub name: String,
}

/// One nats-server process in its own folder; both are removed with this value.
#[derive(Debug)]
pub struct NatsServer {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl NatsServer {
    /// Starts a single server with JetStream and waits until it answers. Blocks.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&NatsServerSettings::default())
    }

    /// As [`NatsServer::start`], with settings.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(settings: &NatsServerSettings) -> Self {
        Self::start_on(free_port(), settings)
    }

    /// As [`NatsServer::start`], on a given port that clients already know.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_at(port: u16) -> Self {
        Self::start_on(port, &NatsServerSettings::default())
    }

    /// Starts a server with a complete configuration, made for its port and store, and waits until
    /// it listens. Blocks.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_as(configuration: impl FnOnce(u16, &Path) -> String) -> Self {
        let mut server = Self::new(free_port());
        let configuration = configuration(server.port, &server.store());
        std::fs::write(server.configuration(), configuration).expect("the configuration is written");
        server.start_process();
        server.await_it(Self::greets);
        server
    }

    fn start_on(port: u16, settings: &NatsServerSettings) -> Self {
        let mut server = Self::new(port);
        server.write_configuration(settings);
        server.start_again();
        server
    }

    fn new(port: u16) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("isthmus-nats-")
            .tempdir()
            .expect("a temporary folder");
        Self {
            port,
            folder,
            process: None,
        }
    }

    fn write_configuration(&self, settings: &NatsServerSettings) {
        let name = if settings.name.is_empty() {
            "n1"
        } else {
            &settings.name
        };
        let configuration = format!(
            "server_name: {name}\nlisten: 127.0.0.1:{}\njetstream {{ store_dir: \"{}\"\n{}\n}}\n{}\n",
            self.port,
            self.store().display(),
            settings.jetstream,
            settings.lines,
        );
        std::fs::write(self.configuration(), configuration).expect("the configuration is written");
    }

    /// Starts the process again after [`NatsServer::stop`] or [`NatsServer::kill`], on the same
    /// port and store. Blocks.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_again(&mut self) {
        self.start_process();
        self.await_it(Self::answers);
    }

    fn start_process(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .expect("the server's log opens");
        let errors = log.try_clone().expect("the server's log opens twice");
        let process = Command::new(binary())
            .arg("--config")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("nats-server starts (tools/nats-server fetches it)");
        self.process = Some(process);
    }

    fn await_it(&mut self, is_there: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + START;
        while !is_there(self) {
            let ended = self
                .process
                .as_mut()
                .is_some_and(|process| !matches!(process.try_wait(), Ok(None)));
            assert!(
                !ended && Instant::now() < deadline,
                "nats-server did not start:\n{}",
                self.log()
            );
            sleep(PAUSE);
        }
    }

    /// Whether a client gets a greeting, which is all that a server reveals without credentials.
    fn greets(&self) -> bool {
        let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let mut greeting = [0; 4];
        stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
            && (&stream).read_exact(&mut greeting).is_ok()
            && greeting == *b"INFO"
    }

    /// Whether a client gets a greeting and an answer to its ping.
    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
            return false;
        };
        let patient = stream.set_read_timeout(Some(Duration::from_secs(1)));
        let mut greeting = String::new();
        patient.is_ok()
            && stream
                .write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")
                .is_ok()
            && BufReader::new(stream)
                .take(64 * 1024)
                .lines()
                .map_while(Result::ok)
                .any(|line| {
                    greeting.push_str(&line);
                    line.starts_with("PONG")
                })
            && greeting.starts_with("INFO")
    }

    /// The URL for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The client port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// JetStream's folder.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("nats.conf")
    }

    /// Stops the process with SIGTERM, as an operator does, and waits until it has ended. Blocks.
    ///
    /// # Panics
    /// If it can't be signalled.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let signalled = Command::new("kill").arg(process.id().to_string()).status();
        assert!(
            signalled.is_ok_and(|status| status.success()),
            "nats-server takes a signal"
        );
        process.wait().expect("nats-server is a child of this process");
    }

    /// Ends the process with SIGKILL. Blocks until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // The kill fails if the process has already ended, which is fine.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Copies JetStream's folder; the server is stopped and started again for this. Blocks.
    ///
    /// # Panics
    /// If the folder can't be read, or the server does not start.
    #[must_use]
    pub fn back_up(&mut self) -> Backup {
        let copy = tempfile::tempdir().expect("a temporary folder");
        self.stop();
        copy_folder(&self.store(), copy.path());
        self.start_again();
        Backup(copy)
    }

    /// Stops the server, restores a copy of JetStream's folder and starts the server again:
    /// everything stored since is lost. Blocks.
    ///
    /// # Panics
    /// If the folder can't be written, or the server does not start.
    pub fn put_back(&mut self, backup: &Backup) {
        self.stop();
        std::fs::remove_dir_all(self.store()).expect("the store can be removed");
        copy_folder(backup.0.path(), &self.store());
        self.start_again();
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A copy of a server's store.
#[derive(Debug)]
pub struct Backup(TempDir);

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder is made");
    for entry in std::fs::read_dir(from).expect("a folder is read") {
        let entry = entry.expect("a folder is read");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a folder is read").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file is copied");
        }
    }
}

fn binary() -> PathBuf {
    let named = std::env::var_os("ISTHMUS_NATS_SERVER").map(PathBuf::from);
    named
        .or_else(fetched)
        .unwrap_or_else(|| PathBuf::from("nats-server"))
}

/// The binary that `make tools` downloaded into this checkout. Cargo gives the checkout's location
/// when it runs a program; a build folder may be shared by several checkouts.
fn fetched() -> Option<PathBuf> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let from = package.or_else(|| std::env::current_dir().ok())?;
    let mut candidates = from.ancestors().map(|folder| folder.join(".tools/nats-server"));
    candidates.find(|fetched| fetched.exists())
}
