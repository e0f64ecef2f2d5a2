//! A NATS user that speaks the bare protocol, so that a test can send requests that no process of
//! Isthmus would send.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

const BOUND: Duration = Duration::from_secs(10);

/// A connection as one user.
#[derive(Debug)]
pub struct NatsUser {
    lines: BufReader<TcpStream>,
    subscriptions: u32,
}

impl NatsUser {
    /// Connects to `host:port` with the user's nkey.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the user.
    pub fn connect(address: &str, user: &KeyPair) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(BOUND))?;
        let mut connected = Self {
            lines: BufReader::new(stream),
            subscriptions: 0,
        };
        let greeting = connected.line()?;
        let greeting = greeting
            .strip_prefix("INFO ")
            .context("a server says INFO first")?;
        let greeting: Value = serde_json::from_str(greeting)?;
        let nonce = greeting["nonce"].as_str().context("a nonce to sign")?;
        let signature = user.sign(nonce.as_bytes())?;
        let who = json!({
            "nkey": user.public_key(),
            "sig": URL_SAFE_NO_PAD.encode(signature),
            "verbose": false,
            "pedantic": false,
            "lang": "test",
            "version": "0",
        });
        connected.send(&format!("CONNECT {who}\r\n"))?;
        ensure!(connected.refusal()?.is_none(), "the user is refused");
        Ok(connected)
    }

    /// Publishes. Returns the server's error, if there is one.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn publish(&mut self, subject: &str, payload: &str) -> anyhow::Result<Option<String>> {
        self.send(&format!("PUB {subject} {}\r\n{payload}\r\n", payload.len()))?;
        self.refusal()
    }

    /// Subscribes. Returns the server's error, if there is one.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn subscribe(&mut self, subject: &str) -> anyhow::Result<Option<String>> {
        self.subscriptions += 1;
        self.send(&format!("SUB {subject} {}\r\n", self.subscriptions))?;
        self.refusal()
    }

    /// The reply subject of the next message that has one; messages without are skipped.
    ///
    /// # Errors
    /// When none comes for 10 s.
    pub fn next_question(&mut self) -> anyhow::Result<String> {
        loop {
            let line = self.line()?;
            let words: Vec<&str> = line.split(' ').collect();
            if let ["MSG", _, _, reply, _] = words[..] {
                return Ok(reply.to_owned());
            }
            if line == "PING" {
                self.send("PONG\r\n")?;
            }
        }
    }

    /// The server's error for the preceding line: the server answers in order.
    fn refusal(&mut self) -> anyhow::Result<Option<String>> {
        self.send("PING\r\n")?;
        let mut refused = None;
        loop {
            let line = self.line()?;
            match line.as_str() {
                "PONG" => return Ok(refused),
                "PING" => self.send("PONG\r\n")?,
                line if line.starts_with("-ERR") => refused = Some(line.to_owned()),
                _ => {}
            }
        }
    }

    fn send(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.lines.get_mut().write_all(text.as_bytes())?)
    }

    /// The next line of the protocol; the payload of a message is skipped.
    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = Vec::new();
        ensure!(
            self.lines.read_until(b'\n', &mut line)? > 0,
            "the server closed the connection"
        );
        let line = String::from_utf8(line)?.trim_end().to_owned();
        if line.starts_with("MSG ") {
            let bytes = line.rsplit(' ').next().unwrap_or_default().parse::<usize>()?;
            self.lines.read_exact(&mut vec![0; bytes + "\r\n".len()])?;
        }
        Ok(line)
    }
}
