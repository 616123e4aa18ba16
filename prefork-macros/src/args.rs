//! The options and their spans: what is given, and every mistake in it.
//!
//! It must not know what the item looks like.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, ExprLit, ExprPath, Lit, Path, Result, Token, UnOp};

use crate::grammar;

/// What the attribute says.
pub(crate) struct Args {
    /// The crate that the expansion calls.
    pub(crate) runtime: Path,
    /// The function to call before the first fork.
    pub(crate) preload: Option<ExprPath>,
    /// The builder's methods and their arguments, in the order written.
    pub(crate) calls: Vec<(Ident, Expr)>,
    /// How many addresses `listen` has, where its literals show it.
    pub(crate) addresses: Option<usize>,
    given: Vec<String>,
}

/// Each option: its name, a value to show in messages, and what it takes.
const OPTIONS: &[(&str, &str, Takes)] = &[
    ("workers", "4", Takes::Value(|text| grammar::workers(text).map(drop))),
    ("max_restarts", "100", Takes::Value(|text| grammar::max_restarts(text).map(drop))),
    ("graceful_timeout", "\"30s\"", Takes::Value(|text| grammar::duration(text).map(drop))),
    ("backoff", "\"100ms..1s\"", Takes::Value(|text| grammar::backoff(text).map(drop))),
    ("listen", "\"127.0.0.1:8080\"", Takes::Addresses),
    ("preload", "path::to::function", Takes::Function),
    ("crate", "path::to::prefork_rt", Takes::Crate),
];

enum Takes {
    /// A literal that this function accepts, or any expression.
    Value(Check),
    /// Literals that are addresses, lists of them, or any expression.
    Addresses,
    /// The path of a function.
    Function,
    /// The path of a crate or module.
    Crate,
}

type Check = fn(&str) -> std::result::Result<(), String>;

impl Args {
    /// Reads all there is, and adds one error for each mistake.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Vec<Error>) -> Self {
        let mut args = Args {
            runtime: syn::parse_quote_spanned!(Span::mixed_site()=> ::prefork_rt),
            preload: None,
            calls: Vec::new(),
            addresses: None,
            given: Vec::new(),
        };
        let every_option = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(error) = args.read_option(input, errors) {
                    errors.push(error);
                    skip_to_comma(input)?;
                }
                read_comma(input, errors)?;
            }
            Ok(())
        };
        let syntax = every_option.parse2(tokens);
        errors.extend(syntax.err());
        args
    }

    /// Whether the option is there, be it with a mistake.
    pub(crate) fn gives(&self, option: &str) -> bool {
        self.given.iter().any(|given| given == option)
    }

    fn read_option(&mut self, input: ParseStream<'_>, errors: &mut Vec<Error>) -> Result<()> {
        let name = input.call(Ident::parse_any).map_err(|_| nameless(input))?;
        let Some((option, example, takes)) = OPTIONS.iter().find(|(option, ..)| name == option) else {
            return Err(self.unknown(&name, input));
        };
        let duplicate = self.gives(option);
        self.given.push((*option).to_owned());
        let value = read_value(input, &name, example)?;
        if duplicate {
            return Err(Error::new(name.span(), format!("`{option}` is given twice: keep one")));
        }
        match takes {
            Takes::Value(check) => {
                check_literal(&value, check).map_err(|reason| about(&name, &value, &reason))?;
                self.calls.push((name, value));
            }
            Takes::Addresses => {
                self.addresses = count_addresses(&value, &name, errors);
                self.calls.push((name, value));
            }
            Takes::Function => self.preload = Some(function(value, &name)?),
            Takes::Crate => self.runtime = path(value, &name)?,
        }
        Ok(())
    }

    /// An option that was probably meant counts as given, so that nobody is told to add it.
    fn unknown(&mut self, name: &Ident, input: ParseStream<'_>) -> Error {
        // Its value is read for what follows it; the name is the mistake, whatever the value.
        let _ = read_value(input, name, "");
        let known: Vec<&str> = OPTIONS.iter().map(|(option, ..)| *option).collect();
        let nearest = grammar::nearest(&name.to_string(), &known);
        self.given.extend(nearest.map(str::to_owned));
        let advice = nearest.map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default();
        let message = format!("unknown option `{name}`: {advice}The options are {}", known.join(", "));
        Error::new(name.span(), message)
    }
}

fn read_value(input: ParseStream<'_>, name: &Ident, example: &str) -> Result<Expr> {
    let ends = |input: ParseStream<'_>| input.is_empty() || input.peek(Token![,]);
    let missing =
        |at: TokenStream| Error::new_spanned(at, format!("`{name}` has no value: write `{name} = {example}`"));
    if ends(input) {
        return Err(missing(quote!(#name)));
    }
    let equals: Token![=] = input
        .parse()
        .map_err(|error| Error::new(error.span(), format!("expected `=` and a value: write `{name} = {example}`")))?;
    if ends(input) {
        return Err(missing(quote!(#name #equals)));
    }
    let not_a_value = |error: Error| {
        Error::new(error.span(), format!("this is not a value for `{name}`: write for example `{name} = {example}`"))
    };
    input.parse().map_err(not_a_value)
}

fn read_comma(input: ParseStream<'_>, errors: &mut Vec<Error>) -> Result<()> {
    if input.is_empty() || input.parse::<Option<Token![,]>>()?.is_some() {
        return Ok(());
    }
    errors.push(input.error("expected `,` before the next option"));
    if input.peek(Ident::peek_any) { Ok(()) } else { skip_to_comma(input).and_then(|()| read_comma(input, errors)) }
}

fn skip_to_comma(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn nameless(input: ParseStream<'_>) -> Error {
    input.error("expected an option, its name first: for example `workers = 4`")
}

fn about(name: &Ident, value: &Expr, reason: &str) -> Error {
    Error::new_spanned(value, format!("{name}: {reason}"))
}

fn check_literal(value: &Expr, check: &Check) -> std::result::Result<(), String> {
    let Some(text) = literal(value) else { return Ok(()) };
    check(&text)?;
    match suffix(value) {
        "" | "usize" => Ok(()),
        suffix => Err(format!("expected a `usize`, this is a `{suffix}`: write `{text}`")),
    }
}

/// How many addresses there are, if all are literals.
fn count_addresses(value: &Expr, name: &Ident, errors: &mut Vec<Error>) -> Option<usize> {
    if let Expr::Array(list) = value {
        let counts: Vec<_> = list.elems.iter().map(|one| count_addresses(one, name, errors)).collect();
        return counts.into_iter().sum();
    }
    let addresses = grammar::addresses(&literal(value)?);
    addresses.map_err(|reason| errors.push(about(name, value, &reason))).ok().map(|addresses| addresses.len())
}

/// The text of a literal, as the environment would have it; `None` for what only the run can tell.
fn literal(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Some(number.base10_digits().to_owned()),
        Expr::Lit(other) => Some(other.lit.to_token_stream().to_string()),
        Expr::Unary(minus) if matches!(minus.op, UnOp::Neg(_)) => Some(format!("-{}", literal(&minus.expr)?)),
        Expr::Group(group) => literal(&group.expr),
        Expr::Paren(paren) => literal(&paren.expr),
        _ => None,
    }
}

fn suffix(value: &Expr) -> &str {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => number.suffix(),
        Expr::Group(group) => suffix(&group.expr),
        Expr::Paren(paren) => suffix(&paren.expr),
        _ => "",
    }
}

fn function(value: Expr, name: &Ident) -> Result<ExprPath> {
    match value {
        Expr::Path(path) => Ok(path),
        Expr::Group(group) => function(*group.expr, name),
        Expr::Call(call) => {
            Err(about(name, &Expr::Call(call), "name the function without calling it: remove the `(…)`"))
        }
        other => Err(about(name, &other, "expected the path of a function: write `preload = path::to::function`")),
    }
}

fn path(value: Expr, name: &Ident) -> Result<Path> {
    let refused =
        |value: &Expr| about(name, value, "expected a path: write for example `crate = path::to::prefork_rt`");
    match &value {
        Expr::Group(group) => path((*group.expr).clone(), name),
        Expr::Path(path) if path.qself.is_none() => Ok(path.path.clone()),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            text.parse_with(Path::parse_mod_style).map_err(|_| refused(&value))
        }
        _ => Err(refused(&value)),
    }
}
