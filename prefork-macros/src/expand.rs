//! The rules of the signature, the output, and the output when something is wrong.
//!
//! It must not know what an option means.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Abi, Attribute, Error, ExprPath, FnArg, Ident, PatType, Path, Result, ReturnType, Safety, Signature, Token, Type,
    Visibility, braced,
};

use crate::args::Args;

/// The tokens that `#[prefork(args)] item` stands for.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Vec::new();
    let args = Args::parse(args, &mut errors);
    let main = match syn::parse2::<Main>(item.clone()) {
        Ok(main) => main.without_second_attribute(&mut errors),
        Err(error) => {
            errors.push(error);
            return with_errors(&errors, item);
        }
    };
    check_signature(&main, &mut errors);
    check_arguments(&main, &args, &mut errors);
    match errors.is_empty() {
        true => output(&args, &main),
        false => with_errors(&errors, stand_in(main)),
    }
}

/// The user's function. Its body stays tokens: what is wrong in there is for rustc to say, once.
struct Main {
    attrs: Vec<Attribute>,
    vis: Visibility,
    sig: Signature,
    brace: syn::token::Brace,
    inner_attrs: Vec<Attribute>,
    body: TokenStream,
}

impl Parse for Main {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !starts_function(&input.fork()) {
            return Err(input.error("`#[prefork]` goes on a function: write `#[prefork] fn main() { … }`"));
        }
        let sig = input
            .parse()
            .map_err(|error| Error::new(error.span(), format!("`#[prefork]` cannot read this signature: {error}")))?;
        if input.peek(Token![;]) {
            return Err(input.error("`#[prefork]` needs the body of `main`: write `{ … }`"));
        }
        let content;
        let brace = braced!(content in input);
        let inner_attrs = content.call(Attribute::parse_inner)?;
        Ok(Main { attrs, vis, sig, brace, inner_attrs, body: content.parse()? })
    }
}

fn starts_function(input: ParseStream<'_>) -> bool {
    let qualifiers = || -> Result<()> {
        input.parse::<Option<Token![const]>>()?;
        input.parse::<Option<Token![async]>>()?;
        input.call(Safety::parse_unsafe_only)?;
        input.parse::<Option<Abi>>().map(drop)
    };
    qualifiers().is_ok() && input.peek(Token![fn])
}

impl Main {
    fn without_second_attribute(mut self, errors: &mut Vec<Error>) -> Self {
        self.attrs.retain(|attr| {
            let second = attr.path().segments.last().is_some_and(|last| last.ident == "prefork");
            if second {
                errors.push(Error::new_spanned(attr, "`#[prefork]` is given twice: keep one, with all the options"));
            }
            !second
        });
        self
    }

    fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
    }

    /// The body after some statements of ours.
    fn body_after(&self, statements: &TokenStream) -> TokenStream {
        let (inner_attrs, body) = (&self.inner_attrs, &self.body);
        let mut block = TokenStream::new();
        self.brace.surround(&mut block, |inside| inside.extend(quote!(#(#inner_attrs)* #statements #body)));
        block
    }
}

fn check_signature(main: &Main, errors: &mut Vec<Error>) {
    let Signature { constness, asyncness, safety, abi, ident, generics, variadic, .. } = &main.sig;
    let mut refuse = |at: &dyn ToTokens, message: &str| errors.push(Error::new_spanned(at, message));
    if let Some(constness) = constness {
        refuse(constness, "`main` cannot be `const`: remove `const`");
    }
    if asyncness.is_some() && main.attrs.iter().all(is_inert) {
        let advice = "put its attribute below `#[prefork]`, for example `#[tokio::main]`";
        refuse(asyncness, &format!("`async fn main` needs an async runtime: {advice}"));
    }
    if let Safety::Unsafe(keyword) = safety {
        refuse(keyword, "`main` cannot be `unsafe`: remove `unsafe`, and use `unsafe { … }` in the body");
    }
    if let Some(abi) = abi {
        refuse(abi, "`main` has Rust's own ABI: remove `extern`");
    }
    if ident != "main" {
        let advice =
            format!("to run another function in the workers, write `Prefork::new().run(|_| {ident}())` in `main`");
        refuse(ident, &format!("`#[prefork]` goes on `main`: {advice}"));
    }
    if !generics.params.is_empty() {
        refuse(generics, "`main` cannot be generic: write the types themselves");
    }
    if let Some(receiver) = main.sig.receiver() {
        refuse(
            receiver,
            "`#[prefork]` goes on a function, not on a method: remove `self`, and move `main` out of here",
        );
    }
    if let Some(variadic) = variadic {
        refuse(variadic, "`main` cannot be variadic: remove `...`");
    }
    if let Some(where_clause) = &generics.where_clause {
        refuse(where_clause, "`main` cannot have a `where` clause: remove it");
    }
}

/// Whether the attribute leaves a function as it is, so that it does not make an `async fn main` run.
fn is_inert(attr: &Attribute) -> bool {
    #[rustfmt::skip]
    let inert = matches!(
        written(attr.path()).as_str(),
        "allow" | "cfg" | "cold" | "deny" | "deprecated" | "doc" | "expect" | "forbid" | "inline" | "must_use"
            | "rustfmt::skip" | "track_caller" | "warn"
    );
    inert
}

/// Whether the generated `main` has the attribute too.
fn is_shared(attr: &&Attribute) -> bool {
    matches!(written(attr.path()).as_str(), "allow" | "cfg" | "deny" | "doc" | "forbid" | "warn")
}

/// Whether the attribute may remove an argument.
fn is_condition(attr: &&Attribute) -> bool {
    attr.path().is_ident("cfg")
}

fn check_arguments(main: &Main, args: &Args, errors: &mut Vec<Error>) {
    let (mut integers, mut listeners) = (0, 0);
    for PatType { attrs, ty, .. } in main.arguments() {
        let mut refuse = |message: &str| errors.push(Error::new_spanned(ty, message));
        match kind(ty) {
            Kind::Opaque => refuse(
                "`impl Trait` cannot be an argument of `main`: write `usize` or `u32` (the task id), \
                 `prefork_rt::Worker`, `std::net::TcpListener`, or `&T` for what `preload` returned",
            ),
            Kind::Mutable => refuse("what `preload` returned is lent as `&T`: remove `mut`"),
            Kind::Lent if !args.gives("preload") => refuse(
                "`&T` is what `preload` returned: add `preload = path::to::function`, a function that returns the `T`",
            ),
            // An argument under `cfg` may not be there: what it needs is left to the run.
            _ if attrs.iter().any(|attr| is_condition(&attr)) => {}
            Kind::Integer => {
                integers += 1;
                if integers > 1 {
                    refuse(
                        "two integers would both be the task id: keep one, and ask `Worker::workers()` for the \
                         number of workers",
                    );
                }
            }
            Kind::Listener => {
                listeners += 1;
                let wrong = if listeners > 1 { Some(LISTENER_TWICE.to_owned()) } else { why_no_listener(args) };
                wrong.iter().for_each(|message| refuse(message));
            }
            Kind::Lent | Kind::Other => {}
        }
    }
}

const LISTENER_TWICE: &str =
    "the listener is handed over once: keep one `TcpListener`, and call its `try_clone()` for a second handle";

fn why_no_listener(args: &Args) -> Option<String> {
    let add = "add `listen = \"127.0.0.1:8080\"`";
    match args.addresses {
        _ if !args.gives("listen") => Some(format!("a `TcpListener` needs an address: {add}")),
        Some(0) => Some(format!("a `TcpListener` needs an address, and `listen` has none: {add}")),
        Some(addresses) if addresses > 1 => {
            Some(format!("a `TcpListener` listens on one address, and `listen` has {addresses}: keep one"))
        }
        _ => None,
    }
}

/// What an argument's type, as written, says before rustc resolves it.
enum Kind {
    Integer,
    Listener,
    Lent,
    Mutable,
    Opaque,
    Other,
}

fn kind(ty: &Type) -> Kind {
    match ty {
        Type::Group(group) => kind(&group.elem),
        Type::Paren(paren) => kind(&paren.elem),
        Type::ImplTrait(_) => Kind::Opaque,
        Type::Reference(reference) => match kind(&reference.elem) {
            Kind::Opaque => Kind::Opaque,
            _ if reference.mutability.is_some() => Kind::Mutable,
            _ => Kind::Lent,
        },
        Type::Path(path) if path.qself.is_none() => match written(&path.path).as_str() {
            "usize" | "u32" => Kind::Integer,
            "TcpListener" | "net::TcpListener" | "std::net::TcpListener" => Kind::Listener,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

fn written(path: &Path) -> String {
    let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    segments.join("::")
}

fn output(args: &Args, main: &Main) -> TokenStream {
    let Main { attrs, vis, sig, .. } = main;
    let Args { runtime, calls, .. } = args;
    let here = Span::mixed_site();
    let (name, rt) = (Ident::new("main", ends(&sig.ident).0), rt(ends(runtime).1));
    let preloaded = args.preload.as_ref().map(preloaded);
    let shared = attrs.iter().filter(is_shared);
    let inner = Signature { inputs: Punctuated::new(), ..sig.clone() };
    let body = main.body_after(&main.arguments().map(|argument| fill(argument, preloaded.as_ref())).collect());
    let preload = preloaded.map(|preloaded| preload(&preloaded, main));
    let calls = calls.iter().map(|(name, value)| {
        let name = Ident::new(&name.to_string(), ends(name).0);
        quote_spanned!(here=> let __prefork = __prefork.#name(#value);)
    });
    let needs = main.arguments().map(needs);
    let run = run(&sig.output, &name);
    // The runtime has one name for all that follows, so that it is missed once where it is not there. The underscores:
    // a static or constant of the user's cannot be shadowed by a `let`.
    quote_spanned! {here=>
        #(#shared)*
        #vis fn #name() -> ::std::process::ExitCode {
            use #runtime as #rt;
            #(#attrs)*
            #inner #body
            let __prefork = #rt::Prefork::new();
            #preload
            #(#calls)*
            #(#needs)*
            #run
        }
    }
}

fn rt(at: Span) -> Ident {
    Ident::new("__prefork_rt", at)
}

/// `preloaded(function)`: in the function's place each time, so that what is wrong with it is said once.
fn preloaded(function: &ExprPath) -> TokenStream {
    let (start, end) = ends(function);
    let rt = rt(start);
    let preloaded = quote_spanned!(start=> #rt::__private::preloaded);
    quote_spanned!(end=> #preloaded(#function))
}

/// The statement that calls the user's preload function.
fn preload(preloaded: &TokenStream, main: &Main) -> TokenStream {
    let lends = main.arguments().any(|argument| matches!(kind(&argument.ty), Kind::Lent));
    let run = Ident::new(if lends { "run" } else { "run_unit" }, ends(preloaded).1);
    quote_spanned! {Span::mixed_site()=>
        let __prefork = match #preloaded.#run(__prefork) {
            ::core::result::Result::Ok(__prefork) => __prefork,
            ::core::result::Result::Err(__code) => return __code,
        };
    }
}

/// The statement that gives an argument its value, under its type.
fn fill(argument: &PatType, preloaded: Option<&TokenStream>) -> TokenStream {
    let PatType { attrs, pat, colon_token, ty } = argument;
    let (start, end) = ends(ty);
    let value = match (kind(ty), preloaded) {
        (Kind::Lent, Some(preloaded)) => {
            // An expression starts where its first token stands: these parentheses.
            let preloaded = quote_spanned!(start=> (#preloaded));
            quote_spanned!(end=> #preloaded.lend())
        }
        _ => {
            let (rt, from_worker) = (rt(start), from_worker(ty, "from_worker"));
            let argument = quote_spanned!(start=> #rt::__private::argument);
            quote_spanned!(end=> #argument(#from_worker))
        }
    };
    quote_spanned!(Span::mixed_site()=> #(#attrs)* let #pat #colon_token #ty = #value;)
}

/// The statement that says before the fork what an argument needs.
fn needs(argument: &PatType) -> Option<TokenStream> {
    if let Kind::Lent = kind(&argument.ty) {
        return None;
    }
    let conditions = argument.attrs.iter().filter(is_condition);
    let (rt, needs) = (rt(Span::mixed_site()), from_worker(&argument.ty, "needs"));
    Some(quote_spanned! {Span::mixed_site()=>
        #(#conditions)*
        let __prefork = #rt::__private::needs(__prefork, #needs());
    })
}

fn from_worker(ty: &Type, function: &str) -> TokenStream {
    let (start, end) = ends(ty);
    let (rt, function) = (rt(start), Ident::new(function, end));
    quote_spanned!(start=> <#ty as #rt::FromWorker>::#function)
}

/// The call that starts the workers, under the return type, where rustc then says that it is not `Termination`.
fn run(output: &ReturnType, name: &Ident) -> TokenStream {
    let (start, end) = match output {
        ReturnType::Type(_, ty) => ends(ty),
        ReturnType::Default => ends(name),
    };
    let rt = rt(start);
    let run = quote_spanned!(start=> #rt::__private::run);
    quote_spanned!(end=> #run(__prefork, main))
}

/// Where the user's tokens start and end. What is put there is reported there, but no lint looks at it.
fn ends(tokens: &impl ToTokens) -> (Span, Span) {
    let mut spans = tokens.to_token_stream().into_iter().map(|token| token.span().resolved_at(Span::mixed_site()));
    let start = spans.next().unwrap_or_else(Span::mixed_site);
    (start, spans.last().unwrap_or(start))
}

fn with_errors(errors: &[Error], item: TokenStream) -> TokenStream {
    let errors = errors.iter().map(Error::to_compile_error);
    quote!(#(#errors)* #item)
}

/// The user's function in a place where nothing runs it, so that the body is still looked at and nothing else is
/// reported. A function that is not `main` stays where it is: others may call it.
fn stand_in(mut main: Main) -> TokenStream {
    let body = main.body_after(&TokenStream::new());
    let Main { attrs, vis, sig, .. } = &mut main;
    if sig.ident != "main" || sig.receiver().is_some() {
        return quote!(#(#attrs)* #[allow(unused)] #vis #sig #body);
    }
    attrs.retain(is_inert);
    (sig.constness, sig.abi, sig.variadic) = (None, None, None);
    quote!(#vis fn main() { #(#attrs)* #[allow(unused)] #sig #body })
}

#[cfg(test)]
mod tests {
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
                "letconfig:&Config=(__prefork_rt::__private::preloaded(load)).lend();",
                "#[cfg(unix)]letid:usize=",
                "body()}",
                "Prefork::new();",
                "preloaded(load).run(__prefork)",
                ".workers(a());",
                ".listen(b());",
                "needs(__prefork,<TcpListeneras",
                "#[cfg(unix)]let__prefork=__prefork_rt::__private::needs(__prefork,<usizeas",
                "__prefork_rt::__private::run(__prefork,main)}",
            ],
        );
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
                quote!(
                    crate = a,
                    workers = 1,
                    max_restarts = 2,
                    backoff = "1s",
                    listen = "127.0.0.1:1",
                    preload = load
                ),
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
            text.ends_with(
                "fnmain(){#[allow(unused)]unsafefnmain<T>(a:usize,b:u32,c:implCopy)->RwhereT:Copy,{body()}}"
            )
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
}
