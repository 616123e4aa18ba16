use proc_macro2::TokenTree;

use super::*;

/// The expansion without its spaces.
fn expanded(args: TokenStream, item: TokenStream) -> String {
    expand(args, item).to_string().replace(' ', "")
}

fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { panic!("{part} is not in {rest}, of {text}") };
        rest = after;
    }
}

#[test]
fn statements_come_in_the_promised_order() {
    let text = expanded(
        quote!(workers = a(), preload = load, listen = b()),
        quote!(
            fn main(listener: TcpListener, config: &Config, #[cfg(unix)] id: usize) -> R {
                body()
            }
        ),
    );
    assert_in_order(
        &text,
        &[
            "fnmain()->::std::process::ExitCode{",
            "fnmain()->R{letlistener:TcpListener=",
            "letconfig:&Config=(__prefork_rt::__private::lent_by(load)).lend();",
            "#[cfg(unix)]letid:usize=",
            "body()}",
            "Prefork::new();",
            "preloaded(load).run(__prefork)",
            ".workers(a());",
            ".listen(b());",
            "argument_of::<TcpListener>().needs(__prefork);",
            "#[cfg(unix)]let__prefork=__prefork_rt::__private::argument_of::<usize>().needs(__prefork);",
            "__prefork_rt::__private::run(__prefork,main)}",
        ],
    );
}

#[test]
fn options_have_what_preload_returned_by_the_name_of_its_argument() {
    let bindings = |args: TokenStream, item: TokenStream| {
        let text = expanded(args, item);
        assert!(!text.contains("compile_error!"), "{text}");
        let (_, outer) = text.split_once("Prefork::new();").expect("the builder");
        let (_, before) = outer.split_once("__code,};").expect("preload");
        let (before, _) = before.split_once("let__prefork=__prefork.workers").expect("the option");
        (before.to_owned(), text.matches("use_once(").count())
    };
    let main = || {
        quote!(
            fn main(cli: &Cli, other: &Cli) {}
        )
    };
    let binding = "letcli:&Cli=(__prefork_rt::__private::lent_by(load)).lend();";
    let used = format!("{binding}__prefork_rt::__private::use_once(cli);");
    assert_eq!(bindings(quote!(workers = f(|| cli.workers), preload = load), main()), (used.clone(), 2));
    assert_eq!(bindings(quote!(preload = load, workers = format!("{cli}")), main()), (used, 2));
    assert_eq!(bindings(quote!(preload = load, workers = f()), main()), (String::new(), 0));
    for (args, item, before) in [
        (
            quote!(preload = load, workers = r#type.0),
            quote!(
                fn main(#[cfg(x)] mut r#type: &'static Cli, id: usize) {}
            ),
            "#[cfg(x)]letr#type:&'staticCli=(__prefork_rt::__private::lent_by(load)).lend();\
             #[cfg(x)]__prefork_rt::__private::use_once(r#type);",
        ),
        (
            quote!(preload = load, workers = id),
            quote!(
                fn main(Cli { id, .. }: &Cli) {}
            ),
            "",
        ),
        (
            quote!(preload = load, workers = id),
            quote!(
                fn main(id @ Cli { .. }: &Cli) {}
            ),
            "",
        ),
        (
            quote!(preload = load, workers = id),
            quote!(
                fn main(id: usize, _: &Cli) {}
            ),
            "",
        ),
    ] {
        assert_eq!(bindings(args, item).0, before);
    }
    let underscored = bindings(
        quote!(preload = load, workers = _cli),
        quote!(
            fn main(_cli: &Cli) {}
        ),
    );
    assert_eq!(underscored, ("let_cli:&Cli=(__prefork_rt::__private::lent_by(load)).lend();".to_owned(), 0));
}

#[test]
fn preload_without_an_argument_returns_nothing() {
    assert!(
        expanded(
            quote!(preload = load),
            quote!(
                fn main() {}
            )
        )
        .contains(".run_unit(__prefork)")
    );
}

#[test]
fn attributes_of_the_function_and_of_its_body_stay_with_them() {
    let text = expanded(
        quote!(),
        quote!(
            #[doc = "Serves."]
            #[tokio::main]
            async fn main(id: usize) {
                #![allow(unused)]
                body()
            }
        ),
    );
    let inner = "#[doc=\"Serves.\"]#[tokio::main]asyncfnmain(){#![allow(unused)]letid";
    assert_in_order(&text, &["#[doc=\"Serves.\"]fnmain()->", inner]);
    assert_eq!(text.matches("tokio").count(), 1);
}

#[test]
fn nothing_of_ours_is_unsafe() {
    let everything = [
        expand(
            quote!(crate = a, workers = 1, max_restarts = 2, backoff = "1s", listen = "127.0.0.1:1", preload = load),
            quote!(
                #[tokio::main]
                pub async fn main(a: usize, _: Worker, b: TcpListener, c: &C, d: &'static C, (e, f): E) -> R {}
            ),
        ),
        expand(
            quote!(),
            quote!(
                fn main() -> ! {}
            ),
        ),
        expand(
            quote!(4),
            quote!(
                fn main() {}
            ),
        ),
        expand(
            quote!(),
            quote!(
                fn other() {}
            ),
        ),
        expand(
            quote!(),
            quote!(
                struct Other;
            ),
        ),
    ];
    for expansion in everything {
        assert!(!mentions_unsafe(&expansion), "{expansion}");
    }
}

fn mentions_unsafe(tokens: &TokenStream) -> bool {
    tokens.clone().into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions_unsafe(&group.stream()),
        TokenTree::Ident(ident) => ident == "unsafe",
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

#[test]
fn mistakes_of_attribute_and_signature_come_together_and_call_nothing() {
    let text = expanded(
        quote!(workers = "four", colour = 1),
        quote!(
            const unsafe extern "C" fn main<T>(a: usize, b: u32, c: impl Copy) -> R
            where
                T: Copy,
            {
                body()
            }
        ),
    );
    assert_eq!(text.matches("compile_error!").count(), 9, "{text}");
    assert!(text.contains("body()") && !text.contains("__prefork_rt"), "{text}");
    assert!(
        text.ends_with("fnmain(){#[allow(unused)]unsafefnmain<T>(a:usize,b:u32,c:implCopy)->RwhereT:Copy,{body()}}")
    );
}

#[test]
fn inert_attributes_are_no_runtime() {
    let errors = |item| expanded(quote!(), item).matches("compile_error!").count();
    assert_eq!(
        errors(quote!(
            #[allow(x)]
            #[doc = "x"]
            #[cfg(x)]
            #[must_use]
            #[inline]
            async fn main() {}
        )),
        1
    );
    assert_eq!(
        errors(quote!(
            #[cfg_attr(x, tokio::main)]
            async fn main() {}
        )),
        0
    );
    assert_eq!(
        errors(quote!(
            #[tokio::main]
            async fn main() {}
        )),
        0
    );
}

#[test]
fn arguments_under_cfg_are_left_to_the_run() {
    let item = quote!(
        fn main(#[cfg(a)] x: usize, #[cfg(not(a))] x: u32, #[cfg(b)] l: TcpListener) {}
    );
    assert!(!expanded(quote!(), item).contains("compile_error!"));
}

/// The texts of the errors that the expansion has.
fn refused(args: TokenStream, item: TokenStream) -> Vec<String> {
    let text = expand(args, item).to_string();
    let parts = text.split("compile_error ! {").skip(1);
    parts.map(|part| part.split_once('}').expect("an end").0.trim().trim_matches('"').to_owned()).collect()
}

#[test]
fn what_preload_returned_is_taken_by_reference_and_one_error_says_so() {
    let item = |ty: TokenStream| quote!(fn main(cli: #ty) {});
    for (args, ty, says) in [
        (
            quote!(preload = load),
            quote!(Arc<Config>),
            "is lent to every worker: write `&Config` instead of `Arc<Config>`",
        ),
        (quote!(preload = load), quote!(std::sync::Arc<Mutex<u8>>), "write `&Mutex<u8>` instead of `std::sync::Arc<"),
        (quote!(preload_app = load), quote!(Box<Config>), "did you mean `preload`?"),
        (quote!(), quote!(Rc<Config>), "comes from `preload = path::to::function`, and is lent as `&Config`"),
        (
            quote!(preload = load, workers = cli.workers),
            quote!(cli::Args),
            "is lent to every worker: write `&cli::Args`",
        ),
        (quote!(preload = load, workers = (&cli.workers)), quote!(Option<Args>), "write `&Option<Args>`"),
    ] {
        let errors = refused(args, item(ty));
        assert!(errors.iter().any(|error| error.contains(says)), "{errors:?}");
        assert!(errors.len() == 1 || errors[0].contains("did you mean"), "{errors:?}");
    }
    for (args, ty) in [
        (quote!(preload = load, workers = cli()), quote!(Args)),
        (quote!(preload = load, workers = a.cli.b), quote!(Args)),
        (quote!(workers = cli.workers), quote!(Args)),
        (quote!(preload = load, workers = cli.workers), quote!(Worker)),
    ] {
        assert_eq!(refused(args, item(ty)), [""; 0]);
    }
}

#[test]
fn one_mistake_in_the_signature_is_one_error() {
    for (args, item, says) in [
        (
            quote!(preload = load),
            quote!(
                fn main<'a>(cli: &'a Cli<'a>) {}
            ),
            "remove the lifetimes",
        ),
        (
            quote!(),
            quote!(
                fn run(&self) {}
            ),
            "not on a method",
        ),
        (
            quote!(),
            quote!(
                async fn serve() {}
            ),
            "goes on `main`",
        ),
        (
            quote!(),
            quote!(
                #[rocket::launch]
                fn rocket() -> _ {}
            ),
            "`#[launch]` writes a `main` of its own",
        ),
        (
            quote!(tokio::main),
            quote!(
                async fn main() {}
            ),
            "as an attribute of its own",
        ),
        (
            quote!(listen = "*:1"),
            quote!(
                fn main(a: &[TcpListener]) {}
            ),
            "given as a `Vec`",
        ),
        (
            quote!(),
            quote!(
                fn main(a: &Vec<UdpSocket>) {}
            ),
            "passed by value",
        ),
        (
            quote!(),
            quote!(
                fn main(a: &prefork_rt::Shutdown) {}
            ),
            "passed by value",
        ),
        (
            quote!(bind = "*:1"),
            quote!(
                fn main(a: TcpListener) {}
            ),
            "did you mean `listen`?",
        ),
        (
            quote!(port = 1),
            quote!(
                fn main(a: TcpListener) {}
            ),
            "a port belongs to",
        ),
        (
            quote!(listen = *:80),
            quote!(
                fn main(a: TcpListener) {}
            ),
            "in quotes",
        ),
    ] {
        let errors = refused(args, item);
        assert!(matches!(&errors[..], [one] if one.contains(says)), "{errors:?}");
    }
}

/// rustc reports it, in the signature as it is written.
#[test]
fn a_name_that_is_given_twice_is_left_to_rustc() {
    let text = expanded(
        quote!(),
        quote!(
            fn main(a: usize, a: Worker) {}
        ),
    );
    assert!(text.ends_with("#[allow(unused)]fnmain(a:usize,a:Worker){}}") && !text.contains("compile_error"), "{text}");
    let both = quote!(
        fn main(#[cfg(a)] a: usize, #[cfg(not(a))] a: u32) {}
    );
    assert!(expanded(quote!(), both).contains("__private::run"));
}

#[test]
fn a_value_of_preload_that_may_be_an_argument_by_value_is_one_mistake() {
    let text = |item| expanded(quote!(preload = load), item);
    assert!(
        text(quote!(
            fn main(cli: Cli) {}
        ))
        .contains(".run(__prefork)")
    );
    for item in [
        quote!(
            fn main(a: Worker, b: prefork_rt::Shutdown) {}
        ),
        quote!(
            fn main(id: usize) {}
        ),
    ] {
        assert!(text(item).contains(".run_unit(__prefork)"));
    }
}
