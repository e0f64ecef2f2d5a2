//! A process for tests, in a set of three regions. It starts nothing.

use isthmus_runtime::Process;
use isthmus_runtime::clock::Clock;
use isthmus_runtime::metrics::Metrics;
use isthmus_runtime::settings::{Environment, GatewaySettings, Settings};
use isthmus_runtime::telemetry::Tracer;

/// A gateway of eu-west, in a set with us-east and ap-south of two partitions.
pub(crate) fn process() -> Process<GatewaySettings> {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file can be written")
    };
    let regions = ["ap-south", "eu-west", "us-east"]
        .map(|region| format!("  {region}: {{ gateways: [\"127.0.0.1:7121\"], trust: file.pem }}\n"));
    let set = format!(
        "set: shop\ngeneration: 1\nregions:\n{}groups: {{ default: {{ partitions: 2 }} }}\n",
        regions.concat()
    );
    write("set.yaml", &set);
    write("file.pem", "");
    write(
        "gateway.yaml",
        "set: set.yaml\nregion: eu-west\nnats: { servers: [\"nats://127.0.0.1:4222\"] }\nlink: { listen: 127.0.0.1:7121, certificate: file.pem, key: file.pem }\n",
    );
    let settings = GatewaySettings::load(&folder.path().join("gateway.yaml"), &Environment::empty());
    Process::new(
        settings.expect("the settings are good"),
        Clock::system(),
        Metrics::new("gateway", "0"),
        Tracer::off(),
    )
}
