//! The control door: commands as JSON lines over loopback TCP, and the client that `isthmus lab`
//! and tests use.
//!
//! Any process on the machine can reach the port, and a web page in a browser there can make the
//! browser send an HTTP request to it. So a connection must first present the secret of this
//! network, in a line that is not valid HTTP, and is closed at the first line that does not parse:
//! nothing after the line `POST / HTTP/1.1` is read.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::command::{Command, CommandAnswer};
use crate::network::{Wan, WeakWan};
use crate::secret::ControlSecret;

const LINE: u64 = 4096;
const ANSWER: u64 = 1024 * 1024;
const CLIENTS: usize = 32;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The secret must arrive within this time after the connection is accepted.
const SECRET_WITHIN: Duration = Duration::from_secs(2);
/// Each command must arrive completely within this time of the one before, and each answer must be
/// read within it.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

impl Wan {
    /// Serves commands from clients that present `secret` at `listen` (loopback; port 0 = any) as
    /// long as the network exists. Returns the bound address.
    pub async fn serve_control(&self, listen: SocketAddr, secret: ControlSecret) -> io::Result<SocketAddr> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{listen} is not a loopback address"),
            ));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        self.spawn(accept(listener, self.downgrade(), secret));
        Ok(address)
    }
}

async fn accept(listener: TcpListener, wan: WeakWan, secret: ControlSecret) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = clients.join_next() => {}
            accepted = listener.accept(), if clients.len() < CLIENTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(serve(stream, wan.clone(), secret.clone()));
                }
                Err(error) => tracing::warn!(%error, "a control connection could not be accepted"),
            },
        }
    }
}

/// Serves one connection until it closes, sends an invalid line, or exceeds a time limit.
async fn serve(stream: TcpStream, wan: WeakWan, secret: ControlSecret) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let presented = timeout(SECRET_WITHIN, read_line(&mut reader, LINE)).await;
    let Ok(Ok(Some(line))) = presented else { return };
    if !secret.is(&line) {
        return;
    }
    let admitted = tell(&mut writer, &CommandAnswer::done(Vec::new())).await;
    if admitted.is_none() {
        return;
    }
    while let Ok(Ok(Some(line))) = timeout(COMMAND_WITHIN, read_line(&mut reader, LINE)).await {
        let Some(wan) = wan.upgrade() else { return };
        let command = serde_json::from_str::<Command>(&line);
        let answer = match &command {
            Ok(command) => match wan.apply(command) {
                Ok(()) => CommandAnswer::done(wan.report()),
                Err(error) => CommandAnswer::refused(error.to_string()),
            },
            Err(error) => CommandAnswer::refused(format!("not a command: {error}")),
        };
        if tell(&mut writer, &answer).await.is_none() || command.is_err() {
            return;
        }
    }
}

/// Writes an answer; `None` if the client does not read it.
async fn tell(writer: &mut (impl AsyncWriteExt + Unpin), answer: &CommandAnswer) -> Option<()> {
    let mut text = serde_json::to_vec(answer).ok()?;
    text.push(b'\n');
    timeout(COMMAND_WITHIN, writer.write_all(&text)).await.ok()?.ok()
}

/// One line without its newline; `None` at the end of the stream. A line longer than `longest` is
/// an error.
async fn read_line(
    reader: &mut (impl AsyncRead + AsyncBufReadExt + Unpin),
    longest: u64,
) -> io::Result<Option<String>> {
    let mut line = String::new();
    let length = reader.take(longest).read_line(&mut line).await?;
    match line.strip_suffix('\n') {
        Some(text) => Ok(Some(text.to_owned())),
        None if length == 0 => Ok(None),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line without an end",
        )),
    }
}

/// A connection to the control door of a running network.
#[derive(Debug)]
pub struct ControlClient {
    stream: BufReader<TcpStream>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The door was unreachable or closed the connection.
    #[error("the network's control door: {0}; is `isthmus up` still running?")]
    Unreachable(#[from] io::Error),
    /// The door closed the connection without an answer: the secret is not that of this network.
    #[error(
        "the network's control door does not accept the secret of this folder; is `isthmus up` of this folder still running?"
    )]
    NotAdmitted,
    /// The door did not answer within 5 s.
    #[error("the network's control door did not answer within 5 s")]
    Silent,
    /// This program does not understand the answer.
    #[error("the network's control door gave an unexpected answer: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The network refused the command.
    #[error("{0}")]
    Refused(String),
}

impl ControlClient {
    /// Connects to the door that [`Wan::serve_control`] opened, and presents its secret.
    pub async fn connect(address: SocketAddr, secret: &ControlSecret) -> Result<Self, ControlError> {
        let stream = TcpStream::connect(address).await?;
        let mut client = Self {
            stream: BufReader::new(stream),
        };
        match client.ask(secret.line().into_bytes()).await {
            Ok(_) => Ok(client),
            Err(ControlError::Unreachable(_)) => Err(ControlError::NotAdmitted),
            Err(error) => Err(error),
        }
    }

    /// Sends one command and returns the conditions after it.
    pub async fn send(&mut self, command: &Command) -> Result<CommandAnswer, ControlError> {
        self.ask(serde_json::to_vec(command)?).await
    }

    async fn ask(&mut self, line: Vec<u8>) -> Result<CommandAnswer, ControlError> {
        timeout(ANSWER_WITHIN, self.exchange(line))
            .await
            .map_err(|_| ControlError::Silent)?
    }

    async fn exchange(&mut self, mut line: Vec<u8>) -> Result<CommandAnswer, ControlError> {
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await?;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer");
        let text = read_line(&mut self.stream, ANSWER).await?.ok_or_else(closed)?;
        let answer: CommandAnswer = serde_json::from_str(&text)?;
        match answer.error {
            Some(error) => Err(ControlError::Refused(error)),
            None => Ok(answer),
        }
    }
}
