//! The accepting end of a link in place of another region's gateway. It answers the call for its
//! report as a test wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use isthmus_link::{Connection, CredentialFiles, Credentials, LinkLimits, Listener, Place, TrustSource};
use isthmus_replication::link::frame::NoAnswer;
use isthmus_replication::link::session::{Session, SessionEvent};
use isthmus_replication::names::SetName;
use isthmus_runtime::clock::Clock;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::peer::party;
use super::{World, region};

/// How it answers a call.
#[derive(Debug, Clone)]
pub(crate) enum Says {
    /// With this report.
    Report(Bytes),
    /// With a refusal for this reason.
    Refusal(String),
}

/// A listener with a region's certificate. It ends when dropped.
pub(crate) struct Acceptor {
    says: Arc<Mutex<Says>>,
    task: JoinHandle<()>,
}

impl Acceptor {
    /// Listens where gateway 1 of `name` would.
    pub(crate) async fn start(world: &World, name: &str, says: Says) -> Self {
        let place = world.place(name);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, place.links[0]));
        let credentials = credentials(world, name);
        let mut listener = Listener::bind(address, credentials, LinkLimits::default())
            .await
            .unwrap();
        let says = Arc::new(Mutex::new(says));
        let (answers, name) = (Arc::clone(&says), name.to_owned());
        let task = tokio::spawn(async move {
            // Every region opens its own link, in any order.
            let mut links = JoinSet::new();
            loop {
                if let Ok(connection) = listener.next().await {
                    let (name, answers) = (name.clone(), Arc::clone(&answers));
                    links.spawn(async move { serve(connection, &name, &answers).await });
                }
            }
        });
        Self { says, task }
    }

    /// Sets the answer from now on.
    pub(crate) fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn credentials(world: &World, name: &str) -> Arc<Credentials> {
    let place = Place {
        trust_domain: "example.org".parse().unwrap(),
        set: SetName::parse("shop").unwrap(),
        region: region(name),
    };
    let (folder, trust) = (world.folder_of(name), world.folder.path().join("trust"));
    let of_region = |name: &String| {
        let source = TrustSource {
            file: trust.join(format!("{name}.pem")),
            identity: None,
        };
        (region(name), source)
    };
    let files = CredentialFiles {
        certificate: folder.join("gateway.crt"),
        key: folder.join("gateway.key"),
        revoked: None,
        trust: world.regions.keys().map(of_region).collect(),
    };
    Arc::new(Credentials::load(place, files).unwrap())
}

/// Serves one link until it ends.
async fn serve(mut connection: Connection, name: &str, says: &Mutex<Says>) {
    const LOOK: Duration = Duration::from_millis(20);
    let clock = Clock::system();
    let dialer = connection.peer.region().clone();
    let mut session = Session::acceptor(clock.now(), party(name), dialer);
    loop {
        session.handle_timeout(clock.now());
        while let Some(event) = session.poll_event() {
            match event {
                SessionEvent::Hello(_) => session.welcome(clock.now(), Vec::new()),
                SessionEvent::Request(request) => {
                    let outcome = match says.lock().unwrap().clone() {
                        Says::Report(report) => Ok(report),
                        Says::Refusal(why) => Err(NoAnswer::because(&why)),
                    };
                    session.respond(request.id, outcome);
                }
                SessionEvent::Ended(_) => return,
                _ => {}
            }
        }
        while let Some(frame) = session.poll_frame() {
            if connection.writer.send(frame.encode()).await.is_err() {
                return;
            }
        }
        match timeout(LOOK, connection.reader.next()).await {
            Ok(Some(Ok(bytes))) => session.handle_bytes(clock.now(), bytes),
            Ok(_) => return,
            Err(_) => {}
        }
    }
}
