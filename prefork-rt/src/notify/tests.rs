use std::env;
use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;

use super::*;

#[test]
fn of_what_was_not_taken_the_last_reload_is_kept_and_a_stop_alone() {
    let address = Address::parse(OsStr::new("/nowhere")).expect("a path");
    let mut manager = Manager::new(address, &Variables::default(), Duration::ZERO, None);
    let kinds = |manager: &Manager| -> Vec<String> {
        manager.unsent.iter().map(|message| message.split('=').next().unwrap_or_default().to_owned()).collect()
    };
    for (unsent, kept) in [
        (&["READY=1", "RELOADING=1", "READY=1"][..], &["READY"][..]),
        (&["RELOADING=1", "READY=1"], &[]),
        (&["READY=1"], &["READY"]),
        (&[], &[]),
    ] {
        manager.unsent = unsent.iter().map(|&message| message.to_owned()).collect();
        manager.forget_reloads();
        assert_eq!(kinds(&manager), kept);
    }
}

#[test]
fn what_was_not_taken_is_not_stored_after_its_removal() {
    let path = env::temp_dir().join(format!("prefork-busy-manager-{}", std::process::id()));
    let busy = UnixDatagram::bind(&path).expect("a path");
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("a socket");
    while filler.send_to(b"x", &path).is_ok() {}
    let address = Address::parse(path.as_os_str()).expect("a path");
    let mut manager = Manager::new(address, &Variables::default(), Duration::ZERO, None);
    let socket = OwnedFd::from(filler);
    for (name, kind) in [("a", Kind::Udp), ("aa", Kind::Tcp), ("b", Kind::Tcp), ("a", Kind::Unix)] {
        manager.store(name, kind, &socket);
    }
    manager.remove_stored("a");
    std::fs::remove_file(&path).expect("it is there");
    let messages: Vec<&str> = manager.unstored.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(messages, ["FDSTORE=1\nFDNAME=aa", "FDSTORE=1\nFDNAME=b", "FDSTOREREMOVE=1\nFDNAME=a"]);
    drop(busy);
}
