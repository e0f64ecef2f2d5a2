//! The files of a folder as text.

use isthmus_replication::names::{RegionName, SetName};

use super::PORTS_PER_REGION;

/// The first port of the block of the region at `index` in set.yaml.
fn block(port_base: u16, index: usize) -> u16 {
    port_base + PORTS_PER_REGION * index as u16
}

pub(super) fn set(set: &SetName, trust_domain: &str, regions: &[RegionName], port_base: u16) -> String {
    let mut text = format!(
        "# What the regions share: the same bytes in every region. Raise generation with each change.\n\
         set: {set}\n\
         generation: 1\n\
         trust_domain: {trust_domain}\n\
         regions:\n"
    );
    for (index, region) in regions.iter().enumerate() {
        let block = block(port_base, index);
        text.push_str(&format!(
            "  {region}: {{ gateways: [\"127.0.0.1:{}\", \"127.0.0.1:{}\"], trust: trust/{region}.pem }}\n",
            block + 14,
            block + 16,
        ));
    }
    text
}

pub(super) fn agent(region: &RegionName, port_base: u16, index: usize) -> String {
    let block = block(port_base, index);
    format!(
        "set: ../set.yaml\n\
         region: {region}\n\
         name: agent-1\n\
         nats: {{ servers: [\"nats://127.0.0.1:{}\"] }}\n\
         listen: 127.0.0.1:{}\n\
         admin: {{ listen: \"127.0.0.1:{}\" }}\n\
         data: data/agent-1\n\
         log: {{ create: true }}   # development: the streams are created on start\n",
        block + 1,
        block + 10,
        block + 11,
    )
}

pub(super) fn gateway(region: &RegionName, port_base: u16, index: usize) -> String {
    let block = block(port_base, index);
    format!(
        "set: ../set.yaml\n\
         region: {region}\n\
         name: gateway-1\n\
         nats: {{ servers: [\"nats://127.0.0.1:{}\"] }}\n\
         admin: {{ listen: \"127.0.0.1:{}\" }}\n\
         link: {{ listen: \"127.0.0.1:{}\", certificate: gateway.crt, key: gateway.key }}\n\
         log: {{ create: true }}   # development: the streams are created on start\n",
        block + 1,
        block + 15,
        block + 14,
    )
}

pub(super) fn nats(region: &RegionName, port_base: u16, index: usize) -> String {
    let block = block(port_base, index);
    format!(
        "# Development. Start it in this folder: nats-server -c nats.conf\n\
         server_name: {region}-nats-1\n\
         listen: 127.0.0.1:{}\n\
         http: 127.0.0.1:{}\n\
         max_payload: 1MB\n\
         jetstream {{\n  \
           store_dir: data/nats\n  \
           max_file_store: 16GB\n\
         }}\n",
        block + 1,
        block + 2,
    )
}
