use super::*;

fn parse(tokens: TokenStream) -> (Args, Vec<String>) {
    let mut errors = Vec::new();
    let args = Args::parse(tokens, &mut errors);
    (args, errors.iter().map(ToString::to_string).collect())
}

fn accepted(tokens: TokenStream) -> Args {
    let (args, errors) = parse(tokens);
    assert!(errors.is_empty(), "{errors:?}");
    args
}

#[test]
fn calls_keep_the_order_and_the_expressions() {
    let args = accepted(quote!(max_restarts = f::<A, B>(), crate = a::b, workers = -N, preload = load, backoff = x,));
    let calls: Vec<String> =
        args.calls.iter().map(|(name, value)| format!("{name}={}", value.to_token_stream())).collect();
    assert_eq!(calls, ["max_restarts=f :: < A , B > ()", "workers=- N", "backoff=x"]);
    assert_eq!(args.runtime.to_token_stream().to_string(), "a :: b");
    assert!(args.preload.is_some());
}

#[test]
fn literals_are_accepted_as_the_environment_accepts_them() {
    accepted(quote!(workers = 0, max_restarts = "unlimited", graceful_timeout = "5m", backoff = "0s"));
    accepted(quote!(workers = "auto", max_restarts = 4usize));
    accepted(quote!(workers = (0x10), max_restarts = 1_000));
    accepted(quote!(max_memory = 536_870_912u64, restart = "always", reload = ("exclusive"), max_lifetime = "1h"));
    accepted(quote!(max_memory = "512MiB", restart_window = "10m", ready_timeout = "30s"));
    accepted(quote!(
        restart_window = "none",
        ready_timeout = None,
        heartbeat_timeout = "none",
        max_lifetime = None,
        max_memory = "none"
    ));
    accepted(quote!(user = "nobody", group = None));
    accepted(quote!(user = "65534", group = group_of(site)));
    accepted(quote!(reuse_port = true));
    accepted(quote!(reuse_port = (false)));
    accepted(quote!(reuse_port = cfg!(target_os = "linux")));
    accepted(quote!(no_new_privs = true));
    accepted(quote!(huge_pages = false));
    accepted(quote!(no_new_privs = !cfg!(debug_assertions)));
    accepted(quote!(crate = "::a::b"));
}

#[test]
fn addresses_are_known_where_literals_show_them() {
    let count = |tokens| accepted(tokens).addresses.map(|addresses| addresses.len());
    assert_eq!(count(quote!()), None);
    assert_eq!(count(quote!(listen = "none")), Some(0));
    assert_eq!(count(quote!(listen = "127.0.0.1:1")), Some(1));
    assert_eq!(count(quote!(listen = ["127.0.0.1:1, a=udp:127.0.0.1:2", "unix:/run/app.sock"])), Some(3));
    assert_eq!(count(quote!(listen = ["127.0.0.1:1", address()])), None);
    assert_eq!(count(quote!(listen = address())), None);
}

#[test]
fn what_messages_show_is_accepted() {
    for Row { name, example, .. } in OPTIONS {
        let tokens = format!("{name} = {example}").parse().expect("tokens");
        accepted(tokens);
    }
}

#[test]
fn every_mistake_is_one_error() {
    for (tokens, mistakes) in [
        (quote!(4, workers, max_restarts =, backoff: "1s", listen("a"), workers = 1), 6),
        (quote!(,), 1),
        (quote!(= 4), 1),
        (quote!(workers == 4), 1),
        (quote!(workers = 4 5, backoff = 6), 2),
        (quote!(workers = 4 backoff = "1s" listen = "none"), 2),
        (quote!(workers = 1..), 0),
        (quote!(listen = ["a", "b", ["c", -1]]), 4),
        (quote!(listen = ["a=127.0.0.1:1", "b=127.0.0.1:2", "a=127.0.0.1:3"]), 1),
        (quote!(listen = "a=127.0.0.1:1, a=127.0.0.1:2"), 1),
        (quote!(unknown, unknwon = , other(4), another = f(1, 2)), 4),
        (quote!(workers = 4i32, max_restarts = 4u64, graceful_timeout = 30u64), 3),
        (quote!(workers = 4u64, max_memory = 512MiB, ready_timeout = 30s, restart = always()), 3),
        (quote!(restart_window = "0s", ready_timeout = "0s", heartbeat_timeout = "99ms", max_lifetime = "0s"), 4),
        (quote!(restart = "never", reload = true, max_memory = 512, heartbeat_timeout = "501h"), 4),
        (quote!(restart_window = 30, ready_timeout = 1.5, heartbeat_timeout = "soon", max_memory = -1), 4),
        (quote!(user = "", group = "a b", user = "twice"), 3),
        (quote!(user = 65534, group = true), 2),
        (quote!(reuse_port = "true"), 1),
        (quote!(reuse_port = 1), 1),
        (quote!(no_new_privs = "true"), 1),
        (quote!(no_new_privs = 1), 1),
        (quote!(huge_pages = "false"), 1),
        (quote!(reuse_port = yes(), reuse_port = false), 1),
        (quote!(user = "nobody:nogroup", group = "4294967295"), 2),
        (quote!(graceful_timeout = 30s, backoff = 100ms..1s, max_restarts = 1..4), 3),
        (quote!(listen = &["a"], preload = (load())), 2),
        (quote!(workers = 'a', max_restarts = b"a", backoff = 1.5), 3),
        (quote!(preload = || (), crate = "a b"), 2),
    ] {
        let (_, errors) = parse(tokens.clone());
        assert_eq!(errors.len(), mistakes, "{tokens}: {errors:#?}");
    }
}

#[test]
fn a_number_has_the_type_of_its_option() {
    let (_, errors) = parse(quote!(workers = 4u64, max_restarts = 4i32, max_memory = 536_870_912usize));
    assert_eq!(
        errors,
        [
            "workers: expected a `usize`, found a `u64`: write `4`",
            "max_restarts: expected a `usize`, found an `i32`: write `4`",
            "max_memory: expected a `u64`, found a `usize`: write `536870912`",
        ]
    );
}

/// Whatever system the compiler runs on.
#[test]
fn a_path_is_refused_that_no_target_has_room_for() {
    let mistakes = |length: usize| {
        let listen = format!("unix:/{}", "x".repeat(length - 1));
        parse(quote!(listen = #listen)).1.len()
    };
    assert_eq!((mistakes(103), mistakes(107), mistakes(108)), (0, 0, 1));
}

/// No option takes them yet. `nice = -5` would.
#[test]
fn negative_literals_are_numbers() {
    let nice: Check = |text| match text.parse() {
        Ok(-20..=19) => Ok(()),
        _ => Err(format!("{text} is not from -20 to 19")),
    };
    let check = |tokens: TokenStream| {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let (value, _) = syntax::read_expression(&tokens).expect("an expression");
        check_literal(&value, Literal::Number("i32"), nice)
    };
    for good in [quote!(-5), quote!(5), quote!((-5i32)), quote!("-5"), quote!(-(5)), quote!(-N)] {
        assert_eq!(check(good), Ok(()));
    }
    for (bad, why) in [
        (quote!(-21), "-21 is not from -20 to 19"),
        (quote!(-5i64), "expected an `i32`, found an `i64`: write `-5`"),
        (quote!(-5u32), "expected an `i32`, found a `u32`: write `-5`"),
        (quote!(-1.5), "-1.5 is not from -20 to 19"),
    ] {
        assert_eq!(check(bad), Err(why.to_owned()));
    }
}

#[test]
fn a_umask_is_written_in_quotes() {
    accepted(quote!(umask = "027"));
    accepted(quote!(umask = None));
    for digits in ["27", "027", "0o27"] {
        let tokens = format!("umask = {digits}").parse().expect("tokens");
        assert_eq!(parse(tokens).1, [format!("umask: write it in quotes: \"{digits}\"")]);
    }
    for (value, text) in [("user = 0u32", "0"), ("umask = 027u32", "027"), ("user = 0o17u8", "0o17")] {
        let (_, errors) = parse(value.parse().expect("tokens"));
        assert!(matches!(&errors[..], [one] if one.ends_with(&format!("write it in quotes: {text:?}"))), "{errors:?}");
    }
    for (value, text) in [("graceful_timeout = 0x10", "\"16\""), ("umask = -027", "\"-27\"")] {
        let (_, errors) = parse(value.parse().expect("tokens"));
        assert!(matches!(&errors[..], [one] if one.contains(text)), "{errors:?}");
    }
    for wrong in [quote!(umask = -1), quote!(umask = 89), quote!(umask = 0o1000), quote!(umask = "u=rwx")] {
        let (_, errors) = parse(wrong);
        assert!(errors.len() == 1 && errors[0].contains("is not an octal number up to 777"), "{errors:?}");
    }
}

#[test]
fn a_negative_number_that_makes_no_sense_is_an_error_about_the_value() {
    let (_, errors) = parse(quote!(
        workers = -1,
        graceful_timeout = -5,
        max_memory = -1,
        user = -1,
        restart = -1,
        reuse_port = -1,
        listen = -1
    ));
    assert_eq!(errors.len(), 7, "{errors:#?}");
    for error in errors {
        assert!(error.contains("-1") || error.contains("-5"), "{error}");
        assert!(!error.contains("in quotes"), "{error}");
    }
}

#[test]
fn a_misspelt_option_counts_as_given() {
    let (args, errors) = parse(quote!(lisetn = "127.0.0.1:1"));
    assert!(args.gives("listen") && !args.gives("preload"));
    assert!(errors[0].contains("did you mean `listen`?"));
    assert_eq!(parse(quote!(lisetn = "127.0.0.1:1", listen = "127.0.0.1:1")).1.len(), 1);
}

/// The errors of tokens as they are written.
fn errors_of(tokens: &str) -> Vec<String> {
    parse(tokens.parse().expect("tokens")).1
}

#[test]
fn an_option_is_named_with_underscores() {
    assert_eq!(
        errors_of("graceful-timeout = 30, max-restart = 4, r#max-restarts = 4, workers = A-B, keep-alive = 1"),
        [
            "write `graceful_timeout`: the names of options have underscores",
            "unknown option `max-restart`: did you mean `max_restarts`?",
            "unknown option `r#max-restarts`: did you mean `max_restarts`?",
            "unknown option `keep-alive`: it belongs to the server that runs in the body of `main`",
        ]
    );
    assert!(parse(quote!(reuse - port = true)).0.gives("reuse_port"));
}

#[test]
fn text_without_quotes_is_one_error_that_shows_the_quotes() {
    for (option, text) in [
        ("listen", "127.0.0.1:8080"),
        ("listen", "localhost:8080"),
        ("listen", "*:8080"),
        ("listen", ":8080"),
        ("listen", "[::1]:8080"),
        ("listen", "admin=127.0.0.1:8080"),
        ("listen", "udp:127.0.0.1:53"),
        ("listen", "unix:/run/app.sock"),
        ("listen", "none"),
        ("workers", "auto"),
        ("max_restarts", "unlimited"),
        ("restart", "always"),
        ("restart", "on-failure"),
        ("reload", "exclusive"),
        ("user", "www-data"),
        ("umask", "none"),
        ("backoff", "100ms..1s"),
        ("graceful_timeout", "5s"),
    ] {
        let mut errors = Vec::new();
        let args = Args::parse(format!("{option} = {text}, workers = 4").parse().expect("tokens"), &mut errors);
        errors.extend(args.words(|_| false).cloned());
        errors.retain(|error| !error.to_string().contains("given twice"));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, [format!("{option}: write it in quotes: {text:?}")]);
    }
    assert_eq!(errors_of("max_memory = 512 MiB"), ["max_memory: write it in quotes: \"512MiB\""]);
    assert_eq!(
        errors_of("listen = 127.0.0.1"),
        ["listen: \"127.0.0.1\" has no port: write for example \"127.0.0.1:8080\""]
    );
    assert_eq!(errors_of("graceful_timeout = 30 seconds").len(), 1);
    assert_eq!(
        errors_of("listen = [\"127.0.0.1:80\", localhost:81, 127.0.0.1:82]"),
        ["listen: write it in quotes: \"localhost:81\""],
        "an error that has another with it"
    );
}

#[test]
fn a_word_that_is_a_name_is_a_name() {
    let args = accepted(quote!(workers = auto, restart = sometimes, user = nobody, max_memory = none.size));
    assert_eq!(args.words(|_| false).count(), 1);
    assert_eq!(args.words(|word| word == "auto").count(), 0);
    assert_eq!(args.calls.len(), 4);
}

#[test]
fn an_expression_is_no_text() {
    for tokens in [
        "workers = a - b",
        "max_lifetime = LONGEST - SHORTEST",
        "max_memory = limits.memory",
        "listen = cli.listen",
        "listen = if a { b } else { c }",
        "user = user",
        "graceful_timeout = 4 * timeout",
        "workers = (0..4).len()",
        "workers = match || -> Option<usize> { Some(a?) } { f => f().unwrap_or(1) }",
    ] {
        assert_eq!(errors_of(tokens), [""; 0], "{tokens}");
    }
}

#[test]
fn words_of_other_programs_count_as_what_they_mean() {
    for (tokens, option, says) in [
        ("bind = \"127.0.0.1:80\"", "listen", "unknown option `bind`: did you mean `listen`?"),
        ("port = 8080", "listen", "a port belongs to an address of `listen`"),
        ("processes = 4", "workers", "did you mean `workers`?"),
        ("preload_app = load", "preload", "did you mean `preload`?"),
        ("graceful = 5", "graceful_timeout", "did you mean `graceful_timeout`?"),
        ("where_to = \"localhost:8080\"", "listen", "did you mean `listen`?"),
        ("worker_threads = 4", RUNTIME, "`#[tokio::main(worker_threads = 2)]` below `#[prefork]`"),
        (
            "tokio::main",
            RUNTIME,
            "this is no option: write `#[tokio::main]` as an attribute of its own, below `#[prefork]`",
        ),
    ] {
        let (args, errors) = parse(tokens.parse().expect("tokens"));
        assert!(matches!(&errors[..], [one] if one.contains(says)), "{errors:?}");
        assert_eq!(args.gives(option), !tokens.starts_with("worker_threads"), "{tokens}");
    }
    assert_eq!(errors_of("daemon = true, pidfile = \"a\", timeout = 30, keepalive = 5, max_requests = 1000").len(), 5);
    assert!(errors_of("colour = \"blue\"")[0].contains("(options: workers, listen,"));
}

#[test]
fn an_error_cannot_leave_an_option() {
    for tokens in ["workers = count()?", "workers = f(count()?)", "listen = [address()?]"] {
        let errors = errors_of(tokens);
        assert!(matches!(&errors[..], [one] if one.contains("by `?`")), "{errors:?}");
    }
}

#[test]
fn restart_is_never_by_its_budget() {
    for word in ["\"never\"", "\"no\"", "false"] {
        let errors = errors_of(&format!("restart = {word}"));
        assert!(matches!(&errors[..], [one] if one.contains("set max_restarts to 0")), "{errors:?}");
    }
}

/// `$value` of a macro is a group without delimiters, whose place is the macro.
#[test]
fn a_value_that_a_macro_passes_on_is_read_through_its_group() {
    let passed = |value: &str| {
        let value = proc_macro2::Group::new(Delimiter::None, value.parse().expect("tokens"));
        parse(quote!(workers = #value)).1
    };
    assert_eq!(passed("4"), [""; 0]);
    assert_eq!(passed("\"four\""), ["workers: \"four\" is not a whole number or \"auto\""]);
}

#[test]
fn an_option_that_a_macro_passes_on_is_read_through_its_group() {
    let option = |option: &str| proc_macro2::Group::new(Delimiter::None, option.parse().expect("tokens"));
    let (one, two, nothing) = (option("workers = 4"), option("max-restarts = 5"), option(""));
    let (args, errors) = parse(quote!(#one, max_memory = "1GiB", #two, #nothing));
    assert_eq!(errors, ["write `max_restarts`: the names of options have underscores"]);
    assert!(args.gives("workers") && args.gives("max_memory") && args.gives("max_restarts"));
}
