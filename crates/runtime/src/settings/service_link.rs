//! Variables that Kubernetes creates in every pod for the Services of its namespace. For a Service
//! called `isthmus-agent` they are `ISTHMUS_AGENT_SERVICE_HOST`, `ISTHMUS_AGENT_PORT_7110_TCP` and
//! more, which look like settings.

use std::net::IpAddr;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// Whether a variable is one of these, judged by its name and its value. The levels of a setting
/// are separated by `__`, which these variables never contain.
pub(super) fn is_one(variable: &str, value: &str) -> bool {
    let host = variable.ends_with("_SERVICE_HOST") && is_address(value);
    // The port, or a named port.
    let port = || {
        let mut names = after(variable, "_SERVICE_PORT");
        names.any(|name| (name.is_empty() || name.starts_with('_')) && is_number(value))
    };
    let link = || after(variable, "_PORT").any(|tail| is_of_port(tail, value));
    !variable.contains("__") && (host || port() || link())
}

/// The text after each occurrence of `part`.
fn after<'a>(text: &'a str, part: &'static str) -> impl Iterator<Item = &'a str> {
    text.match_indices(part)
        .map(|(at, part)| &text[at + part.len()..])
}

/// Whether the name continues like that of a port: `_7110_TCP_ADDR`.
fn is_of_port(tail: &str, value: &str) -> bool {
    let parts: Vec<&str> = tail.split('_').collect();
    let (number, protocol, what) = match &parts[..] {
        [""] => return is_url(value),
        ["", number, protocol, what @ ..] => (number, protocol, what),
        _ => return false,
    };
    let of_what = match what {
        [] => is_url(value),
        ["PROTO"] => is_protocol(value),
        ["PORT"] => is_number(value),
        ["ADDR"] => is_address(value),
        _ => false,
    };
    of_what && is_number(number) && is_protocol(&protocol.to_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

fn is_protocol(text: &str) -> bool {
    PROTOCOLS.contains(&text)
}

fn is_url(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(scheme, _)| is_protocol(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_makes_of_a_service_is_one_and_nothing_else() {
        for name in ["ISTHMUS", "ISTHMUS_AGENT", "ISTHMUS_PORT_OF_CALL"] {
            for (tail, value) in [
                ("SERVICE_HOST", "10.96.0.17"),
                ("SERVICE_HOST", "fd00::17"),
                ("SERVICE_PORT", "7110"),
                ("SERVICE_PORT_HTTP", "7110"),
                ("PORT", "tcp://10.96.0.17:7110"),
                ("PORT_7110_TCP", "tcp://10.96.0.17:7110"),
                ("PORT_53_UDP_PROTO", "udp"),
                ("PORT_7110_SCTP_PORT", "7110"),
                ("PORT_7110_TCP_ADDR", "10.96.0.17"),
            ] {
                assert!(is_one(&format!("{name}_{tail}"), value), "{name}_{tail}");
            }
        }
        for (variable, value) in [
            ("ISTHMUS_PORT", "7110"),
            ("ISTHMUS_SERVICE_HOST", "agent.example.org"),
            ("ISTHMUS_SERVICE_PORTS", "7110"),
            ("ISTHMUS_ADMIN__PORT", "tcp://10.96.0.17:7110"),
            ("ISTHMUS_PORT_7110_HTTP", "tcp://10.96.0.17:7110"),
            ("ISTHMUS_PORT_HTTP_TCP", "tcp://10.96.0.17:7110"),
            ("ISTHMUS_LISTEN", "127.0.0.1:7110"),
            ("ISTHMUS_SUPPORT", "yes"),
        ] {
            assert!(!is_one(variable, value), "{variable}");
        }
    }
}
