//! Why a text is no address of the network, and what to write instead.
//!
//! It must not accept anything: it is asked about what was refused.

use std::net::{IpAddr, Ipv6Addr};

use super::{EXAMPLE, host, is_host_name, is_number, port_number};

/// What is wrong with an address, which follows a scheme or none.
pub(super) fn why_not_an_address(scheme: &str, text: &str) -> String {
    let whole = format!("{scheme}{text}");
    if let Some((name, address)) = text.split_once('=') {
        return format!("{whole:?} has its name in the middle: write \"{name}={scheme}{address}\"");
    }
    if text.starts_with(['/', '.']) {
        return format!("{whole:?} is a path: write for example \"unix:/run/app.sock\" for a Unix socket");
    }
    if text.parse::<IpAddr>().is_ok() {
        let bracketed = if text.bytes().any(|byte| byte == b':') { format!("[{text}]") } else { text.to_owned() };
        return format!("{whole:?} has no port: write for example \"{scheme}{bracketed}:8080\"");
    }
    if let Some(error) = unknown_scheme(scheme, text) {
        return error;
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text {
            "" => format!("{whole:?} has no address: write for example \"{scheme}127.0.0.1:5353\""),
            _ if is_number(text) => format!(
                "{whole:?} has no IP address: write \"{scheme}127.0.0.1:{text}\", or \"{scheme}*:{text}\" for every \
                 address of this machine"
            ),
            _ if is_host_name(text) => format!("{whole:?} has no port: write for example \"{scheme}{text}:8080\""),
            _ => format!("{whole:?} is not an address: {EXAMPLE}"),
        };
    };
    if port_number(port).is_none() {
        return format!("{whole:?} is not an address: the port {port:?} is not a number from 0 to 65535");
    }
    match host {
        _ if host.parse::<Ipv6Addr>().is_ok() => {
            format!("{whole:?} has an IPv6 address without brackets: write \"{scheme}[{host}]:{port}\"")
        }
        _ => format!("{whole:?} is not an address: {host:?} is not an IP address, and no host name; {EXAMPLE}"),
    }
}

/// `tcp://127.0.0.1:80`, `http:localhost:80`.
fn unknown_scheme(known: &str, text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let word =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
    if !word || !rest.contains(['/', ':']) || text.matches("::").count() > 0 {
        return None;
    }
    let address = rest.trim_start_matches('/').trim_end_matches('/');
    let advice = match host(address) {
        Some(_) => format!("write \"{known}{address}\""),
        None => EXAMPLE.to_owned(),
    };
    Some(format!("\"{known}{text}\" has an unknown scheme {scheme:?}: {advice} (schemes: unix, udp; none for TCP)"))
}
