use super::unix_path::LONGEST_PATH;
use super::*;

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
