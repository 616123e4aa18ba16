//! How option values are written, and which known name a misspelt one is nearest to.
//!
//! One file serves the macro's literals, the builder and the environment (prefork-macros sees it through a
//! symbolic link), so a value is read, and refused, in the same words everywhere. It must not know which option
//! or variable a value belongs to: each error is the end of a sentence that the caller begins with that name.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Linux has no greater process id on any machine.
const MOST_WORKERS: usize = 1 << 22;

const SHORTEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(500 * 60 * 60);

/// No process has less.
const LEAST_MEMORY: u64 = 1 << 20;

/// With a null byte at the end, this is all that an address has room for, and clients connect by the path.
const LONGEST_PATH: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 108 } else { 104 } - 1;

/// The bounds of the delay before a restart: the first wait and the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

/// Which workers are replaced when they end by themselves: what `Prefork::restart` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Those that end abnormally; one that exits with status 0 has finished. In strings: `"on-failure"`.
    #[default]
    OnFailure,
    /// Those that exit with status 0 too, which is not counted as a restart. In strings: `"always"`.
    Always,
}

/// In which order a reload starts the new worker and stops the old one: what `Prefork::reload` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reload {
    /// The new one is ready before the old one is told to stop. In strings: `"overlap"`.
    #[default]
    Overlap,
    /// The old one has ended before the new one is started, so that no two live workers have one task id. In strings:
    /// `"exclusive"`.
    Exclusive,
}

/// One entry of `listen`: what is listened on, and the name that it is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(crate) name: Option<String>,
    pub(crate) place: Place,
}

/// Where clients find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Tcp(Host),
    Udp(Host),
    Unix(UnixPath),
}

/// An IP address or the name of some, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    Address(SocketAddr),
    Name(String, u16),
    /// Every address of this machine, of each family that it has.
    Every(u16),
}

/// A Unix socket's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixPath {
    pub(crate) path: String,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<String>,
    pub(crate) group: Option<String>,
}

/// What a socket is, and so which type it has in Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Udp,
    Unix,
}

impl Place {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Place::Tcp(_) => Kind::Tcp,
            Place::Udp(_) => Kind::Udp,
            Place::Unix(_) => Kind::Unix,
        }
    }
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Tcp, Kind::Udp, Kind::Unix];

    /// The type in the standard library, and in tokio.
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Kind::Tcp => "TcpListener",
            Kind::Udp => "UdpSocket",
            Kind::Unix => "UnixListener",
        }
    }

    /// What there may be none of, or too many.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Kind::Tcp => "address",
            Kind::Udp => "UDP address",
            Kind::Unix => "Unix socket",
        }
    }

    /// "an address", "a UDP address".
    pub(crate) fn one(self) -> String {
        format!("{} {}", if self == Kind::Tcp { "an" } else { "a" }, self.noun())
    }

    pub(crate) fn example(self) -> &'static str {
        match self {
            Kind::Tcp => "127.0.0.1:8080",
            Kind::Udp => "udp:127.0.0.1:5353",
            Kind::Unix => "unix:/run/app.sock",
        }
    }
}

/// As it is written, with all there is to it.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        self.place.fmt(f)?;
        let Place::Unix(unix) = &self.place else { return Ok(()) };
        let parameters = [
            unix.mode.map(|mode| format!("mode={mode:o}")),
            unix.owner.as_ref().map(|owner| format!("owner={owner}")),
            unix.group.as_ref().map(|group| format!("group={group}")),
        ];
        for (index, parameter) in parameters.into_iter().flatten().enumerate() {
            write!(f, "{}{parameter}", if index == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// As it is written.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(host) => host.fmt(f),
            Place::Udp(host) => write!(f, "udp:{host}"),
            Place::Unix(unix) => write!(f, "unix:{}", unix.path),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Address(address) => address.fmt(f),
            Host::Name(host, port) => write!(f, "{host}:{port}"),
            Host::Every(port) => write!(f, "*:{port}"),
        }
    }
}

/// `"auto"` or a number; `None` is `"auto"`, which 0 means too.
pub(crate) fn workers(text: &str) -> Result<Option<usize>, String> {
    match text {
        "auto" => Ok(None),
        _ => workers_counted(count(text, "or \"auto\"")?),
    }
}

/// The same of a number.
pub(crate) fn workers_counted(workers: usize) -> Result<Option<usize>, String> {
    match workers {
        0 => Ok(None),
        1..=MOST_WORKERS => Ok(Some(workers)),
        _ => Err(format!("{workers} is too large: Linux has no more than {MOST_WORKERS} processes")),
    }
}

/// `"unlimited"` or a number; `None` is `"unlimited"`.
pub(crate) fn max_restarts(text: &str) -> Result<Option<usize>, String> {
    match text {
        "unlimited" => Ok(None),
        _ => count(text, "or \"unlimited\"").map(Some),
    }
}

/// `"on-failure"` or `"always"`.
pub(crate) fn restart(text: &str) -> Result<Restart, String> {
    match text {
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err(format!(
            "{text:?} is not accepted: write \"on-failure\" to replace workers that end abnormally, or \"always\" to \
             replace those that finish with status 0 too"
        )),
    }
}

/// `"overlap"` or `"exclusive"`.
pub(crate) fn reload(text: &str) -> Result<Reload, String> {
    match text {
        "overlap" => Ok(Reload::Overlap),
        "exclusive" => Ok(Reload::Exclusive),
        _ => Err(format!(
            "{text:?} is not accepted: write \"overlap\" to start the new worker first, or \"exclusive\" to stop the \
             old one first"
        )),
    }
}

/// `"true"` or `"false"`.
pub(crate) fn reuse_port(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!(
            "{text:?} is not accepted: write true for one socket per worker and address, or false for sockets that all \
             workers share"
        )),
    }
}

/// `"true"` or `"false"`.
pub(crate) fn no_new_privs(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!(
            "{text:?} is not accepted: write true for workers that gain no rights by what they execute, or false"
        )),
    }
}

/// A whole number and its unit: `"250ms"`, `"30s"`, `"5m"`, `"1h"`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    duration_otherwise(text, "")
}

/// The same, or `"none"`, which is `None`.
pub(crate) fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "none" => Ok(None),
        _ => duration_otherwise(text, ", or \"none\"").map(Some),
    }
}

/// How long a restart counts.
pub(crate) fn restart_window(window: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(window, "0s would forget every restart at once: write for example \"10m\", or \"none\" to count them all")
}

/// How long a worker may take to be ready.
pub(crate) fn ready_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(timeout, "0s gives no worker the time to get ready: write for example \"30s\", or \"none\"")
}

/// How long a worker may be silent.
pub(crate) fn heartbeat_timeout(timeout: Option<Duration>) -> Result<Option<Duration>, String> {
    match timeout {
        Some(timeout) if timeout < SHORTEST_HEARTBEAT_TIMEOUT => Err(format!(
            "{} is too short, because the clock of a heartbeat is coarse: write \"100ms\" or more, or \"none\"",
            written(timeout)
        )),
        Some(timeout) if timeout > LONGEST_HEARTBEAT_TIMEOUT => Err(format!(
            "{} is too long, because the time of a heartbeat is 32 bits of milliseconds: write \"500h\" or less, or \
             \"none\"",
            written(timeout)
        )),
        _ => Ok(timeout),
    }
}

/// How long a worker may live.
pub(crate) fn max_lifetime(lifetime: Option<Duration>) -> Result<Option<Duration>, String> {
    not_zero(lifetime, "0s lets no worker live: write for example \"1h\", or \"none\"")
}

fn not_zero(time: Option<Duration>, why_not: &str) -> Result<Option<Duration>, String> {
    if time.is_some_and(|time| time.is_zero()) { Err(why_not.to_owned()) } else { Ok(time) }
}

/// As a person would write it.
fn written(time: Duration) -> String {
    match time.as_secs() {
        _ if time.is_zero() => "0s".to_owned(),
        seconds if time.subsec_nanos() == 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        _ => format!("{time:?}"),
    }
}

fn duration_otherwise(text: &str, otherwise: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text);
    if number.is_empty() {
        return Err(format!(
            "{text:?} is not a duration: write a number and a unit, for example \"250ms\", \"30s\", \"5m\" or \
             \"1h\"{otherwise}"
        ));
    }
    let too_long = || format!("{text:?} is too long a duration");
    let number: u64 = number.parse().map_err(|_| too_long())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "" => return Err(format!("{text:?} has no unit: write \"{text}s\" for seconds (units: ms, s, m, h)")),
        _ if unit.starts_with('.') => {
            return Err(format!("{text:?} is not a whole number: use a smaller unit, for example \"1500ms\""));
        }
        _ => {
            return Err(format!("{text:?} has an unknown unit {unit:?}: use ms, s, m or h, for example \"{number}s\""));
        }
    };
    number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(too_long)
}

fn number_and_unit(text: &str) -> (&str, &str) {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text.split_at(digits)
}

/// How much memory a worker may have, in bytes: `"512MiB"`, or a plain number; `None` is `"none"`.
pub(crate) fn max_memory(text: &str) -> Result<Option<u64>, String> {
    match text {
        "none" => Ok(None),
        _ => max_memory_counted(size(text)?, text).map(Some),
    }
}

/// The same of a number of bytes, which was written like this.
pub(crate) fn max_memory_counted(bytes: u64, text: &str) -> Result<u64, String> {
    if bytes < LEAST_MEMORY {
        return Err(format!(
            "{text} is {bytes} bytes, which is less than any process has: write for example \"512MiB\", or \"none\""
        ));
    }
    Ok(bytes)
}

fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text);
    if number.is_empty() {
        return Err(format!(
            "{text:?} is not a size: write a number and a unit, for example \"512MiB\" or \"2GiB\", or \"none\""
        ));
    }
    let factor = match unit {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ if unit.starts_with('.') => {
            return Err(format!("{text:?} is not a whole number: use a smaller unit, for example \"1536MiB\""));
        }
        _ => {
            let example = unit_of_size(unit).map_or("512MiB".to_owned(), |meant| format!("{number}{meant}"));
            return Err(format!(
                "{text:?} has an unknown unit {unit:?}: write for example {example:?} (units: KiB, MiB, GiB, TiB)"
            ));
        }
    };
    let bytes = number.parse().ok().and_then(|number: u64| number.checked_mul(factor));
    bytes.ok_or_else(|| format!("{text:?} is more than any machine has: write for example \"512MiB\", or \"none\""))
}

/// What other programs call a unit: `M`, `mb`, `MiB` after a space.
fn unit_of_size(unit: &str) -> Option<&'static str> {
    match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        "t" | "tb" | "tib" => Some("TiB"),
        _ => None,
    }
}

/// The name or number of a user or group; `None` is `"none"`. Whether there is such a one, only the run can tell.
pub(crate) fn account(text: &str) -> Result<Option<String>, String> {
    const WRITE: &str = "write a name such as \"nobody\", a number such as \"65534\", or \"none\"";
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text {
        "none" => Ok(None),
        "" => Err(format!("the name is empty: {WRITE}")),
        _ if text.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err(format!("{text:?} has a space in it, or what cannot be printed, and no name has: {WRITE}"))
        }
        _ if text.contains([':', ',', '/']) => Err(format!(
            "{text:?} is more than one name: {WRITE}; a user and a group are two options, `user` and `group`"
        )),
        _ if text.starts_with(['-', '+']) => Err(format!("{text:?} is not a name: {WRITE}")),
        // The greatest number means that there is none.
        _ if is_number && account_number(text).is_none() => {
            Err(format!("{text} is too large: numbers of users and groups end at {}", u32::MAX - 1))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

/// What is written in digits is a number, never a name.
pub(crate) fn account_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number != u32::MAX)
}

/// Two durations, `"100ms..1s"`, or one for a delay that does not grow; `"0s"` never waits.
pub(crate) fn backoff(text: &str) -> Result<Backoff, String> {
    let Some((first, longest)) = text.split_once("..") else {
        let delay = duration(text)?;
        return Ok(Backoff { first: delay, longest: delay });
    };
    let longest = longest.strip_prefix('=').unwrap_or(longest);
    backoff_between(duration(first)?, duration(longest)?)
}

/// The same of values that are durations already.
pub(crate) fn backoff_between(first: Duration, longest: Duration) -> Result<Backoff, String> {
    if first > longest {
        return Err(format!(
            "the first delay, {first:?}, is longer than the longest, {longest:?}: write the shorter one first, for example \"100ms..1s\""
        ));
    }
    if first.is_zero() && !longest.is_zero() {
        return Err(format!(
            "a delay that begins with 0s would never grow to {longest:?}: write \"0s\" to never wait, or begin with a \
             short delay, for example \"10ms..1s\""
        ));
    }
    Ok(Backoff { first, longest })
}

/// Addresses, comma-separated, each of which may be named: `"127.0.0.1:8080"`, `"*:80,admin=localhost:9000"`,
/// `"unix:/run/app.sock?mode=660"`, `"udp:127.0.0.1:5353"`; `"none"` for no address.
pub(crate) fn addresses(text: &str) -> Result<Vec<Entry>, String> {
    match text {
        "none" => Ok(Vec::new()),
        _ => text.split(',').map(|one| address(one.trim())).collect::<Result<_, _>>().and_then(each_name_once),
    }
}

/// The same of addresses that are listed already.
pub(crate) fn each_name_once(entries: Vec<Entry>) -> Result<Vec<Entry>, String> {
    let mut names: Vec<&str> = entries.iter().filter_map(|entry| entry.name.as_deref()).collect();
    names.sort_unstable();
    match names.windows(2).find(|two| two[0] == two[1]) {
        Some(twice) => Err(format!("the name {:?} is given twice: give each address a name of its own", twice[0])),
        None => Ok(entries),
    }
}

fn address(text: &str) -> Result<Entry, String> {
    if text.is_empty() {
        return Err(format!("the address is empty: {EXAMPLE}"));
    }
    match name_and_place(text) {
        Some((name, address)) => Ok(Entry { name: Some(listener_name(name, text)?), place: place(address)? }),
        None => Ok(Entry { name: None, place: place(text)? }),
    }
}

/// The two parts of an entry that has a name. An equals sign after a colon belongs to the address.
pub(crate) fn name_and_place(entry: &str) -> Option<(&str, &str)> {
    entry.split_once('=').filter(|(name, _)| !name.contains([':', '/']))
}

const EXAMPLE: &str = "write an IP address or host name and a port, for example \"127.0.0.1:8080\" or \"[::]:80\", or \
                       \"unix:/run/app.sock\"";

fn listener_name(name: &str, text: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err(format!("{text:?} has an empty name: write for example \"admin{text}\", or leave out the \"=\""));
    }
    match name.chars().find(|&c| !c.is_ascii_alphanumeric() && !"-_.".contains(c)) {
        Some(bad) => Err(format!(
            "{text:?} has the character {bad:?} in its name: use letters, digits, '-', '_' and '.', for example \
             \"admin=127.0.0.1:9000\""
        )),
        None => Ok(name.to_owned()),
    }
}

fn place(text: &str) -> Result<Place, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_path(path, text).map(Place::Unix);
    }
    match text.strip_prefix("udp:") {
        Some(address) => host(address).map(Place::Udp).ok_or_else(|| why_not_an_address("udp:", address)),
        None => host(text).map(Place::Tcp).ok_or_else(|| why_not_an_address("", text)),
    }
}

fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse() {
        return Some(Host::Address(address));
    }
    match text.rsplit_once(':')? {
        ("" | "*", port) => Some(Host::Every(port_number(port)?)),
        (host, port) if is_host_name(host) => Some(Host::Name(host.to_owned(), port_number(port)?)),
        _ => None,
    }
}

fn port_number(text: &str) -> Option<u16> {
    if is_number(text) { text.parse().ok() } else { None }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether this can be resolved. What ends in a number is an IP address, or would be one.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (1..=63).contains(&label.len()) && allowed && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}

/// What is wrong with an address, which follows a scheme or none.
fn why_not_an_address(scheme: &str, text: &str) -> String {
    let whole = format!("{scheme}{text}");
    if let Some((name, address)) = text.split_once('=') {
        return format!("{whole:?} has its name in the middle: write \"{name}={scheme}{address}\"");
    }
    if text.starts_with(['/', '.']) {
        return format!("{whole:?} is a path: write for example \"unix:/run/app.sock\" for a Unix socket");
    }
    if text.parse::<IpAddr>().is_ok() {
        let bracketed = if text.contains(':') { format!("[{text}]") } else { text.to_owned() };
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

/// An absolute path, and after a question mark what becomes of the file: `/run/app.sock?mode=660&owner=www-data`.
fn unix_path(text: &str, whole: &str) -> Result<UnixPath, String> {
    let (path, parameters) = text.split_once('?').map_or((text, None), |(path, rest)| (path, Some(rest)));
    if path.is_empty() {
        return Err(format!("{whole:?} has no path: write for example \"unix:/run/app.sock\""));
    }
    if !path.starts_with('/') {
        return Err(format!("{whole:?} is not an absolute path: write for example \"unix:/run/app.sock\""));
    }
    if matches!(path.rsplit('/').next(), Some("" | "." | "..")) {
        return Err(format!(
            "{whole:?} is a directory's path: write the name of a file in it, for example \"unix:/run/app.sock\""
        ));
    }
    if path.contains('\0') {
        return Err(format!("{whole:?} has a null character: write the path without it"));
    }
    // As in `unix:///run/app.sock`.
    let path = format!("/{}", path.trim_start_matches('/'));
    if path.len() > LONGEST_PATH {
        return Err(format!(
            "{path:?} has {} bytes, and the path of a socket has room for {LONGEST_PATH}: choose a shorter one",
            path.len()
        ));
    }
    let mut unix = UnixPath { path, mode: None, owner: None, group: None };
    parameters.into_iter().flat_map(|all| all.split('&')).try_for_each(|one| unix.set(one, whole))?;
    Ok(unix)
}

impl UnixPath {
    fn set(&mut self, parameter: &str, whole: &str) -> Result<(), String> {
        const HOW: &str =
            "write mode, owner or group, for example \"unix:/run/app.sock?mode=660&owner=www-data&group=www-data\"";
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let twice = match name {
            "mode" => self.mode.replace(mode(value, whole)?).is_some(),
            "owner" | "group" if value.is_empty() => return Err(format!("{whole:?} has no value for {name:?}: {HOW}")),
            "owner" => self.owner.replace(value.to_owned()).is_some(),
            "group" => self.group.replace(value.to_owned()).is_some(),
            "" => return Err(format!("{whole:?} has an empty parameter: {HOW}")),
            _ => return Err(format!("{whole:?} has an unknown parameter {name:?}: {HOW}")),
        };
        if twice { Err(format!("{whole:?} has the parameter {name:?} twice: keep one")) } else { Ok(()) }
    }
}

fn mode(text: &str, whole: &str) -> Result<u32, String> {
    let octal = is_number(text).then(|| u32::from_str_radix(text, 8).ok()).flatten();
    octal.filter(|&mode| mode <= 0o777).ok_or_else(|| {
        format!(
            "{whole:?} has the mode {text:?}, which is not an octal number up to 777: write for example \"mode=660\""
        )
    })
}

fn count(text: &str, otherwise: &str) -> Result<usize, String> {
    text.parse().map_err(|_| match text.strip_prefix('-').unwrap_or(text) {
        digits if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{text:?} is not a whole number {otherwise}")
        }
        _ if text.starts_with('-') => format!("{text} is negative: write a whole number, 0 or more, {otherwise}"),
        _ => format!("{text} is too large"),
    })
}

/// The known name that `word` was probably meant to be: case, `-` for `_`, or up to a third of its letters off.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    known
        .iter()
        .map(|&name| (edits(&word, &name.to_lowercase()), name))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// How many letters must be inserted, removed, replaced or swapped with their neighbour to turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let mut least =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert!(duration("30").unwrap_err().contains("\"30s\""));
        assert!(duration("30d").unwrap_err().contains("unknown unit \"d\""));
        assert!(duration("1.5s").unwrap_err().contains("1500ms"));
        for bad in ["", "s", "-1s", " 1s", "1 s", "1s ", "٣s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_none_by_default_has_a_word_for_it() {
        assert_eq!(optional_duration("none"), Ok(None));
        assert_eq!(optional_duration("30s"), Ok(Some(Duration::from_secs(30))));
        assert_eq!(max_memory("none"), Ok(None));
        for bad in ["", "off", "None"] {
            assert!(optional_duration(bad).unwrap_err().ends_with(", or \"none\""), "{bad:?}");
            assert!(max_memory(bad).unwrap_err().ends_with(", or \"none\""), "{bad:?}");
        }
        assert!(optional_duration("30").unwrap_err().contains("\"30s\""));
        assert!(!duration("off").unwrap_err().contains("none"));
    }

    #[test]
    fn durations_that_would_do_harm_are_refused() {
        let (zero, short) = (Some(Duration::ZERO), Some(Duration::from_nanos(1)));
        for check in [restart_window, ready_timeout, max_lifetime] {
            assert_eq!(check(None), Ok(None));
            assert_eq!(check(short), Ok(short));
            assert_eq!(check(Some(Duration::MAX)), Ok(Some(Duration::MAX)));
            assert!(check(zero).unwrap_err().starts_with("0s "));
        }
        assert_eq!(heartbeat_timeout(None), Ok(None));
        for good in ["100ms", "1s", "500h"] {
            assert!(optional_duration(good).and_then(heartbeat_timeout).is_ok(), "{good}");
        }
        for (bad, accepted) in [("0s", "\"100ms\""), ("99ms", "\"100ms\""), ("501h", "\"500h\"")] {
            let why = optional_duration(bad).and_then(heartbeat_timeout).unwrap_err();
            assert!(why.starts_with(bad) && why.contains(accepted), "{bad}: {why}");
        }
        assert!(heartbeat_timeout(Some(Duration::MAX)).is_err());
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        assert_eq!(max_memory("1048576"), Ok(Some(1 << 20)));
        assert_eq!(max_memory("1024KiB"), Ok(Some(1 << 20)));
        assert_eq!(max_memory("512MiB"), Ok(Some(512 << 20)));
        assert_eq!(max_memory("2GiB"), Ok(Some(2 << 30)));
        assert_eq!(max_memory("1TiB"), Ok(Some(1 << 40)));
        assert_eq!(max_memory("18446744073709551615"), Ok(Some(u64::MAX)));
        assert_eq!(max_memory_counted(1 << 20, "1048576"), Ok(1 << 20));
        assert_eq!(
            max_memory("512").unwrap_err(),
            "512 is 512 bytes, which is less than any process has: write for example \"512MiB\", or \"none\""
        );
        assert_eq!(max_memory("512").unwrap_err(), max_memory_counted(512, "512").unwrap_err());
        for (bad, advice) in [
            ("0", "less than any process has"),
            ("1023KiB", "1023KiB is 1047552 bytes"),
            ("512M", "\"512MiB\""),
            ("256MB", "\"256MiB\""),
            ("4g", "\"4GiB\""),
            ("512 MiB", "\"512MiB\""),
            ("64kb", "\"64KiB\""),
            ("5PiB", "(units: KiB, MiB, GiB, TiB)"),
            ("1.5GiB", "\"1536MiB\""),
            ("-1", "a number and a unit"),
            ("MiB", "a number and a unit"),
            ("18446744073709551616", "more than any machine has"),
            ("18446744073709551615KiB", "more than any machine has"),
            ("16777216TiB", "more than any machine has"),
        ] {
            let why = max_memory(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
    }

    #[test]
    fn restart_and_reload_are_one_of_two_words() {
        assert_eq!(restart("on-failure"), Ok(Restart::OnFailure));
        assert_eq!(restart("always"), Ok(Restart::Always));
        assert_eq!(reload("overlap"), Ok(Reload::Overlap));
        assert_eq!(reload("exclusive"), Ok(Reload::Exclusive));
        for bad in ["", "never", "Always", "on_failure", "none"] {
            assert!(restart(bad).unwrap_err().contains("\"always\""), "{bad:?}");
            assert!(reload(bad).unwrap_err().contains("\"overlap\""), "{bad:?}");
        }
    }

    #[test]
    fn an_account_is_one_name_or_number() {
        for good in ["nobody", "www-data", "_www", "65534", "0", "4294967294", "svc.app$", "DOMAIN\\\\user", "müller"]
        {
            assert_eq!(account(good), Ok(Some(good.to_owned())));
        }
        assert_eq!(account("none"), Ok(None));
        for (bad, advice) in [
            ("", "empty"),
            (" ", "space"),
            ("nobody ", "space"),
            ("a\0b", "printed"),
            ("nobody:nogroup", "two options"),
            ("a,b", "two options"),
            ("-1", "not a name"),
            ("+1", "not a name"),
            ("4294967295", "end at 4294967294"),
            ("99999999999999999999", "too large"),
        ] {
            let why = account(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
        assert_eq!(account_number("007"), Some(7));
        assert_eq!(account_number("7up"), None);
    }

    #[test]
    fn a_backoff_grows_or_stays() {
        let of = |first, longest| {
            Ok(Backoff { first: Duration::from_millis(first), longest: Duration::from_millis(longest) })
        };
        assert_eq!(backoff("100ms..1s"), of(100, 1000));
        assert_eq!(backoff("100ms..=1s"), of(100, 1000));
        assert_eq!(backoff("250ms"), of(250, 250));
        assert_eq!(backoff("0s"), of(0, 0));
        assert!(backoff("1s..100ms").unwrap_err().contains("shorter one first"));
        assert!(backoff("0s..1s").unwrap_err().contains("never grow"));
        for bad in ["", "..", "1s..", "..1s", "1..2", "1s..2s..3s"] {
            assert!(backoff(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn counts_have_a_word_for_their_special_value() {
        assert_eq!(workers("4"), Ok(Some(4)));
        assert_eq!(workers("0"), Ok(None));
        assert_eq!(workers("auto"), Ok(None));
        assert_eq!(max_restarts("0"), Ok(Some(0)));
        assert_eq!(max_restarts("unlimited"), Ok(None));
        assert!(workers("four").unwrap_err().contains("or \"auto\""));
        assert!(workers("5000000").unwrap_err().contains("too large"));
        assert!(workers("-1").unwrap_err().contains("negative"));
        assert!(max_restarts("99999999999999999999").unwrap_err().contains("too large"));
    }

    fn tcp(text: &str) -> Entry {
        Entry { name: None, place: Place::Tcp(Host::Address(text.parse().expect("an address"))) }
    }

    fn unix(mode: Option<u32>, owner: Option<&str>, group: Option<&str>) -> Result<Entry, String> {
        let (owner, group) = (owner.map(str::to_owned), group.map(str::to_owned));
        let place = Place::Unix(UnixPath { path: "/run/app.sock".to_owned(), mode, owner, group });
        Ok(Entry { name: None, place })
    }

    #[test]
    fn addresses_are_of_three_kinds_and_have_names() {
        assert_eq!(addresses("127.0.0.1:80, [::]:0"), Ok(vec![tcp("127.0.0.1:80"), tcp("[::]:0")]));
        assert_eq!(addresses("none"), Ok(Vec::new()));
        let named = |text| address(text).map(|entry| (entry.name, entry.place.to_string()));
        let of = |name: &str, place: &str| Ok((Some(name.to_owned()), place.to_owned()));
        assert_eq!(named("admin=127.0.0.1:9000"), of("admin", "127.0.0.1:9000"));
        assert_eq!(named("my-app_2.x=udp:[::1]:53"), of("my-app_2.x", "udp:[::1]:53"));
        assert_eq!(named("80=localhost:80"), of("80", "localhost:80"));
        assert_eq!(named("a=unix:/run/app.sock?mode=660"), of("a", "unix:/run/app.sock"));
        assert_eq!(address("localhost:0").map(|entry| entry.place), Ok(Place::Tcp(Host::Name("localhost".into(), 0))));
        assert_eq!(address("udp:app_1.local.:53").map(|entry| entry.place.kind()), Ok(Kind::Udp));
        for (text, place) in [
            ("*:8080", Place::Tcp(Host::Every(8080))),
            (":8080", Place::Tcp(Host::Every(8080))),
            ("web=:80", Place::Tcp(Host::Every(80))),
            ("udp::53", Place::Udp(Host::Every(53))),
            ("dns=udp:*:53", Place::Udp(Host::Every(53))),
        ] {
            assert_eq!(address(text).map(|entry| entry.place), Ok(place), "{text}");
        }
    }

    #[test]
    fn an_entry_is_shown_as_it_is_written() {
        for text in [
            "127.0.0.1:0",
            "admin=[::1]:9000",
            "web=localhost:80",
            "dns=udp:[::]:53",
            "*:80",
            "dns=udp:*:53",
            "unix:/run/app.sock",
            "local=unix:/run/app.sock?mode=660&owner=www-data&group=33",
            "unix:/run/app.sock?group=www-data",
        ] {
            assert_eq!(address(text).expect("an address").to_string(), text);
        }
    }

    #[test]
    fn a_unix_socket_has_a_path_a_mode_an_owner_and_a_group() {
        assert_eq!(address("unix:/run/app.sock"), unix(None, None, None));
        assert_eq!(address("unix:///run/app.sock"), unix(None, None, None));
        assert_eq!(address("unix:/run/app.sock?mode=660"), unix(Some(0o660), None, None));
        assert_eq!(address("unix:/run/app.sock?mode=0600&group=33"), unix(Some(0o600), None, Some("33")));
        assert_eq!(address("unix:/run/app.sock?owner=www-data&mode=000"), unix(Some(0), Some("www-data"), None));
        let path = |length: usize| format!("unix:/{}", "x".repeat(length - 1));
        assert!(address(&path(LONGEST_PATH)).is_ok());
        assert!(address(&path(LONGEST_PATH + 1)).unwrap_err().contains("room for"));
    }

    #[test]
    fn what_is_no_address_is_told_how_to_be_one() {
        let long_label = format!("{}.org:80", "x".repeat(64));
        for (bad, advice) in [
            ("", "empty"),
            ("8080", "\"127.0.0.1:8080\""),
            ("8080", "\"*:8080\""),
            (":http", "65535"),
            ("*:", "65535"),
            ("*", "not an address"),
            ("*.org:80", "no host name"),
            ("localhost", "\"localhost:8080\""),
            ("127.0.0.1", "has no port"),
            ("::1", "\"[::1]:8080\""),
            ("fe80::1%1:80", "is not an IP address"),
            ("127.0.0.1:99999", "65535"),
            ("localhost:+80", "65535"),
            ("127.0.0.1:http", "65535"),
            ("256.0.0.1:80", "not an IP address"),
            ("-a.org:80", "no host name"),
            ("a..org:80", "no host name"),
            ("\u{e9}t\u{e9}.fr:80", "no host name"),
            (&long_label, "no host name"),
            ("127.0.0.1:80,", "empty"),
            ("none,127.0.0.1:80", "\"none:8080\""),
            ("udp:127.0.0.1", "\"udp:127.0.0.1:8080\""),
            ("udp:", "\"udp:127.0.0.1:5353\""),
            ("udp:5353", "\"udp:127.0.0.1:5353\""),
            ("udp:*", "not an address"),
            ("tcp:*:80", "unknown scheme \"tcp\": write \"*:80\""),
            ("udp:dns", "\"udp:dns:8080\""),
            ("udp:dns=127.0.0.1:53", "\"dns=udp:127.0.0.1:53\""),
            ("tcp:127.0.0.1:80", "unknown scheme \"tcp\": write \"127.0.0.1:80\""),
            ("http://localhost:80/", "unknown scheme \"http\": write \"localhost:80\""),
            ("fd://3", "unknown scheme \"fd\""),
            ("udp:tcp:127.0.0.1:80", "unknown scheme \"tcp\": write \"udp:127.0.0.1:80\""),
            ("/run/app.sock", "\"unix:/run/app.sock\""),
            ("./app.sock", "\"unix:/run/app.sock\""),
            ("=127.0.0.1:80", "\"admin=127.0.0.1:80\""),
            ("ad min=127.0.0.1:80", "the character ' '"),
            ("admin =127.0.0.1:80", "the character ' '"),
            ("a=b=127.0.0.1:80", "has its name in the middle"),
            ("a=127.0.0.1:80,a=127.0.0.1:81", "\"a\" is given twice"),
            ("unix:", "has no path"),
            ("unix:?mode=660", "has no path"),
            ("unix:app.sock", "not an absolute path"),
            ("unix:@app", "not an absolute path"),
            ("unix:a=/run/app.sock", "not an absolute path"),
            ("unix:/run/", "a directory's path"),
            ("unix:/run/..", "a directory's path"),
            ("unix:/run/a\0b", "null character"),
            ("unix:/a?", "an empty parameter"),
            ("unix:/a?mdoe=660", "unknown parameter \"mdoe\""),
            ("unix:/a?mode=660&mode=600", "\"mode\" twice"),
            ("unix:/a?mode", "octal number up to 777"),
            ("unix:/a?mode=888", "octal number up to 777"),
            ("unix:/a?mode=1777", "octal number up to 777"),
            ("unix:/a?mode=+660", "octal number up to 777"),
            ("unix:/a?owner=", "no value for \"owner\""),
        ] {
            let why = addresses(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
    }

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        let known = ["workers", "max_restarts", "graceful_timeout", "listen"];
        for (word, meant) in [
            ("workrs", "workers"),
            ("worker", "workers"),
            ("max-restarts", "max_restarts"),
            ("lisetn", "listen"),
            ("gracefull_timeout", "graceful_timeout"),
        ] {
            assert_eq!(nearest(word, &known), Some(meant));
        }
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("", &known), None);
    }
}
