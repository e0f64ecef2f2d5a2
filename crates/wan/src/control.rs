//! The control door: commands as JSON lines over loopback TCP, and the client that `isthmus lab` and tests use.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::command::{Answer, Command};
use crate::network::{Wan, WeakWan};

const LINE: u64 = 4096;
const ANSWER: u64 = 1024 * 1024;
const CLIENTS: usize = 32;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl Wan {
    /// Serves commands at `listen` (loopback; port 0 = any) as long as the network lives; returns the bound address.
    pub async fn serve_control(&self, listen: SocketAddr) -> io::Result<SocketAddr> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{listen} is not a loopback address"),
            ));
        }
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        self.spawn(accept(listener, self.downgrade()));
        Ok(address)
    }
}

async fn accept(listener: TcpListener, wan: WeakWan) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = clients.join_next() => {}
            accepted = listener.accept(), if clients.len() < CLIENTS => match accepted {
                Ok((stream, _)) => {
                    clients.spawn(serve(stream, wan.clone()));
                }
                Err(error) => tracing::warn!(%error, "a control connection could not be accepted"),
            },
        }
    }
}

async fn serve(stream: TcpStream, wan: WeakWan) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    while let Ok(Some(line)) = read_line(&mut reader, LINE).await {
        let Some(wan) = wan.upgrade() else { return };
        let Ok(mut text) = serde_json::to_vec(&answer(&wan, &line)) else {
            return;
        };
        text.push(b'\n');
        if writer.write_all(&text).await.is_err() {
            return;
        }
    }
}

fn answer(wan: &Wan, line: &str) -> Answer {
    let done = serde_json::from_str::<Command>(line)
        .map_err(|error| format!("not a command: {error}"))
        .and_then(|command| wan.apply(&command).map_err(|error| error.to_string()));
    match done {
        Ok(()) => Answer {
            ok: true,
            error: None,
            paths: wan.report(),
        },
        Err(error) => Answer {
            ok: false,
            error: Some(error),
            paths: Vec::new(),
        },
    }
}

/// One line without its end; `None` at the end of the stream; an error when it is longer than `longest`.
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

/// Why a command got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The door could not be reached or closed the connection.
    #[error("the network's control door: {0}; is `isthmus up` still running?")]
    Unreachable(#[from] io::Error),
    /// No answer within 5 s.
    #[error("the network's control door did not answer within 5 s")]
    Silent,
    /// The answer is not one this program knows.
    #[error("the network's control door answered with something else: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The network refused.
    #[error("{0}")]
    Refused(String),
}

impl ControlClient {
    /// Connects to the door that [`Wan::serve_control`] opened.
    pub async fn connect(address: SocketAddr) -> Result<Self, ControlError> {
        let stream = TcpStream::connect(address).await?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends one command and returns the conditions after it.
    pub async fn send(&mut self, command: &Command) -> Result<Answer, ControlError> {
        timeout(ANSWER_WITHIN, self.exchange(command))
            .await
            .map_err(|_| ControlError::Silent)?
    }

    async fn exchange(&mut self, command: &Command) -> Result<Answer, ControlError> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await?;
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer");
        let text = read_line(&mut self.stream, ANSWER).await?.ok_or_else(closed)?;
        let answer: Answer = serde_json::from_str(&text)?;
        match answer.error {
            Some(error) => Err(ControlError::Refused(error)),
            None => Ok(answer),
        }
    }
}
