//! A door whose answers a test chooses, over HTTP/1.1, one request per connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A status and a body.
pub(crate) type FakeAnswer = (u16, String);

/// A door, closed when it is dropped.
pub(crate) struct Door {
    pub url: String,
    closing: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Door {
    pub(crate) fn open(answer: impl Fn(&str) -> FakeAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let closing = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&closing);
        let listening = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for connection in listener.incoming().flatten() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    scope.spawn(|| serve(connection, &answer));
                }
            });
        });
        Self {
            url,
            closing,
            listening: Some(listening),
        }
    }

    /// A door with the same answer to every request.
    pub(crate) fn always(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        Self::open(move |_| (status, body.clone()))
    }

    /// A door for batches that answers each operation with `judge`.
    pub(crate) fn of_batches(judge: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::open(move |body| {
            let operations = body.lines().map(|line| serde_json::from_str(line).unwrap());
            let answers: Vec<String> = operations
                .map(|operation: Value| judge(&operation).to_string())
                .collect();
            (200, answers.join("\n"))
        })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        let woken = TcpStream::connect(self.url.trim_start_matches("http://"));
        if woken.is_ok() {
            self.listening.take().unwrap().join().unwrap();
        }
    }
}

fn serve(connection: TcpStream, answer: &impl Fn(&str) -> FakeAnswer) {
    let Some(body) = read(&connection) else { return };
    let (status, body) = answer(&body);
    let head = format!(
        "HTTP/1.1 {status} -\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (&connection).write_all(format!("{head}{body}").as_bytes()).ok();
}

/// Reads a request and returns its body.
fn read(connection: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).unwrap())
}

/// The answer to a successful write.
pub(crate) fn written() -> Value {
    json!({"status": 200, "version": "v"})
}

/// A problem with a stable code.
pub(crate) fn problem(status: u16, code: &str) -> Value {
    json!({"status": status, "code": code, "detail": format!("said by the door: {code}"), "retryable": false})
}

/// The number of bytes in the value of a put.
pub(crate) fn value_bytes(operation: &Value) -> usize {
    STANDARD
        .decode(operation["value_base64"].as_str().unwrap())
        .unwrap()
        .len()
}
