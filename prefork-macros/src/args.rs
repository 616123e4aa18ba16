//! The options and their spans: what is given, and every mistake in it.
//!
//! It must not know what the item looks like.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};

use crate::error::{Error, Result};
use crate::grammar::{self, Entry, Foreign, for_each_option};
use crate::syntax::{self, Cursor, Expr, Form, Integer, Lit, Path, Place};

/// Not an option, but what [`Args::gives`] is asked as if it were one: the attribute of an async runtime.
pub(crate) const RUNTIME: &str = "a runtime";

/// What the attribute says.
pub(crate) struct Args {
    /// The crate that the expansion calls.
    pub(crate) runtime: TokenStream,
    /// The function to call before the first fork.
    pub(crate) preload: Option<Path>,
    /// The builder's methods and their arguments, in the order written.
    pub(crate) calls: Vec<(Ident, Expr)>,
    /// What `listen` has, where its literals show it.
    pub(crate) addresses: Option<Vec<Entry>>,
    given: Vec<&'static str>,
    /// What misspelt options were probably meant to be.
    meant: Vec<&'static str>,
    /// Words without quotes, and the errors to report unless they are names.
    words: Vec<(Ident, Error)>,
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
            runtime: quote_spanned!(Span::mixed_site()=> ::prefork_rt),
            preload: None,
            calls: Vec::new(),
            addresses: None,
            given: Vec::new(),
            meant: Vec::new(),
            words: Vec::new(),
        };
        let mut options = Vec::new();
        ungroup_options(tokens, &mut options);
        let mut input = Cursor::new(&options);
        while !input.is_at_end() {
            if let Err(error) = args.read_option(&mut input, errors) {
                errors.push(error);
                skip_to_comma(&mut input);
            }
            read_comma(&mut input, errors);
        }
        args
    }

    /// Whether the option is there, even with a mistake or misspelt. If it is, no message says to add it.
    pub(crate) fn gives(&self, option: &str) -> bool {
        self.given.contains(&option) || self.meant.contains(&option)
    }

    fn read_option(&mut self, input: &mut Cursor<'_>, errors: &mut Vec<Error>) -> Result<()> {
        let (name, start, written) = read_name(input)?;
        let Some(row) = OPTIONS.iter().find(|row| name == row.name) else {
            return Err(self.unknown(&name, &written, input));
        };
        let name = Ident::new(row.name, start);
        let duplicate = self.given.contains(&row.name);
        self.given.push(row.name);
        let value = read_value(input, &name, row)?;
        if name != written.to_string() {
            return Err(Error::new_spanned(&written, format!("write `{name}`: the names of options have underscores")));
        }
        if duplicate {
            return Err(Error::new(name.span(), format!("`{name}` is given twice: keep one")));
        }
        match row.takes {
            Takes::Value(Literal::Addresses, check) => {
                self.note_word(&name, &value, check);
                self.addresses = listed_once(read_addresses(&value, &name, errors), &value, &name, errors);
                self.calls.push((name, value));
            }
            Takes::Value(takes, check) => {
                check_literal(&value, takes, check).map_err(|reason| about(&name, &value, &reason))?;
                self.note_word(&name, &value, check);
                self.calls.push((name, value));
            }
            Takes::Function => self.preload = Some(function(&value, &name)?),
            Takes::Crate => self.runtime = path(&value, &name)?,
        }
        Ok(())
    }

    /// Notes a word of the option that is written as if it were a variable: `workers = auto`.
    fn note_word(&mut self, name: &Ident, value: &Expr, check: Check) {
        const WORDS: [&str; 6] = ["auto", "always", "exclusive", "none", "overlap", "unlimited"];
        let Form::Path(path) = &bare(value).form else { return };
        let Some(word) = path.get_ident() else { return };
        let text = word.to_string();
        if WORDS.contains(&text.as_str()) && check(&text).is_ok() {
            self.words.push((word.clone(), about(name, value, &in_quotes(&text))));
        }
    }

    /// The words without quotes, as errors, but for those that are the name of something that the options may use.
    pub(crate) fn words<'a>(&'a self, is_name: impl Fn(&Ident) -> bool + 'a) -> impl Iterator<Item = &'a Error> {
        self.words.iter().filter(move |(word, _)| !is_name(word)).map(|(_, error)| error)
    }

    fn unknown(&mut self, name: &str, written: &TokenStream, input: &mut Cursor<'_>) -> Error {
        if input.is_punct("::") {
            let path = quote!(#written).into_iter().chain(written_until_comma(input)).collect::<TokenStream>();
            self.meant.push(RUNTIME);
            let message = format!(
                "this is no option: write `#[{}]` as an attribute of its own, below `#[prefork]`",
                compact(path.clone())
            );
            return Error::new_spanned(path, message);
        }
        // Its value is read for what follows it, and may show what the name means.
        let value = input.eat_punct("=").then(|| read_expression(input)).flatten();
        let known: Vec<&'static str> = OPTIONS.iter().map(|row| row.name).collect();
        let nearest = grammar::nearest(name, &known);
        let is_address = value.and_then(|value| literal(&value)).is_some_and(|text| is_address(&text));
        let (meant, advice) = match grammar::foreign(name) {
            Some(Foreign::Is(option)) => (Some(option), did_you_mean(option)),
            Some(Foreign::Do(advice)) => (name.contains("port").then_some("listen"), format!(": {advice}")),
            None if nearest.is_some() => (nearest, nearest.map(did_you_mean).unwrap_or_default()),
            None if is_address => (Some("listen"), did_you_mean("listen")),
            None => (None, format!(" (options: {})", known.join(", "))),
        };
        self.meant.extend(meant);
        Error::new_spanned(written, format!("unknown option `{}`{advice}", compact(written.clone())))
    }
}

fn did_you_mean(option: &str) -> String {
    format!(": did you mean `{option}`?")
}

/// Whether the text is an address with a port, which no other option's value is.
fn is_address(text: &str) -> bool {
    text.contains(':') && grammar::addresses(text).is_ok_and(|addresses| !addresses.is_empty())
}

/// The tokens of all options, out of the groups of the macros that have passed on whole options, as `$option:meta` does.
/// A value stays in its group.
fn ungroup_options(tokens: TokenStream, options: &mut Vec<TokenTree>) {
    for token in tokens {
        let begins = match options.last() {
            Some(TokenTree::Punct(punct)) => punct.as_char() == ',',
            last => last.is_none(),
        };
        match token {
            TokenTree::Group(group) if begins && group.delimiter() == Delimiter::None => {
                ungroup_options(group.stream(), options);
            }
            token => options.push(token),
        }
    }
}

/// The name of an option, with underscores, where it begins, and as it is written: perhaps with hyphens.
fn read_name(input: &mut Cursor<'_>) -> Result<(String, Span, TokenStream)> {
    let first = input.ident().ok_or_else(|| nameless(input))?;
    let (start, mut name) = (input.position(), first.to_string());
    input.next();
    while let Some(part) = after_hyphen(input) {
        name = format!("{name}_{part}");
    }
    Ok((name, first.span(), input.since(start)))
}

/// Goes over a hyphen and the word after it, if both follow.
fn after_hyphen<'a>(input: &mut Cursor<'a>) -> Option<&'a Ident> {
    let mut ahead = input.clone();
    let part = ahead.eat_punct("-").then(|| ahead.ident()).flatten()?;
    ahead.next();
    *input = ahead;
    Some(part)
}

fn read_value(input: &mut Cursor<'_>, name: &Ident, row: &Row) -> Result<Expr> {
    read_equals(input, name, row.example)?;
    let example = row.example;
    let (start, written) = (input.span(), written_until_comma(&mut input.clone()));
    let value = read_expression(input);
    let is_whole = value.is_some() && ends(input);
    if let Takes::Value(takes, check) = row.takes {
        let is_text = !is_whole || value.as_ref().is_some_and(|value| is_text(value, takes));
        if let Some(error) = is_text.then(|| without_quotes(&written, name, takes, check)).flatten() {
            skip_to_comma(input);
            return Err(error);
        }
    }
    if let Some(question_mark) = question_mark(&written) {
        let advice = "return the error from the function that `preload` names, or say what to do without the value";
        skip_to_comma(input);
        return Err(Error::new_spanned(
            question_mark,
            format!("{name}: an error cannot leave an option by `?`: {advice}"),
        ));
    }
    match value {
        Some(value) if !matches!(bare(&value).form, Form::Assignment) => Ok(value),
        _ => {
            Err(Error::new(start, format!("this is not a value for `{name}`: write for example `{name} = {example}`")))
        }
    }
}

fn ends(input: &Cursor<'_>) -> bool {
    input.is_at_end() || input.is_punct(",")
}

fn read_equals(input: &mut Cursor<'_>, name: &Ident, example: &str) -> Result<()> {
    let missing =
        |at: TokenStream| Error::new_spanned(at, format!("`{name}` has no value: write `{name} = {example}`"));
    if ends(input) {
        return Err(missing(quote!(#name)));
    }
    let start = input.position();
    if !input.eat_punct("=") {
        return Err(input.error(&format!("expected `=` and a value: write `{name} = {example}`")));
    }
    let equals = input.since(start);
    if ends(input) { Err(missing(quote!(#name #equals))) } else { Ok(()) }
}

/// Goes over an expression, or leaves the input as it is.
fn read_expression(input: &mut Cursor<'_>) -> Option<Expr> {
    let (value, length) = syntax::read_expression(input.rest())?;
    (0..length).for_each(|_| {
        input.next();
    });
    Some(value)
}

/// Goes over what is left of the option.
fn written_until_comma(input: &mut Cursor<'_>) -> TokenStream {
    let start = input.position();
    skip_to_comma(input);
    input.since(start)
}

/// A `?` outside of blocks, closures and macros, where it would leave the expression.
fn question_mark(tokens: &TokenStream) -> Option<TokenTree> {
    let is = |token: &TokenTree, c: char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == c);
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    if tokens.iter().any(|token| is(token, '|') || is(token, '!')) {
        return None;
    }
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() != Delimiter::Brace => question_mark(&group.stream()),
        token => is(&token, '?').then_some(token),
    })
}

/// Whether an expression can only be meant as text: `127.0.0.1`, and for an option that takes words, `on-failure`.
fn is_text(value: &Expr, takes: Literal) -> bool {
    match &bare(value).form {
        Form::Field(base) => matches!(bare(base).form, Form::Lit(_)) || is_text(base, takes),
        Form::Difference(left, right) => {
            let is_word = |value: &Expr| matches!(&value.form, Form::Path(path) if path.get_ident().is_some());
            matches!(takes, Literal::Text) && (is_word(left) || is_text(left, takes)) && is_word(right)
        }
        Form::Assignment => true,
        _ => false,
    }
}

/// The error about text that has no quotes, if the tokens are that: each token in them alone is one of Rust.
fn without_quotes(tokens: &TokenStream, name: &Ident, takes: Literal, check: Check) -> Option<Error> {
    let error = |tokens: &TokenStream, reason: &str| Some(Error::new_spanned(tokens, format!("{name}: {reason}")));
    let parts: Vec<TokenTree> = tokens.clone().into_iter().collect();
    if let ([TokenTree::Group(list)], Literal::Addresses) = (&parts[..], takes) {
        let elements: Vec<TokenTree> = list.stream().into_iter().collect();
        let (mut input, mut errors) = (Cursor::new(&elements), Vec::new());
        while !input.is_at_end() {
            errors.extend(without_quotes(&written_until_comma(&mut input), name, takes, check));
            input.eat_punct(",");
        }
        return errors.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
    }
    let text = compact(tokens.clone());
    let is_address = matches!(takes, Literal::Addresses);
    let is_more = text.contains(['"', ';']) || (text.contains('=') && !is_address) || has_two_words(&parts);
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    match check(&text) {
        _ if is_more => None,
        Ok(()) => error(tokens, &in_quotes(&text)),
        Err(reason) if is_number && !matches!(takes, Literal::Number(_)) => error(tokens, &reason),
        Err(_) => None,
    }
}

/// Whether one word follows another, which the text without spaces would not show. A number and its unit are one word.
fn has_two_words(tokens: &[TokenTree]) -> bool {
    let is_word = |token: &TokenTree| matches!(token, TokenTree::Ident(_) | TokenTree::Literal(_));
    let is_number = |token: &TokenTree| token.to_string().starts_with(|c: char| c.is_ascii_digit());
    let mut pairs = tokens.windows(2).enumerate();
    pairs.any(|(index, two)| {
        let is_quantity = is_number(&two[0]) && matches!(two[1], TokenTree::Ident(_)) && index + 2 == tokens.len();
        is_word(&two[0]) && is_word(&two[1]) && !is_quantity
    })
}

/// The tokens without the spaces between them.
fn compact(tokens: TokenStream) -> String {
    let parts = tokens.into_iter().map(|token| match token {
        TokenTree::Group(group) => {
            let (open, close) = match group.delimiter() {
                Delimiter::Parenthesis => ("(", ")"),
                Delimiter::Brace => ("{", "}"),
                Delimiter::Bracket => ("[", "]"),
                Delimiter::None => ("", ""),
            };
            format!("{open}{}{close}", compact(group.stream()))
        }
        token => token.to_string(),
    });
    parts.collect()
}

fn in_quotes(text: &str) -> String {
    format!("write it in quotes: {text:?}")
}

fn read_comma(input: &mut Cursor<'_>, errors: &mut Vec<Error>) {
    if input.is_at_end() || input.eat_punct(",") {
        return;
    }
    errors.push(input.error("expected `,` before the next option"));
    if input.ident().is_none() {
        skip_to_comma(input);
        read_comma(input, errors);
    }
}

fn skip_to_comma(input: &mut Cursor<'_>) {
    while !ends(input) {
        input.next();
    }
}

fn nameless(input: &Cursor<'_>) -> Error {
    input.error("expected the name of an option: write for example `workers = 4`")
}

/// An error at the value: where a macro passes it on, at what that macro was given.
fn about(name: &Ident, value: &Expr, reason: &str) -> Error {
    Error::new_spanned(bare(value), format!("{name}: {reason}"))
}

fn check_literal(value: &Expr, takes: Literal, check: Check) -> std::result::Result<(), String> {
    let octal = octal(value).filter(|_| matches!(takes, Literal::Text));
    let Some(text) = octal.or_else(|| literal(value)) else { return Ok(()) };
    check(&text)?;
    match (takes, &bare(value).form, number(value)) {
        (Literal::Bool, Form::Lit(Lit::Bool), _) => Ok(()),
        (Literal::Bool, ..) => Err(format!("write it without quotes: {text}")),
        (_, Form::Lit(Lit::Text(_)), _) => Ok(()),
        (Literal::Number(integer), _, Some(number)) => check_suffix(number, integer, &text),
        (Literal::Text | Literal::Number(_) | Literal::Addresses, ..) => Err(in_quotes(&text)),
    }
}

/// A number has the type of its option, or none.
fn check_suffix(number: &Integer, integer: &str, text: &str) -> std::result::Result<(), String> {
    match &number.suffix {
        suffix if suffix.is_empty() || suffix == integer => Ok(()),
        suffix => {
            let with_article =
                |integer: &str| format!("{} `{integer}`", if integer.starts_with('i') { "an" } else { "a" });
            Err(format!("expected {}, found {}: write `{text}`", with_article(integer), with_article(suffix)))
        }
    }
}

/// An integer, which may be negative.
fn number(value: &Expr) -> Option<&Integer> {
    match &bare(value).form {
        Form::Lit(Lit::Integer(number)) => Some(number),
        Form::Negative(value) => number(value),
        _ => None,
    }
}

/// The addresses, if all are literals.
fn read_addresses(value: &Expr, name: &Ident, errors: &mut Vec<Error>) -> Option<Vec<Entry>> {
    match &bare(value).form {
        Form::Reference(list) => read_addresses(list, name, errors),
        Form::List(list) if list.is_empty() => {
            errors.push(about(name, value, "the list is empty: leave the option out, or write \"none\""));
            None
        }
        Form::List(list) => {
            let lists: Vec<_> = list.iter().map(|one| read_addresses(one, name, errors)).collect();
            Some(lists.into_iter().collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
        }
        _ => {
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
    match &bare(value).form {
        Form::Lit(Lit::Text(text)) => Some(text.value.clone()),
        Form::Lit(Lit::Integer(number)) => Some(number.value.clone()),
        Form::Lit(Lit::Bool | Lit::Other) => Some(bare(value).to_token_stream().to_string()),
        Form::Field(base) if literal(base).is_some() => Some(compact(value.to_token_stream())),
        Form::Negative(value) => Some(format!("-{}", literal(value)?)),
        Form::Range(start, end) => Some(format!("{}..{}", literal(start.as_ref()?)?, literal(end.as_ref()?)?)),
        _ => None,
    }
}

/// A number that begins with 0, as it is written: where an option takes text, it may be meant as octal.
fn octal(value: &Expr) -> Option<String> {
    let Form::Lit(Lit::Integer(Integer { digits, .. })) = &bare(value).form else { return None };
    let is_octal = digits.starts_with('0') && !digits.starts_with("0x") && !digits.starts_with("0b");
    is_octal.then(|| digits.clone())
}

/// The value without parentheses, or what groups the tokens that a macro was given.
fn bare(value: &Expr) -> &Expr {
    match &value.form {
        Form::Group(inner) => bare(inner),
        _ => value,
    }
}

fn function(value: &Expr, name: &Ident) -> Result<Path> {
    match &bare(value).form {
        Form::Path(path) => Ok(path.clone()),
        Form::Call => Err(about(name, value, "name the function without calling it: remove the `(…)`")),
        _ => Err(about(name, value, "expected the path of a function: write `preload = path::to::function`")),
    }
}

fn path(value: &Expr, name: &Ident) -> Result<TokenStream> {
    let path = match &bare(value).form {
        Form::Path(path) if !path.is_qualified => Some(path.to_token_stream()),
        Form::Lit(Lit::Text(text)) if text.suffix.is_empty() => module(&text.value, text.span),
        _ => None,
    };
    path.ok_or_else(|| about(name, value, "expected a path: write for example `crate = path::to::prefork_rt`"))
}

/// The path of a module, which has names only, as if it were written here.
fn module(text: &str, here: Span) -> Option<TokenStream> {
    let at = |mut token: TokenTree| {
        token.set_span(here);
        token
    };
    let tokens: Vec<TokenTree> = text.parse::<TokenStream>().ok()?.into_iter().map(at).collect();
    let mut input = Cursor::new(&tokens);
    let path = Path::read(&mut input, Place::Expression)?;
    (input.is_at_end() && !text.contains('<')).then(|| path.to_token_stream())
}

#[cfg(test)]
mod tests;
