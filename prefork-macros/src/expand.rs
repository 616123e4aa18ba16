//! The rules of the signature, the output, and the output when something is wrong.
//!
//! It must not know what an option means.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Abi, Attribute, Error, FnArg, Ident, PatType, Path, Result, ReturnType, Safety, Signature, Token, Type, Visibility,
    braced,
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
        let sig = input.parse()?;
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
    if asyncness.is_some() && main.attrs.iter().all(|attr| is_one_of(attr, INERT)) {
        refuse(
            asyncness,
            "`async fn main` needs an async runtime: put its attribute below `#[prefork]`, for example `#[tokio::main]`",
        );
    }
    if let Safety::Unsafe(keyword) = safety {
        refuse(keyword, "`main` cannot be `unsafe`: remove `unsafe`, and use `unsafe { … }` in the body");
    }
    if let Some(abi) = abi {
        refuse(abi, "`main` has Rust's own ABI: remove `extern`");
    }
    if let Some(receiver) = main.sig.receiver() {
        refuse(
            receiver,
            "`#[prefork]` goes on the function `main`, not on a method: remove `self`, and move it out of the `impl` or `trait`",
        );
    }
    if ident != "main" {
        refuse(
            ident,
            &format!(
                "`#[prefork]` goes on `main`: to run another function in the workers, write `Prefork::new().run(|_| {ident}())` in `main`"
            ),
        );
    }
    if !generics.params.is_empty() {
        refuse(generics, "`main` cannot be generic: write the types themselves");
    }
    if let Some(where_clause) = &generics.where_clause {
        refuse(where_clause, "`main` cannot have a `where` clause: remove it");
    }
    if let Some(variadic) = variadic {
        refuse(variadic, "`main` cannot be variadic: remove `...`");
    }
}

/// Attributes that leave a function as it is, so that none of them makes an `async fn main` run.
const INERT: &[&str] = &[
    "allow",
    "cfg",
    "cold",
    "deny",
    "deprecated",
    "doc",
    "expect",
    "forbid",
    "inline",
    "must_use",
    "track_caller",
    "warn",
];

/// Attributes that the generated `main` has too.
const SHARED: &[&str] = &["allow", "cfg", "deny", "doc", "forbid", "warn"];

/// Attributes that may remove an argument.
const CONDITIONAL: &[&str] = &["cfg", "cfg_attr"];

fn is_one_of(attr: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attr.path().is_ident(name))
}

fn check_arguments(main: &Main, args: &Args, errors: &mut Vec<Error>) {
    let (mut integers, mut listeners) = (0, 0);
    for PatType { attrs, ty, .. } in main.arguments() {
        // Whether an argument under `cfg` is there, only the run can tell.
        let certain = !attrs.iter().any(|attr| is_one_of(attr, CONDITIONAL));
        let wrong = match kind(ty) {
            Kind::Opaque => Some("an argument of `main` has a type, not `impl Trait`: write `usize` or `u32` (the task id), `prefork_rt::Worker`, `std::net::TcpListener`, or `&T` for what `preload` returned".to_owned()),
            Kind::Mutable => Some("what `preload` returned is lent as `&T`: remove `mut`".to_owned()),
            Kind::Lent if !args.gives("preload") => Some("what `&T` refers to comes from `preload`: add `preload = path::to::function`, a function that returns the `T`".to_owned()),
            Kind::Integer if certain => {
                integers += 1;
                (integers > 1).then(|| "two integers would both be the task id: keep one, and ask `Worker::workers()` for the number of workers".to_owned())
            }
            Kind::Listener if certain => {
                listeners += 1;
                why_no_listener(listeners, args)
            }
            _ => None,
        };
        errors.extend(wrong.map(|message| Error::new_spanned(ty, message)));
    }
}

fn why_no_listener(listeners: usize, args: &Args) -> Option<String> {
    match args.addresses {
        _ if listeners > 1 => Some(
            "the listener is handed over once: keep one `TcpListener`, and call its `try_clone()` for a second handle"
                .to_owned(),
        ),
        _ if !args.gives("listen") => {
            Some("a `TcpListener` needs an address: add `listen = \"127.0.0.1:8080\"`".to_owned())
        }
        Some(0) => Some(
            "a `TcpListener` needs an address, and `listen` has none: write `listen = \"127.0.0.1:8080\"`".to_owned(),
        ),
        None | Some(1) => None,
        Some(addresses) => {
            Some(format!("a `TcpListener` listens on one address, and `listen` has {addresses}: keep one"))
        }
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
        Type::Reference(reference) if matches!(kind(&reference.elem), Kind::Opaque) => Kind::Opaque,
        Type::Reference(reference) if reference.mutability.is_some() => Kind::Mutable,
        Type::Reference(_) => Kind::Lent,
        Type::Path(path) if path.qself.is_none() => {
            let segments: Vec<String> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            match segments.join("::").as_str() {
                "usize" | "u32" => Kind::Integer,
                "TcpListener" | "net::TcpListener" | "std::net::TcpListener" => Kind::Listener,
                _ => Kind::Other,
            }
        }
        _ => Kind::Other,
    }
}

fn output(args: &Args, main: &Main) -> TokenStream {
    let Main { attrs, vis, sig, .. } = main;
    let (runtime, preload) = (&args.runtime, args.preload.as_ref().map(|path| preloaded(&args.runtime, path)));
    let shared = attrs.iter().filter(|attr| is_one_of(attr, SHARED));
    let name = Ident::new("main", ends(&sig.ident).0);
    let inner = Signature { inputs: Punctuated::new(), ..sig.clone() };
    let body = main.body_after(&main.arguments().map(|argument| fill(argument, runtime, &preload)).collect());
    let preload = preload.map(|preloaded| run_preload(&preloaded, main));
    let calls = args.calls.iter().map(|(name, value)| {
        let name = Ident::new(&name.to_string(), ends(name).0);
        quote_spanned!(Span::mixed_site()=> let prefork = prefork.#name(#value);)
    });
    let needs = main.arguments().map(|argument| needs(argument, runtime));
    let run = run(main, runtime);
    quote_spanned! {Span::mixed_site()=>
        #(#shared)*
        #vis fn #name() -> ::std::process::ExitCode {
            #(#attrs)*
            #inner #body
            let prefork = #runtime::Prefork::new();
            #preload
            #(#calls)*
            #(#needs)*
            #run
        }
    }
}

/// `preloaded(function)`: at the function's place both times, so that what is wrong with it is said once.
fn preloaded(runtime: &Path, function: &syn::ExprPath) -> TokenStream {
    let (start, end) = ends(function);
    let runtime = located(runtime, start);
    let preloaded = quote_spanned!(start=> #runtime::__private::preloaded);
    quote_spanned!(end=> #preloaded(#function))
}

fn run_preload(preloaded: &TokenStream, main: &Main) -> TokenStream {
    let takes_value = main.arguments().any(|argument| matches!(kind(&argument.ty), Kind::Lent));
    let method = Ident::new(if takes_value { "run" } else { "run_unit" }, ends(preloaded).1);
    quote_spanned! {Span::mixed_site()=>
        let prefork = match #preloaded.#method(prefork) {
            ::core::result::Result::Ok(prefork) => prefork,
            ::core::result::Result::Err(code) => return code,
        };
    }
}

/// The statement that gives an argument its value.
fn fill(argument: &PatType, runtime: &Path, preloaded: &Option<TokenStream>) -> TokenStream {
    let PatType { attrs, pat, colon_token, ty } = argument;
    let (start, end) = ends(ty);
    let value = match (kind(ty), preloaded) {
        // The parentheses put the start of the expression under the type.
        (Kind::Lent, Some(preloaded)) => {
            let preloaded = quote_spanned!(start=> (#preloaded));
            quote_spanned!(end=> #preloaded.lend())
        }
        _ => {
            let (runtime, from_worker) = (located(runtime, start), from_worker(ty, runtime, "from_worker"));
            let argument = quote_spanned!(start=> #runtime::__private::argument);
            quote_spanned!(end=> #argument(#from_worker))
        }
    };
    quote_spanned!(Span::mixed_site()=> #(#attrs)* let #pat #colon_token #ty = #value;)
}

/// The statement that tells the supervisor what an argument needs.
fn needs(argument: &PatType, runtime: &Path) -> Option<TokenStream> {
    if let Kind::Lent = kind(&argument.ty) {
        return None;
    }
    let conditions = argument.attrs.iter().filter(|attr| is_one_of(attr, CONDITIONAL));
    let needs = from_worker(&argument.ty, runtime, "needs");
    Some(quote_spanned! {Span::mixed_site()=>
        #(#conditions)*
        let prefork = #runtime::__private::needs(prefork, #needs());
    })
}

fn from_worker(ty: &Type, runtime: &Path, function: &str) -> TokenStream {
    let (start, end) = ends(ty);
    let (runtime, function) = (located(runtime, start), Ident::new(function, end));
    quote_spanned!(start=> <#ty as #runtime::FromWorker>::#function)
}

/// The call that starts the workers: at the return type, where rustc then says that it is not `Termination`.
fn run(main: &Main, runtime: &Path) -> TokenStream {
    let (start, end) = match &main.sig.output {
        ReturnType::Type(_, ty) => ends(ty),
        ReturnType::Default => ends(&main.sig.ident),
    };
    let runtime = located(runtime, start);
    let run = quote_spanned!(start=> #runtime::__private::run);
    quote_spanned!(end=> #run(prefork, main))
}

/// Where the user's tokens start and end. What is put there is reported there, but no lint looks at it.
fn ends(tokens: &impl ToTokens) -> (Span, Span) {
    let mut spans = tokens.to_token_stream().into_iter().map(|token| token.span().resolved_at(Span::mixed_site()));
    let start = spans.next().unwrap_or_else(Span::mixed_site);
    (start, spans.last().unwrap_or(start))
}

/// The same path in another place.
fn located(path: &Path, at: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter();
    tokens
        .map(|mut token| {
            token.set_span(token.span().located_at(at));
            token
        })
        .collect()
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
    attrs.retain(|attr| is_one_of(attr, INERT));
    (sig.constness, sig.abi, sig.variadic) = (None, None, None);
    quote!(#vis fn main() { #(#attrs)* #[allow(unused)] #sig #body })
}
