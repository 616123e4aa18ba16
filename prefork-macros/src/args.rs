//! The options and their spans: what is given, and every mistake in it.
//!
//! It must not know what the item looks like.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, ExprLit, ExprPath, Lit, LitInt, Path, Result, Token, UnOp};

use crate::grammar::{self, Entry, for_each_option};

/// What the attribute says.
pub(crate) struct Args {
    /// The crate that the expansion calls.
    pub(crate) runtime: Path,
    /// The function to call before the first fork.
    pub(crate) preload: Option<ExprPath>,
    /// The builder's methods and their arguments, in the order written.
    pub(crate) calls: Vec<(Ident, Expr)>,
    /// What `listen` has, where its literals show it.
    pub(crate) addresses: Option<Vec<Entry>>,
    given: Vec<&'static str>,
    /// What misspelt options were probably meant to be.
    meant: Vec<&'static str>,
}

/// What the attribute knows of an option.
struct Row {
    name: &'static str,
    /// A value to show in messages.
    example: &'static str,
    takes: Takes,
}

enum Takes {
    /// Literals of this kind that the function accepts, or any expression.
    Value(Literal, Check),
    /// The path of a function.
    Function,
    /// The path of a crate or module.
    Crate,
}

/// The literals that an option takes. A string is one of them, but for [`Bool`](Self::Bool).
#[derive(Clone, Copy)]
enum Literal {
    Text,
    /// Integers of this type.
    Number(&'static str),
    Bool,
    /// Lists of strings.
    Addresses,
}

type Check = fn(&str) -> std::result::Result<(), String>;

macro_rules! list {
    ($(
        #[doc = $doc:literal]
        $option:ident: $type:ty {
            takes: $takes:literal,
            example: $example:literal,
            default: $default:literal $($more:literal)?,
            read: $read:ident,
            literal: $literal:ident$(($integer:literal))?,
            without_workers: $without_workers:literal,
            chapter: $chapter:literal,
        }
    )+ only the attribute $(
        #[doc = $only_doc:literal]
        $only:ident {
            takes: $only_takes:literal,
            example: $only_example:path,
            default: $only_default:literal,
            literal: $only_literal:ident,
            chapter: $only_chapter:literal,
        }
    )+) => {
        const OPTIONS: &[Row] = &[
            $(Row {
                name: stringify!($option),
                example: stringify!($example),
                takes: Takes::Value(Literal::$literal$(($integer))?, |text| grammar::$read(text).map(drop)),
            },)+
            $(Row { name: stringify!($only), example: stringify!($only_example), takes: Takes::$only_literal },)+
        ];
    };
}
for_each_option!(list);

impl Args {
    /// Reads all there is, and adds one error for each mistake.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Vec<Error>) -> Self {
        let mut args = Args {
            runtime: syn::parse_quote_spanned!(Span::mixed_site()=> ::prefork_rt),
            preload: None,
            calls: Vec::new(),
            addresses: None,
            given: Vec::new(),
            meant: Vec::new(),
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

    /// Whether the option is there, even with a mistake or misspelt. If it is, no message says to add it.
    pub(crate) fn gives(&self, option: &str) -> bool {
        self.given.contains(&option) || self.meant.contains(&option)
    }

    fn read_option(&mut self, input: ParseStream<'_>, errors: &mut Vec<Error>) -> Result<()> {
        let name = input.call(Ident::parse_any).map_err(|_| nameless(input))?;
        let Some(row) = OPTIONS.iter().find(|row| name == row.name) else {
            return Err(self.unknown(&name, input));
        };
        let duplicate = self.given.contains(&row.name);
        self.given.push(row.name);
        let value = read_value(input, &name, row.example)?;
        if duplicate {
            return Err(Error::new(name.span(), format!("`{name}` is given twice: keep one")));
        }
        match row.takes {
            Takes::Value(Literal::Addresses, _) => {
                self.addresses = listed_once(read_addresses(&value, &name, errors), &value, &name, errors);
                self.calls.push((name, value));
            }
            Takes::Value(takes, check) => {
                check_literal(&value, takes, check).map_err(|reason| about(&name, &value, &reason))?;
                self.calls.push((name, value));
            }
            Takes::Function => self.preload = Some(function(&value, &name)?),
            Takes::Crate => self.runtime = path(&value, &name)?,
        }
        Ok(())
    }

    fn unknown(&mut self, name: &Ident, input: ParseStream<'_>) -> Error {
        // Its value is read for what follows it; the name is the mistake, whatever the value.
        let _ = read_value(input, name, "");
        let known: Vec<&'static str> = OPTIONS.iter().map(|row| row.name).collect();
        let nearest = grammar::nearest(&name.to_string(), &known);
        self.meant.extend(nearest);
        let advice = match nearest {
            Some(nearest) => format!(": did you mean `{nearest}`?"),
            None => format!(" (options: {})", known.join(", ")),
        };
        Error::new(name.span(), format!("unknown option `{name}`{advice}"))
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
    let start = input.span();
    let message = format!("this is not a value for `{name}`: write for example `{name} = {example}`");
    input.parse().map_err(|_| Error::new(start, message))
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
    input.error("expected the name of an option: write for example `workers = 4`")
}

fn about(name: &Ident, value: &Expr, reason: &str) -> Error {
    Error::new_spanned(value, format!("{name}: {reason}"))
}

fn check_literal(value: &Expr, takes: Literal, check: Check) -> std::result::Result<(), String> {
    let octal = octal(value).filter(|_| matches!(takes, Literal::Text));
    let Some(text) = octal.or_else(|| literal(value)) else { return Ok(()) };
    check(&text)?;
    match (takes, bare(value), number(value)) {
        (Literal::Bool, Expr::Lit(ExprLit { lit: Lit::Bool(_), .. }), _) => Ok(()),
        (Literal::Bool, ..) => Err(format!("write it without quotes: {text}")),
        (_, Expr::Lit(ExprLit { lit: Lit::Str(_), .. }), _) => Ok(()),
        (Literal::Number(integer), _, Some(number)) => check_suffix(number, integer, &text),
        (Literal::Text | Literal::Number(_) | Literal::Addresses, ..) => Err(format!("write it in quotes: {text:?}")),
    }
}

/// A number has the type of its option, or none.
fn check_suffix(number: &LitInt, integer: &str, text: &str) -> std::result::Result<(), String> {
    match number.suffix() {
        suffix if suffix.is_empty() || suffix == integer => Ok(()),
        suffix => {
            let with_article =
                |integer: &str| format!("{} `{integer}`", if integer.starts_with('i') { "an" } else { "a" });
            Err(format!("expected {}, found {}: write `{text}`", with_article(integer), with_article(suffix)))
        }
    }
}

/// The digits of an integer, which may be negative.
fn number(value: &Expr) -> Option<&LitInt> {
    match bare(value) {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if is_integer(number.suffix()) => Some(number),
        Expr::Unary(minus) if matches!(minus.op, UnOp::Neg(_)) => number(&minus.expr),
        _ => None,
    }
}

/// The addresses, if all are literals.
fn read_addresses(value: &Expr, name: &Ident, errors: &mut Vec<Error>) -> Option<Vec<Entry>> {
    match bare(value) {
        Expr::Reference(reference) => read_addresses(&reference.expr, name, errors),
        Expr::Array(list) if list.elems.is_empty() => {
            errors.push(about(name, value, "the list is empty: leave the option out, or write \"none\""));
            None
        }
        Expr::Array(list) => {
            let lists: Vec<_> = list.elems.iter().map(|one| read_addresses(one, name, errors)).collect();
            Some(lists.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        value => {
            let addresses = grammar::addresses(&literal(value)?);
            addresses.map_err(|reason| errors.push(about(name, value, &reason))).ok()
        }
    }
}

/// The addresses, if no two have one name.
fn listed_once(
    addresses: Option<Vec<Entry>>,
    value: &Expr,
    name: &Ident,
    errors: &mut Vec<Error>,
) -> Option<Vec<Entry>> {
    grammar::each_name_once(addresses?).map_err(|reason| errors.push(about(name, value, &reason))).ok()
}

/// The text of a literal, as the environment would have it; `None` for what only the run can tell.
fn literal(value: &Expr) -> Option<String> {
    match bare(value) {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if is_integer(number.suffix()) => {
            Some(number.base10_digits().to_owned())
        }
        Expr::Lit(other) => Some(other.lit.to_token_stream().to_string()),
        Expr::Unary(minus) if matches!(minus.op, UnOp::Neg(_)) => Some(format!("-{}", literal(&minus.expr)?)),
        Expr::Range(range) => Some(format!("{}..{}", literal(range.start.as_ref()?)?, literal(range.end.as_ref()?)?)),
        _ => None,
    }
}

/// A number that begins with 0, as it is written: where an option takes text, it may be meant as octal.
fn octal(value: &Expr) -> Option<String> {
    let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = bare(value) else { return None };
    let written = number.to_string();
    let digits = written.strip_suffix(number.suffix())?;
    let is_octal = digits.starts_with('0') && !digits.starts_with("0x") && !digits.starts_with("0b");
    (is_octal && is_integer(number.suffix())).then(|| digits.to_owned())
}

/// The value without parentheses, or what groups the tokens that a macro was given.
fn bare(value: &Expr) -> &Expr {
    match value {
        Expr::Group(group) => bare(&group.expr),
        Expr::Paren(paren) => bare(&paren.expr),
        _ => value,
    }
}

/// Whether a number with this suffix is one of Rust's; `30s` is not.
fn is_integer(suffix: &str) -> bool {
    suffix.is_empty() || suffix.starts_with(['i', 'u'])
}

fn function(value: &Expr, name: &Ident) -> Result<ExprPath> {
    match bare(value) {
        Expr::Path(path) => Ok(path.clone()),
        Expr::Call(_) => Err(about(name, value, "name the function without calling it: remove the `(…)`")),
        _ => Err(about(name, value, "expected the path of a function: write `preload = path::to::function`")),
    }
}

fn path(value: &Expr, name: &Ident) -> Result<Path> {
    let path = match bare(value) {
        Expr::Path(path) if path.qself.is_none() => Some(path.path.clone()),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => text.parse_with(Path::parse_mod_style).ok(),
        _ => None,
    };
    path.ok_or_else(|| about(name, value, "expected a path: write for example `crate = path::to::prefork_rt`"))
}

#[cfg(test)]
mod tests;
