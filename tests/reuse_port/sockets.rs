//! Which sockets a process has open, as /proc shows them.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;

/// A row of /proc/net/tcp and the like.
pub struct Row {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub listens: bool,
    pub inode: u64,
}

/// The IPv4 sockets of this kind, of the namespace that this thread is in.
pub fn rows(kind: &str) -> Vec<Row> {
    let address = |text: &str| -> Option<SocketAddr> {
        let (ip, port) = text.split_once(':')?;
        let ip = u32::from_str_radix(ip, 16).ok()?.to_ne_bytes();
        Some(SocketAddr::from((ip, u16::from_str_radix(port, 16).ok()?)))
    };
    let table = fs::read_to_string(format!("/proc/thread-self/net/{kind}")).expect("/proc");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (address(words.get(1)?)?, address(words.get(2)?)?);
        Some(Row { local, remote, listens: words.get(3) == Some(&"0A"), inode: words.get(9)?.parse().ok()? })
    };
    table.lines().filter_map(row).collect()
}

/// The sockets that a process has open.
pub fn inodes_of(pid: i32) -> BTreeSet<u64> {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |target: std::path::PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    targets.filter_map(inode).collect()
}

/// The sockets of a process that are bound to this address: those that listen, or wait for datagrams.
pub fn bound(pid: i32, kind: &str, address: SocketAddr) -> BTreeSet<u64> {
    let open = inodes_of(pid);
    let is_meant = |row: &Row| row.local == address && (row.listens || kind == "udp") && open.contains(&row.inode);
    rows(kind).into_iter().filter(is_meant).map(|row| row.inode).collect()
}
