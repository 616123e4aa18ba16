//! What the item is, and what `#[prefork]` demands of its signature: every mistake in it.
//!
//! It must not know what becomes of it.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;

use crate::args::{Args, RUNTIME};
use crate::error::Error;
use crate::grammar;
use crate::syntax::{Argument, Attribute, Cursor, Main, Path, Signature, Type, TypeForm};

impl Main {
    pub(crate) fn without_second_attribute(mut self, errors: &mut Vec<Error>) -> Self {
        self.attrs.retain(|attr| {
            let second = attr.is_named("prefork");
            if second {
                errors.push(Error::new_spanned(attr, "`#[prefork]` is given twice: keep one, with all the options"));
            }
            !second
        });
        self
    }
}

/// Adds one error for each mistake in the signature; some depend on what the attribute says.
pub(crate) fn check(main: &Main, args: &Args, errors: &mut Vec<Error>) {
    check_qualifiers(main, args, errors);
    check_arguments(main, args, errors);
}

fn check_qualifiers(main: &Main, args: &Args, errors: &mut Vec<Error>) {
    let Signature { constness, asyncness, unsafety, abi, ident, generics, receiver, variadic, where_clause, .. } =
        &main.sig;
    // A part that is not there has no tokens.
    let mut refuse = |at: &dyn ToTokens, message: &str| {
        if !at.to_token_stream().is_empty() {
            errors.push(Error::new_spanned(at, message));
        }
    };
    refuse(constness, "`main` cannot be `const`: remove `const`");
    let is_ours = ident == "main" && receiver.is_empty();
    if is_ours && main.attrs.iter().all(is_inert) && !args.gives(RUNTIME) {
        let advice = "put the runtime's attribute, for example `#[tokio::main]`, below `#[prefork]`";
        refuse(asyncness, &format!("`async fn main` needs an async runtime: {advice}"));
    }
    refuse(unsafety, "`main` cannot be `unsafe`: remove `unsafe`, and use `unsafe { … }` in the body");
    refuse(abi, "`main` has Rust's own ABI: remove `extern`");
    if let Some(launch) = main.attrs.iter().find(|attr| attr.is_named("launch")) {
        let advice = "write `#[rocket::main] async fn main()`, and `.launch().await` in its body";
        refuse(launch, &format!("`#[launch]` writes a `main` of its own, which `#[prefork]` cannot enter: {advice}"));
    } else if ident != "main" && receiver.is_empty() {
        let advice =
            format!("to run another function in the workers, write `Prefork::new().run(|_| {ident}())` in `main`");
        refuse(ident, &format!("`#[prefork]` goes on `main`: {advice}"));
    }
    if !main.sig.parameters().is_empty() {
        let advice = match main.sig.has_only_lifetimes() {
            true => "remove the lifetimes: what `preload` returned lives as long as the worker, and is lent as `&T`",
            false => "write the types themselves",
        };
        refuse(generics, &format!("`main` cannot be generic: {advice}"));
    }
    refuse(receiver, "`#[prefork]` goes on a function, not on a method: remove `self`, and move `main` out of here");
    refuse(variadic, "`main` cannot be variadic: remove `...`");
    refuse(where_clause, "`main` cannot have a `where` clause: remove it");
}

/// Whether the attribute leaves a function as it is, so that it does not make an `async fn main` run.
pub(crate) fn is_inert(attr: &Attribute) -> bool {
    matches!(
        attr.path.as_str(),
        "allow"
            | "cfg"
            | "cold"
            | "deny"
            | "deprecated"
            | "doc"
            | "expect"
            | "forbid"
            | "inline"
            | "must_use"
            | "rustfmt::skip"
            | "track_caller"
            | "warn"
    )
}

/// Whether the generated `main` has the attribute too.
pub(crate) fn is_shared(attr: &&Attribute) -> bool {
    matches!(attr.path.as_str(), "allow" | "cfg" | "deny" | "doc" | "forbid" | "warn")
}

/// Whether the attribute may remove an argument.
pub(crate) fn is_condition(attr: &&Attribute) -> bool {
    attr.path == "cfg"
}

fn check_arguments(main: &Main, args: &Args, errors: &mut Vec<Error>) {
    let (mut integers, mut listeners) = (0, Vec::new());
    for argument in &main.sig.arguments {
        let Argument { attrs, ty, .. } = argument;
        let mut refuse = |message: &str| errors.push(Error::new_spanned(ty, message));
        match kind(ty) {
            Kind::Opaque => refuse(
                "`impl Trait` cannot be an argument of `main`: write `usize` or `u32` (the task id), \
                 `prefork_rt::Worker`, `prefork_rt::Shutdown`, `std::net::TcpListener`, or `&T` for what `preload` \
                 returned",
            ),
            Kind::Mutable => refuse("what `preload` returned is lent as `&T`: remove `mut`"),
            Kind::Boxed(shared) => refuse(&why_not_boxed(ty, &shared, args)),
            Kind::Lent if !args.gives("preload") => refuse(why_not_lent(ty)),
            // An argument under `cfg` may not be there: what it needs is left to the run.
            _ if attrs.iter().any(|attr| is_condition(&attr)) => {}
            _ if is_preloaded_by_value(argument, args) => {
                refuse(&format!("what `preload` returned is lent to every worker: write `&{}`", written_type(ty)));
            }
            Kind::Integer => {
                integers += 1;
                if integers > 1 {
                    refuse(
                        "two integers would both be the task id: keep one, and ask `Worker::workers()` for the \
                         number of workers",
                    );
                }
            }
            Kind::Listener(kind) | Kind::Listeners(kind) if listeners.contains(&kind) => refuse(&listener_twice(kind)),
            Kind::Listener(kind) => {
                listeners.push(kind);
                why_no_listener(args, kind).iter().for_each(|message| refuse(message));
            }
            Kind::Listeners(kind) => {
                listeners.push(kind);
                let none = args.gives("listen") && listed(args, kind) == Some(0);
                none.then(|| why_no_listener(args, kind)).flatten().iter().for_each(|message| refuse(message));
            }
            Kind::Lent | Kind::Other => {}
        }
    }
}

/// Whether two arguments have one name. The expansion gives them their values one after another, which would hide the
/// first, so rustc must see them as they are.
pub(crate) fn has_a_name_twice(main: &Main) -> bool {
    let arguments = main.sig.arguments.iter();
    let unconditional = arguments.filter(|argument| !argument.attrs.iter().any(|attr| is_condition(&attr)));
    let names: Vec<Ident> = unconditional.filter_map(Argument::plain_name).collect();
    (1..names.len()).any(|index| names[..index].contains(&names[index]))
}

/// Whether the argument is meant to be what `preload` returned, but is no reference: an option uses a field of it.
pub(crate) fn is_preloaded_by_value(argument: &Argument, args: &Args) -> bool {
    let has_field_used = |name: Ident| args.calls.iter().any(|(_, value)| uses_a_field(value.to_token_stream(), &name));
    let is_unknown = matches!(kind(&argument.ty), Kind::Other) && !is_handle(&argument.ty);
    is_unknown && args.gives("preload") && argument.plain_name().is_some_and(has_field_used)
}

/// Whether `name.` is in the tokens.
fn uses_a_field(tokens: TokenStream, name: &Ident) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is_dot = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '.');
    tokens.iter().enumerate().any(|(index, token)| match token {
        TokenTree::Group(group) => uses_a_field(group.stream(), name),
        TokenTree::Ident(ident) => {
            ident == name
                && tokens.get(index + 1).is_some_and(is_dot)
                && !index.checked_sub(1).is_some_and(|before| is_dot(&tokens[before]))
        }
        TokenTree::Punct(_) | TokenTree::Literal(_) => false,
    })
}

fn why_not_lent(ty: &Type) -> &'static str {
    let TypeForm::Reference { target, .. } = &ty.form else { return NOTHING_IS_LENT };
    match &target.form {
        TypeForm::Slice(element) if matches!(kind(element), Kind::Listener(_)) => {
            "listeners are given as a `Vec`: write `Vec<…>` instead of `&[…]`"
        }
        _ if is_passed_by_value(target) => "this is passed by value: remove the `&`",
        _ => NOTHING_IS_LENT,
    }
}

const NOTHING_IS_LENT: &str =
    "`&T` is what `preload` returned: add `preload = path::to::function`, a function that returns the `T`";

/// A pointer to a value of its own is nothing that a worker is given.
fn why_not_boxed(ty: &Type, value: &Type, args: &Args) -> String {
    let (ty, value) = (written_type(ty), written_type(value));
    match args.gives("preload") {
        true => format!("what `preload` returned is lent to every worker: write `&{value}` instead of `{ty}`"),
        false => format!(
            "`{ty}` cannot be an argument of `main`: data that all workers share comes from `preload = \
             path::to::function`, and is lent as `&{value}`"
        ),
    }
}

fn is_passed_by_value(ty: &Type) -> bool {
    matches!(kind(ty), Kind::Integer | Kind::Listener(_) | Kind::Listeners(_)) || is_handle(ty)
}

/// Whether the type, as written, is one of the handles of a worker.
pub(crate) fn is_handle(ty: &Type) -> bool {
    match &ty.form {
        TypeForm::Group(inner) => is_handle(inner),
        TypeForm::Path(path) => path.last().is_some_and(|last| last == "Worker" || last == "Shutdown"),
        TypeForm::ImplTrait | TypeForm::Reference { .. } | TypeForm::Slice(_) | TypeForm::Other => false,
    }
}

/// As a person would write it.
fn written_type(ty: &Type) -> String {
    let text = ty.to_token_stream().to_string();
    [(" :: ", "::"), (":: ", "::"), (" < ", "<"), (" >", ">"), ("< ", "<"), (" ,", ","), ("& ", "&")]
        .iter()
        .fold(text, |text, (spaced, written)| text.replace(spaced, written))
}

fn listener_twice(kind: grammar::Kind) -> String {
    let ty = kind.type_name();
    format!("a worker is given each listener once: keep one `{ty}`, and call its `try_clone()` for a second handle")
}

fn why_no_listener(args: &Args, kind: grammar::Kind) -> Option<String> {
    let (ty, one, example) = (kind.type_name(), kind.one(), kind.example());
    match listed(args, kind) {
        _ if !args.gives("listen") => Some(format!("a `{ty}` needs {one}: add `listen = {example:?}`")),
        Some(0) if args.addresses.as_ref().is_some_and(|all| !all.is_empty()) => {
            Some(format!("a `{ty}` needs {one}, and `listen` has none: add `{example:?}` to it"))
        }
        Some(0) => Some(format!("a `{ty}` needs {one}, and `listen` has none: add `listen = {example:?}`")),
        Some(count) if count > 1 => Some(format!(
            "a `{ty}` needs exactly one {}, and `listen` has {count}: keep one, or take `Vec<{ty}>`, or ask for each by \
             its name with `Worker::listener`",
            kind.noun()
        )),
        _ => None,
    }
}

/// How many of this kind `listen` has, where literals show it; a host name counts as one, until it is resolved.
fn listed(args: &Args, kind: grammar::Kind) -> Option<usize> {
    Some(args.addresses.as_ref()?.iter().filter(|entry| entry.place.kind() == kind).count())
}

/// What an argument's type, as written, says before rustc resolves it.
pub(crate) enum Kind {
    Integer,
    Listener(grammar::Kind),
    /// A `Vec` of them.
    Listeners(grammar::Kind),
    Lent,
    Mutable,
    /// An `Arc`, `Box` or `Rc` of this type.
    Boxed(Box<Type>),
    Opaque,
    Other,
}

pub(crate) fn kind(ty: &Type) -> Kind {
    match &ty.form {
        TypeForm::Group(inner) => kind(inner),
        TypeForm::ImplTrait => Kind::Opaque,
        TypeForm::Reference { is_mutable, target } => match kind(target) {
            Kind::Opaque => Kind::Opaque,
            _ if *is_mutable => Kind::Mutable,
            _ => Kind::Lent,
        },
        TypeForm::Path(path) if !path.is_qualified => match path.written().as_str() {
            "usize" | "u32" => Kind::Integer,
            name => match (listener(name), parameter(path)) {
                (Some(kind), _) => Kind::Listener(kind),
                (None, Some(element)) if name == "Vec" => many(&element),
                (None, Some(value)) if is_pointer(name) => Kind::Boxed(Box::new(value)),
                (None, _) => Kind::Other,
            },
        },
        TypeForm::Path(_) | TypeForm::Slice(_) | TypeForm::Other => Kind::Other,
    }
}

/// The first type in angle brackets.
fn parameter(path: &Path) -> Option<Type> {
    let mut cursor = Cursor::new(path.arguments.as_ref()?);
    while cursor.is_punct("'") {
        cursor.eat_while(&|cursor| !cursor.is_punct(","));
        cursor.eat_punct(",");
    }
    let first = cursor.eat_while(&|cursor| !cursor.is_punct(","));
    (!first.is_empty()).then(|| Type::new(first))
}

fn is_pointer(name: &str) -> bool {
    ["Arc", "sync::Arc", "std::sync::Arc", "Box", "std::boxed::Box", "Rc", "rc::Rc", "std::rc::Rc"].contains(&name)
}

fn many(element: &Type) -> Kind {
    match kind(element) {
        Kind::Listener(kind) => Kind::Listeners(kind),
        _ => Kind::Other,
    }
}

/// The kind of listener of this type, in the standard library or in tokio.
fn listener(name: &str) -> Option<grammar::Kind> {
    let (module, ty) = name.rsplit_once("::").unwrap_or(("", name));
    let modules = ["", "net", "std::net", "tokio::net", "unix::net", "os::unix::net", "std::os::unix::net"];
    grammar::Kind::ALL.into_iter().find(|kind| modules.contains(&module) && kind.type_name() == ty)
}
