//! The control port of `isthmus up` serves clients that know the folder's secret, and no page in a
//! browser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, ensure};
use isthmus_e2e::{Running, isthmus};

const BOUND: Duration = Duration::from_secs(10);
const CUT: &str = r#"{"do":"cut","from":"eu-west","to":"us-east"}"#;

/// The request that a browser sends without a preflight when a page posts `body`.
fn post(address: &str, body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: keep-alive\r\nContent-Length: {}\r\nContent-Type: text/plain;charset=UTF-8\r\nOrigin: http://example.org\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: cross-site\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_does_not_command_the_network() -> anyhow::Result<()> {
    let running = Running::start(&["eu-west", "us-east"], &[]).await?;
    let set = running.set();
    let dir = set.to_str().context("UTF-8")?;
    let address = running.run_file()["wan"]["control"]
        .as_str()
        .context("a control port")?;
    let secret = set.join("control.secret");
    ensure!(secret.metadata()?.permissions().mode() & 0o777 == 0o600);

    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(BOUND))?;
    // The server closes the connection at the first line, before everything is sent.
    stream
        .write_all(post(address, &format!("\n{CUT}\n")).as_bytes())
        .ok();
    let mut answer = Vec::new();
    let closed = stream.read_to_end(&mut answer);
    let reset = closed
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
    ensure!(closed.is_ok() || reset, "{closed:?}");
    ensure!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    running.agent("eu-west").put_everywhere("shop", "k", "v").await?;

    isthmus(&["lab", dir, "cut", "eu-west", "us-east"])?;
    isthmus(&["lab", dir, "heal"])?;
    std::fs::write(&secret, "0".repeat(64))?;
    let refused = isthmus(&["lab", dir, "heal"]);
    ensure!(
        refused
            .as_ref()
            .is_err_and(|error| error.to_string().contains("does not accept the secret")),
        "{refused:?}"
    );
    Ok(())
}
