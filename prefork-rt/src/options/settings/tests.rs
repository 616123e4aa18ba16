use super::super::{Environment, Prefork};
use super::*;
use crate::inheritance::Inheritance;
use crate::options::CommandLine;

const MINUTE: Duration = Duration::from_secs(60);

/// Without the variables that the tests themselves run with.
fn prefork() -> Prefork {
    let (code, environment) = Default::default();
    let inheritance = Inheritance::of_this_process();
    Prefork { code, environment, inheritance, needs: Vec::new(), error: None, signals: None }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let mut environment = Environment::default();
    for (option, value) in variables {
        environment.read_one(&format!("PREFORK_{option}"), value).expect(option);
    }
    environment
}

fn settings(variables: &[(&str, &str)], code: Prefork) -> (Settings, Vec<String>) {
    assert!(code.error.is_none(), "{:?}", code.error);
    let mut environment = environment(variables);
    let settings = Settings::new(environment.values, *code.code, &mut environment.warnings);
    (settings, environment.warnings)
}

/// The options of the restart policy and of a worker's life, in the order of [`Settings`].
#[derive(Debug, PartialEq)]
struct Life(Option<Duration>, Restart, Option<Duration>, Option<Duration>, Option<Duration>, Option<u64>, Reload);

const DEFAULT: Life = Life(None, Restart::OnFailure, None, None, None, None, Reload::Overlap);

fn life(settings: &Settings) -> Life {
    let Settings { restart_window, restart, ready_timeout, heartbeat_timeout, max_lifetime, .. } = *settings;
    Life(restart_window, restart, ready_timeout, heartbeat_timeout, max_lifetime, settings.max_memory, settings.reload)
}

fn everything() -> Prefork {
    prefork()
        .restart_window("1m")
        .restart("always")
        .ready_timeout(2 * MINUTE)
        .heartbeat_timeout(Some(3 * MINUTE))
        .max_lifetime("4m".to_owned())
        .max_memory(5_000_000)
        .reload(Reload::Exclusive)
}

const EVERYTHING: Life = Life(
    Some(MINUTE),
    Restart::Always,
    Some(Duration::from_secs(120)),
    Some(Duration::from_secs(180)),
    Some(Duration::from_secs(240)),
    Some(5_000_000),
    Reload::Exclusive,
);

#[test]
fn the_defaults_are_what_the_table_says() {
    let (Settings { restart, reload, backoff, graceful_timeout, listen, reuse_port, user, no_new_privs, .. }, warnings) =
        settings(&[], prefork());
    assert_eq!((restart, graceful_timeout), (Restart::OnFailure, Duration::from_secs(25)));
    assert_eq!(grammar::backoff("100ms..1s"), Ok(backoff));
    assert_eq!((listen, reuse_port, user, no_new_privs), (Vec::new(), false, None, false));
    assert_eq!((Restart::default(), Reload::default()), (restart, reload), "two words for one default");
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn huge_pages_are_the_default_and_asked_for_only_by_name() {
    let asks = |environment: &[(&str, &str)], code| {
        let settings = settings(environment, code).0;
        (settings.huge_pages, settings.asks_for_huge_pages)
    };
    assert_eq!(asks(&[], prefork()), (true, false));
    assert_eq!(asks(&[], prefork().huge_pages(true)), (true, true));
    assert_eq!(asks(&[], prefork().huge_pages(false)), (false, false));
    assert_eq!(asks(&[("HUGE_PAGES", "false")], prefork().huge_pages(true)), (false, false));
    assert_eq!(asks(&[("HUGE_PAGES", "true")], prefork().huge_pages(false)), (true, true));
}

#[test]
fn a_worker_s_life_has_no_bounds_by_default() {
    assert_eq!(life(&settings(&[], prefork()).0), DEFAULT);
    let nothing = prefork()
        .restart_window(None)
        .restart(Restart::OnFailure)
        .ready_timeout("none")
        .heartbeat_timeout(None)
        .max_lifetime("none")
        .max_memory(None)
        .reload("overlap");
    assert_eq!(life(&settings(&[], nothing).0), DEFAULT);
}

#[test]
fn the_code_says_how_a_worker_lives() {
    assert_eq!(life(&settings(&[], everything()).0), EVERYTHING);
    let same = prefork()
        .restart_window(Some(MINUTE))
        .restart(Restart::Always)
        .ready_timeout("120s")
        .heartbeat_timeout(3 * MINUTE)
        .max_lifetime("240000ms")
        .max_memory("5000000")
        .reload("exclusive");
    assert_eq!(life(&settings(&[], same).0), EVERYTHING);
    assert_eq!(settings(&[], prefork().max_memory("2GiB")).0.max_memory, Some(2 << 30));
    assert_eq!(settings(&[], prefork().max_memory(Some(2 << 30))).0.max_memory, Some(2 << 30));
}

#[test]
fn the_environment_says_better_how_a_worker_lives() {
    let variables = [
        ("RESTART_WINDOW", "1m"),
        ("RESTART", "always"),
        ("READY_TIMEOUT", "2m"),
        ("HEARTBEAT_TIMEOUT", "3m"),
        ("MAX_LIFETIME", "4m"),
        ("MAX_MEMORY", "5000000"),
        ("RELOAD", "exclusive"),
    ];
    assert_eq!(life(&settings(&variables, prefork().ready_timeout("1h")).0), EVERYTHING);
    let defaults = [
        ("RESTART_WINDOW", "none"),
        ("RESTART", "on-failure"),
        ("READY_TIMEOUT", "none"),
        ("HEARTBEAT_TIMEOUT", "none"),
        ("MAX_LIFETIME", "none"),
        ("MAX_MEMORY", "none"),
        ("RELOAD", "overlap"),
    ];
    let (settings, warnings) = settings(&defaults, everything());
    assert_eq!(life(&settings), DEFAULT);
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn many_workers_have_more_restarts_by_default() {
    let restarts = |variables: &[(&str, &str)], code| settings(variables, code).0.max_restarts;
    for (workers, max_restarts) in [(1, 100), (10, 100), (11, 110), (128, 1280)] {
        assert_eq!(restarts(&[], prefork().workers(workers)), Some(max_restarts));
        let text = workers.to_string();
        assert_eq!(restarts(&[("WORKERS", &text)], prefork().workers(2)), Some(max_restarts));
    }
    assert_eq!(restarts(&[], prefork().workers(128).max_restarts(100)), Some(100), "what is given is taken");
    assert_eq!(restarts(&[("MAX_RESTARTS", "7")], prefork().workers(128)), Some(7));
    assert_eq!(restarts(&[], prefork().workers(128).max_restarts("unlimited")), None);
}

/// As the grammar accepts all that some system has room for.
#[test]
fn a_path_that_this_system_has_no_room_for_is_refused_at_the_start() {
    let check = |length: usize| {
        let mut settings = settings(&[], prefork().listen("127.0.0.1:0, unix:/run/app.sock")).0;
        let Place::Unix(unix) = &mut settings.listen[1].place else { panic!("a path") };
        unix.path = format!("/{}", "x".repeat(length - 1));
        settings.check_paths()
    };
    assert!(check(103).is_ok());
    assert_eq!(check(107).is_ok(), cfg!(any(target_os = "linux", target_os = "android")));
    let why = check(108).expect_err("no system has room for it").to_string();
    assert!(why.starts_with("listen: ") && why.contains("has 108 bytes"), "{why}");
}

#[test]
fn a_user_that_is_refused_is_named_with_where_it_was_given() {
    let code = || prefork().user("app").group(Some("7"));
    let own = settings(&[], code()).0;
    let (user, group) = (own.user_account().expect("a user"), own.group_account().expect("a group"));
    assert_eq!((user.name.as_str(), user.number(), group.number()), ("app", None, Some(7)));
    assert_eq!(user.refuse("why".to_owned()).to_string(), "user: why");
    let theirs = settings(&[("USER", "web"), ("GROUP", "none")], code()).0;
    let why = theirs.user_account().expect("a user").refuse("why".to_owned()).to_string();
    assert_eq!(why, "environment variable PREFORK_USER: why");
    assert!(theirs.group_account().is_none());
    assert!(settings(&[], prefork().user(None).group("none")).0.user.is_none());
    assert_eq!(prefork().group("a b").error.expect("an error").to_string().find("group: "), Some(0));
}

#[test]
fn a_protection_that_the_environment_takes_away_is_named() {
    let (settings_of, warnings) = settings(&[("NO_NEW_PRIVS", "false")], prefork().no_new_privs(true));
    assert!(!settings_of.no_new_privs);
    assert!(matches!(&warnings[..], [one] if one.contains("PREFORK_NO_NEW_PRIVS=false")), "{warnings:?}");
    for (variables, code) in
        [(&[("NO_NEW_PRIVS", "true")][..], false), (&[("NO_NEW_PRIVS", "false")], false), (&[], true)]
    {
        assert_eq!(settings(variables, prefork().no_new_privs(code)).1, [""; 0], "{variables:?} over {code}");
    }
}

#[test]
fn the_environment_introduces_no_ready_timeout() {
    for code in [prefork(), prefork().ready_timeout(None)] {
        let (settings, warnings) = settings(&[("READY_TIMEOUT", "30s")], code);
        assert_eq!(settings.ready_timeout, None);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("PREFORK_READY_TIMEOUT is ignored"), "{warnings:?}");
    }
    assert_eq!(settings(&[("READY_TIMEOUT", "none")], prefork()).1, [""; 0]);
    assert!(environment(&[]).read_one("PREFORK_READY_TIMEOUT", "0s").is_err());
}

#[test]
fn the_command_line_wins_over_the_environment_and_a_line_says_so() {
    let all = |code: Prefork| {
        let variables = [("WORKERS", "3"), ("GRACEFUL_TIMEOUT", "1s"), ("REUSE_PORT", "true"), ("LISTEN", "*:1")];
        let (Settings { workers, graceful_timeout, reuse_port, listen, .. }, warnings) = settings(&variables, code);
        let listen: Vec<String> = listen.iter().map(ToString::to_string).collect();
        ((workers, graceful_timeout.as_secs(), reuse_port, listen.join(",")), warnings)
    };
    let code = || prefork().workers(2).graceful_timeout("2s").reuse_port(false).listen("*:2");
    assert_eq!(all(code()), ((3, 1, true, "*:1".to_owned()), Vec::new()));
    let given = code()
        .workers(CommandLine(Some(4)))
        .graceful_timeout(CommandLine("4s".to_owned()))
        .reuse_port(CommandLine(false))
        .listen(CommandLine(&vec!["*:4".to_owned()]));
    let (values, warnings) = all(given);
    assert_eq!(values, (4, 4, false, "*:4".to_owned()));
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    let line = "environment variable PREFORK_WORKERS is ignored: the command line sets workers, and wins over the \
                environment";
    assert!(warnings.iter().any(|warning| warning == line), "{warnings:?}");
    let absent = code()
        .workers(CommandLine(None::<usize>))
        .graceful_timeout(CommandLine(&None::<String>))
        .reuse_port(CommandLine(None))
        .listen(CommandLine(Vec::<String>::new()));
    assert_eq!(all(absent), ((3, 1, true, "*:1".to_owned()), Vec::new()));
}

#[test]
fn the_last_call_of_a_method_decides() {
    let workers = |code| settings(&[("WORKERS", "3")], code).0.workers;
    assert_eq!(workers(prefork().workers(CommandLine(4)).workers(5)), 3);
    assert_eq!(workers(prefork().workers(5).workers(CommandLine(4))), 4);
    let max_restarts = |code| settings(&[], code).0.max_restarts;
    assert_eq!(max_restarts(prefork().max_restarts(4).max_restarts(None)), max_restarts(prefork()));
}

#[test]
fn none_leaves_an_option_at_its_default() {
    let nothing = prefork()
        .workers(None)
        .max_restarts(None)
        .graceful_timeout(None)
        .backoff(None)
        .restart(None)
        .reload(None)
        .reuse_port(None)
        .listen(&None::<String>);
    let (given, default) = (settings(&[], nothing).0, settings(&[], prefork()).0);
    assert_eq!((given.workers, given.max_restarts), (default.workers, default.max_restarts));
    assert_eq!((given.graceful_timeout, given.backoff), (default.graceful_timeout, default.backoff));
    assert_eq!((given.restart, given.reload), (default.restart, default.reload));
    assert_eq!((given.reuse_port, given.listen), (default.reuse_port, default.listen));
}

#[test]
fn a_protection_that_the_command_line_keeps_is_kept() {
    let (kept, warnings) = settings(&[("NO_NEW_PRIVS", "false")], prefork().no_new_privs(CommandLine(true)));
    assert!(kept.no_new_privs);
    assert!(matches!(&warnings[..], [one] if one.contains("PREFORK_NO_NEW_PRIVS is ignored")), "{warnings:?}");
}
