//! The output, and the output when something is wrong.
//!
//! It must not know what an option means.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use crate::args::Args;
use crate::error::Error;
use crate::signature::{
    self, Kind, has_a_name_twice, is_condition, is_handle, is_inert, is_preloaded_by_value, is_shared, kind,
};
use crate::syntax::{Argument, Main, Path, Signature, Type};

/// The tokens that `#[prefork(args)] item` stands for.
pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Vec::new();
    let args = Args::parse(args, &mut errors);
    let main = match Main::new(item.clone()) {
        Ok(main) => main.without_second_attribute(&mut errors),
        Err(error) => {
            errors.push(error);
            return with_errors(&errors, item);
        }
    };
    signature::check(&main, &args, &mut errors);
    let is_name = |word: &Ident| main.sig.arguments.iter().any(|argument| argument.plain_name().as_ref() == Some(word));
    errors.extend(args.words(is_name).cloned());
    // rustc reports a name that is given twice, where the signature stays as it is.
    let is_plain = errors.is_empty() && !has_a_name_twice(&main);
    if is_plain { output(&args, &main) } else { with_errors(&errors, stand_in(&args, main)) }
}

fn output(args: &Args, main: &Main) -> TokenStream {
    let Main { attrs, vis, sig, .. } = main;
    let Args { runtime, calls, .. } = args;
    let here = Span::mixed_site();
    let (name, rt) = (Ident::new("main", ends(&sig.ident).0), rt(ends(runtime).1));
    let preload = args.preload.as_ref();
    let lent: Vec<Lent> = preload.map(|preload| lent(main, args, preload)).unwrap_or_default();
    let shared = attrs.iter().filter(is_shared);
    let inner = sig.without_arguments();
    let uses = lent.iter().map(|lent| &lent.is_used);
    let fills = main.sig.arguments.iter().map(|argument| fill(argument, preload));
    let body = main.body_after(&fills.chain(uses.cloned()).collect());
    let preload = preload.map(|preload| run_preload(preload, main));
    let lent = lent.iter().map(|Lent { binding, is_used }| quote!(#binding #is_used));
    let calls = calls.iter().map(|(name, value)| {
        let name = Ident::new(&name.to_string(), ends(name).0);
        quote_spanned!(here=> let __prefork = __prefork.#name(#value);)
    });
    let needs = main.sig.arguments.iter().map(needs);
    let run = run(sig, &name);
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
            #(#lent)*
            #(#calls)*
            #(#needs)*
            #run
        }
    }
}

fn rt(at: Span) -> Ident {
    Ident::new("__prefork_rt", at)
}

/// A call with the function that `preload` names, at the function's position each time, so that the compiler reports a
/// mistake in it once.
fn with_function(call: &str, function: &Path) -> TokenStream {
    let (start, end) = ends(function);
    let (rt, call) = (rt(start), Ident::new(call, start));
    let call = quote_spanned!(start=> #rt::__private::#call);
    quote_spanned!(end=> #call(#function))
}

/// The statement that calls the user's preload function.
fn run_preload(function: &Path, main: &Main) -> TokenStream {
    // An argument of a type that is not known here may be the value itself. That it is not lent is then the one mistake.
    let may_take = |ty: &Type| match kind(ty) {
        Kind::Lent => true,
        Kind::Other => !is_handle(ty),
        _ => false,
    };
    let lends = main.sig.arguments.iter().any(|argument| may_take(&argument.ty));
    let preloaded = with_function("preloaded", function);
    let run = Ident::new(if lends { "run" } else { "run_unit" }, ends(&preloaded).1);
    quote_spanned! {Span::mixed_site()=>
        let __prefork = match #preloaded.#run(__prefork) {
            ::core::result::Result::Ok(__prefork) => __prefork,
            ::core::result::Result::Err(__code) => return __code,
        };
    }
}

/// An argument for what `preload` returned that the options' expressions use by its name.
struct Lent {
    /// The statement that gives the name its value where the options are.
    binding: TokenStream,
    /// The statement after it that uses it once, so that no lint says that nothing does. The body has it, too.
    is_used: TokenStream,
}

/// The arguments that the options use. A name in a string counts, as `format!` may use it.
fn lent(main: &Main, args: &Args, function: &Path) -> Vec<Lent> {
    let used = main.sig.arguments.iter().filter_map(|argument| {
        let name = argument.plain_name().filter(|_| matches!(kind(&argument.ty), Kind::Lent))?;
        args.calls.iter().any(|(_, value)| mentions(value.to_token_stream(), &name)).then_some((argument, name))
    });
    let lent = used.map(|(argument, name)| {
        // Also those that allow a lint: the body has them, too.
        let attributes = &argument.attrs;
        let (colon, ty, value) = (&argument.colon, &argument.ty, lend(&argument.ty, function));
        let binding = quote_spanned!(Span::mixed_site()=> #(#attributes)* let #name #colon #ty = #value;);
        Lent { binding, is_used: use_once(argument, &name) }
    });
    lent.collect()
}

/// A name that begins with an underscore needs no use, and a lint would object to one.
fn use_once(argument: &Argument, name: &Ident) -> TokenStream {
    if name.to_string().starts_with('_') {
        return TokenStream::new();
    }
    let (conditions, rt) = (argument.attrs.iter().filter(is_condition), rt(Span::mixed_site()));
    quote_spanned!(Span::mixed_site()=> #(#conditions)* #rt::__private::use_once(#name);)
}

fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions(group.stream(), name),
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Literal(literal) => literal.to_string().contains(&unraw(name)),
        TokenTree::Punct(_) => false,
    })
}

/// The name as strings have it, without `r#`.
fn unraw(name: &Ident) -> String {
    let written = name.to_string();
    written.strip_prefix("r#").unwrap_or(&written).to_owned()
}

/// The statement that gives an argument its value, under its type.
fn fill(argument: &Argument, preload: Option<&Path>) -> TokenStream {
    let Argument { attrs, pattern, colon, ty } = argument;
    let value = match (kind(ty), preload) {
        (Kind::Lent, Some(function)) => lend(ty, function),
        _ => {
            let (start, end) = ends(ty);
            let (rt, from_worker) = (rt(start), from_worker(ty, "from_worker"));
            let argument = quote_spanned!(start=> #rt::__private::argument);
            quote_spanned!(end=> #argument(#from_worker))
        }
    };
    // An argument `_` lives as long as the others; `let _` would drop it at once.
    let pattern = match argument.is_ignored() {
        true => quote_spanned!(Span::mixed_site()=> __ignored),
        false => pattern.clone(),
    };
    quote_spanned!(Span::mixed_site()=> #(#attrs)* let #pattern #colon #ty = #value;)
}

/// What `preload` returned, at the position of the type that takes it.
fn lend(ty: &Type, function: &Path) -> TokenStream {
    let (start, end) = ends(ty);
    let lent_by = with_function("lent_by", function);
    // An expression starts where its first token stands: these parentheses.
    let lent_by = quote_spanned!(start=> (#lent_by));
    quote_spanned!(end=> #lent_by.lend())
}

/// The statement that says before the fork what an argument needs. A type that cannot be one needs nothing here: the
/// statement that fills it is the one that reports it.
fn needs(argument: &Argument) -> Option<TokenStream> {
    if let Kind::Lent = kind(&argument.ty) {
        return None;
    }
    let conditions = argument.attrs.iter().filter(is_condition);
    let (ty, rt) = (&argument.ty, rt(Span::mixed_site()));
    Some(quote_spanned! {Span::mixed_site()=>
        #(#conditions)*
        let __prefork = #rt::__private::argument_of::<#ty>().needs(__prefork);
    })
}

fn from_worker(ty: &Type, function: &str) -> TokenStream {
    let (start, end) = ends(ty);
    let (rt, function) = (rt(start), Ident::new(function, end));
    quote_spanned!(start=> <#ty as #rt::FromWorker>::#function)
}

/// The call that starts the workers, under the return type, where rustc then says that it is not `Termination`.
fn run(sig: &Signature, name: &Ident) -> TokenStream {
    let (start, end) = if sig.output.is_empty() { ends(name) } else { ends(&sig.output) };
    let rt = rt(start);
    let run = quote_spanned!(start=> #rt::__private::run);
    quote_spanned!(end=> #run(__prefork, main))
}

/// Where the user's tokens start and end. What is put there is reported there, but no lint looks at it.
fn ends(tokens: &impl ToTokens) -> (Span, Span) {
    let mut spans = spans(tokens.to_token_stream()).into_iter().map(|span| span.resolved_at(Span::mixed_site()));
    let start = spans.next().unwrap_or_else(Span::mixed_site);
    (start, spans.last().unwrap_or(start))
}

/// The spans of the outermost tokens. What a macro was given and passes on is grouped, and the group stands in the macro.
fn spans(tokens: TokenStream) -> Vec<Span> {
    let spans = tokens.into_iter().flat_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::None => spans(group.stream()),
        token => vec![token.span()],
    });
    spans.collect()
}

fn with_errors(errors: &[Error], item: TokenStream) -> TokenStream {
    let errors = errors.iter().map(Error::to_compile_error);
    quote!(#(#errors)* #item)
}

/// The user's function in a place where nothing runs it. So the compiler still checks the body, but reports nothing
/// else, except for a mistake in an argument's type. A function that is not `main` stays where it is, because other
/// code may call it.
fn stand_in(args: &Args, mut main: Main) -> TokenStream {
    let body = main.body_after(&TokenStream::new());
    let types = check_types(args, &main);
    let Main { attrs, vis, sig, .. } = &mut main;
    if sig.ident != "main" || !sig.receiver.is_empty() {
        return quote!(#(#attrs)* #[allow(unused)] #vis #sig #body);
    }
    attrs.retain(is_inert);
    sig.make_plain();
    quote!(#vis fn main() { #types #(#attrs)* #[allow(unused)] #sig #body })
}

/// Has rustc look at the arguments' types that have no error of ours, where the runtime and the types can be named.
fn check_types(args: &Args, main: &Main) -> TokenStream {
    let nameable = main.sig.parameters().is_empty() && !args.gives("crate");
    let is_unknown =
        |argument: &&Argument| matches!(kind(&argument.ty), Kind::Other) && !is_preloaded_by_value(argument, args);
    let unknown = main.sig.arguments.iter().filter(|argument| nameable && is_unknown(argument));
    let checks = unknown.map(|argument| {
        let conditions = argument.attrs.iter().filter(is_condition);
        let needs = from_worker(&argument.ty, "needs");
        quote_spanned!(Span::mixed_site()=> #(#conditions)* let _ = #needs;)
    });
    let checks: Vec<TokenStream> = checks.collect();
    if checks.is_empty() {
        return TokenStream::new();
    }
    let (runtime, rt) = (&args.runtime, rt(Span::mixed_site()));
    quote_spanned!(Span::mixed_site()=> use #runtime as #rt; #(#checks)*)
}

#[cfg(test)]
mod tests;
