//! An end of a link in place of another region's gateway. It sends what a test wants.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use isthmus_replication::coordinates::WriterId;
use isthmus_replication::link::frame::{Frame, Hello, Party, Versions};
use isthmus_replication::names::{ProcessName, SetName};

use super::{EU, World, region};

/// An unfinished handshake or greeting ends within 10 s. A loaded machine gets three times that.
pub(crate) const REFUSED_WITHIN: Duration = Duration::from_secs(30);

/// A TLS client with a region's certificate that sends raw bytes. It is killed when dropped.
pub(crate) struct Peer {
    openssl: Child,
    bytes: Option<ChildStdin>,
    answers: Option<ChildStdout>,
}

impl Peer {
    pub(crate) fn of(world: &World, name: &str, port: u16) -> Self {
        let folder = world.folder_of(name);
        let mut openssl = Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-ign_eof",
                "-noservername",
                "-alpn",
                "isthmus/1",
            ])
            .args(["-connect", &format!("127.0.0.1:{port}")])
            .arg("-cert")
            .arg(folder.join("gateway.crt"))
            .arg("-key")
            .arg(folder.join("gateway.key"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            bytes: openssl.stdin.take(),
            answers: openssl.stdout.take(),
            openssl,
        }
    }

    /// Reads the next frame of the gateway, which must arrive.
    pub(crate) fn hears(&mut self) -> Frame {
        let answers = self.answers.as_mut().unwrap();
        let mut length = [0; 4];
        answers.read_exact(&mut length).unwrap();
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        answers.read_exact(&mut frame).unwrap();
        Frame::decode(frame.into()).unwrap()
    }

    /// Sends until the other end takes no more.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if let Some(pipe) = &mut self.bytes {
            // A gateway that has already refused closes the pipe before the rest is sent.
            let _ = pipe.write_all(bytes).and_then(|()| pipe.flush());
        }
    }

    pub(crate) fn must_end(mut self, what: &str) {
        let deadline = Instant::now() + REFUSED_WITHIN;
        while self.openssl.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < deadline,
                "a peer that sent {what} is still linked after {REFUSED_WITHIN:?}"
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.openssl.kill();
        let _ = self.openssl.wait();
    }
}

/// The introduction of a fake gateway.
pub(super) fn party(name: &str) -> Party {
    Party {
        set: SetName::parse("shop").unwrap(),
        set_digest: [0; 16],
        generation: 1,
        region: region(name),
        process: ProcessName::parse("of-another-release").unwrap(),
        run: WriterId(1),
    }
}

/// A frame in its wire format.
pub(crate) fn framed(frame: &Frame) -> Vec<u8> {
    let frame = frame.encode();
    [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], &frame].concat()
}

/// The first frame of a gateway of eu-west that speaks these versions.
pub(crate) fn hello(least: u32, newest: u32) -> Vec<u8> {
    framed(&Frame::Hello(Hello {
        versions: Versions { least, newest },
        party: party(EU),
        lanes: Vec::new(),
    }))
}
