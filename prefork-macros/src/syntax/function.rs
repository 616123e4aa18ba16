//! The parts of a function. rustc has checked its syntax, so that its types, patterns and attributes can stay tokens.

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};

use super::path::Place;
use super::{Cursor, Path, Type};
use crate::error::{Error, Result};

/// The user's function. What is wrong in its body is for rustc to say, once.
pub(crate) struct Main {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: TokenStream,
    pub(crate) sig: Signature,
    body: Group,
}

/// What stands between the visibility and the body. A part that is not there has no tokens.
#[derive(Clone)]
pub(crate) struct Signature {
    pub(crate) constness: TokenStream,
    pub(crate) asyncness: TokenStream,
    pub(crate) unsafety: TokenStream,
    pub(crate) abi: TokenStream,
    function: TokenStream,
    pub(crate) ident: Ident,
    /// In their angle brackets.
    pub(crate) generics: TokenStream,
    /// The arguments in their parentheses.
    inputs: Group,
    /// `self`, in any form.
    pub(crate) receiver: TokenStream,
    pub(crate) arguments: Vec<Argument>,
    /// `...`, with the name that it may have.
    pub(crate) variadic: TokenStream,
    arrow: TokenStream,
    /// The type that is returned, if it is written.
    pub(crate) output: TokenStream,
    pub(crate) where_clause: TokenStream,
}

/// An argument of the function.
#[derive(Clone)]
pub(crate) struct Argument {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) pattern: TokenStream,
    pub(crate) colon: TokenStream,
    pub(crate) ty: Type,
}

/// `#[path …]`.
#[derive(Clone)]
pub(crate) struct Attribute {
    tokens: TokenStream,
    /// The path without spaces.
    pub(crate) path: String,
}

impl Main {
    pub(crate) fn new(item: TokenStream) -> Result<Main> {
        let mut tokens = Vec::new();
        ungroup(item, &mut tokens);
        let mut cursor = Cursor::new(&tokens);
        let attrs = attributes(&mut cursor);
        let vis = visibility(&mut cursor);
        if !starts_function(&cursor) {
            return Err(cursor.error("`#[prefork]` goes on a function: write `#[prefork] fn main() { … }`"));
        }
        let sig = Signature::read(&mut cursor)
            .map_err(|error| Error::new(error.start(), format!("`#[prefork]` cannot read this signature: {error}")))?;
        let Some(body) = cursor.group(Delimiter::Brace) else {
            return Err(cursor.error("`#[prefork]` needs the body of `main`: write `{ … }`"));
        };
        Ok(Main { attrs, vis, sig, body: body.clone() })
    }

    /// The body after some statements of ours.
    pub(crate) fn body_after(&self, statements: &TokenStream) -> TokenStream {
        let tokens: Vec<TokenTree> = self.body.stream().into_iter().collect();
        let mut cursor = Cursor::new(&tokens);
        while cursor.is_punct("#") && is_inner(&cursor) {
            (0..3).for_each(|_| {
                cursor.next();
            });
        }
        let (inner_attrs, body) = (cursor.since(0), tokens[cursor.position()..].iter());
        let mut block = Group::new(Delimiter::Brace, quote!(#inner_attrs #statements #(#body)*));
        block.set_span(self.body.span());
        block.to_token_stream()
    }
}

/// The tokens of an item, out of the groups of the macros that have passed them on. What is returned stays in its group.
fn ungroup(item: TokenStream, tokens: &mut Vec<TokenTree>) {
    for token in item {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None && !is_arrow(tokens) => {
                ungroup(group.stream(), tokens);
            }
            token => tokens.push(token),
        }
    }
}

/// Whether the last tokens are an arrow.
fn is_arrow(tokens: &[TokenTree]) -> bool {
    let is = |token: &TokenTree, char| matches!(token, TokenTree::Punct(punct) if punct.as_char() == char);
    matches!(tokens, [.., minus, greater] if is(minus, '-') && is(greater, '>'))
}

fn attributes(cursor: &mut Cursor<'_>) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    while cursor.is_punct("#") {
        let start = cursor.position();
        cursor.next();
        let Some(group) = cursor.group(Delimiter::Bracket) else { break };
        cursor.next();
        let mut inside = Vec::new();
        ungroup(group.stream(), &mut inside);
        let path = Path::read(&mut Cursor::new(&inside), Place::Expression);
        let path = path.map_or_else(String::new, |path| path.written());
        attributes.push(Attribute { tokens: cursor.since(start), path });
    }
    attributes
}

/// Whether `#!` and brackets follow.
fn is_inner(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.next();
    ahead.eat_punct("!") && ahead.eat_group(Delimiter::Bracket)
}

/// `pub`, or `pub(…)` with the place.
fn visibility(cursor: &mut Cursor<'_>) -> TokenStream {
    let start = cursor.position();
    if cursor.eat_word("pub") {
        cursor.eat_group(Delimiter::Parenthesis);
    }
    cursor.since(start)
}

fn starts_function(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ["const", "async", "unsafe"].into_iter().for_each(|word| {
        ahead.eat_word(word);
    });
    abi(&mut ahead);
    ahead.is_word("fn")
}

/// `extern "C"`
fn abi(cursor: &mut Cursor<'_>) {
    if cursor.eat_word("extern") && matches!(cursor.peek(), Some(TokenTree::Literal(_))) {
        cursor.next();
    }
}

/// The tokens that are read.
fn read(cursor: &mut Cursor<'_>, part: &dyn Fn(&mut Cursor<'_>)) -> TokenStream {
    let start = cursor.position();
    part(cursor);
    cursor.since(start)
}

impl Signature {
    fn read(cursor: &mut Cursor<'_>) -> Result<Signature> {
        let word = |cursor: &mut Cursor<'_>, word| {
            read(cursor, &|cursor| {
                cursor.eat_word(word);
            })
        };
        let (constness, asyncness) = (word(cursor, "const"), word(cursor, "async"));
        let unsafety = word(cursor, "unsafe");
        let abi = read(cursor, &abi);
        let function = word(cursor, "fn");
        let ident = cursor.ident().ok_or_else(|| cursor.error("expected identifier"))?.clone();
        cursor.next();
        let generics = read(cursor, &|cursor| {
            cursor.eat_angles();
        });
        let inputs = cursor.group(Delimiter::Parenthesis).ok_or_else(|| cursor.error("expected parentheses"))?.clone();
        cursor.next();
        let arrow = read(cursor, &|cursor| {
            cursor.eat_punct("->");
        });
        let is_type = |cursor: &Cursor<'_>| {
            !cursor.is_word("where") && !cursor.is_punct(";") && cursor.group(Delimiter::Brace).is_none()
        };
        let output = read(cursor, &|cursor| {
            cursor.eat_while(&is_type);
        });
        let is_condition = |cursor: &Cursor<'_>| !cursor.is_punct(";") && cursor.group(Delimiter::Brace).is_none();
        let where_clause = read(cursor, &|cursor| {
            cursor.eat_while(&is_condition);
        });
        let (receiver, arguments, variadic) = (TokenStream::new(), Vec::new(), TokenStream::new());
        let mut signature = Signature {
            constness,
            asyncness,
            unsafety,
            abi,
            function,
            ident,
            generics,
            inputs,
            receiver,
            arguments,
            variadic,
            arrow,
            output,
            where_clause,
        };
        signature.read_inputs()?;
        Ok(signature)
    }

    fn read_inputs(&mut self) -> Result<()> {
        let tokens: Vec<TokenTree> = self.inputs.stream().into_iter().collect();
        let mut cursor = Cursor::new(&tokens);
        while !cursor.is_at_end() {
            let attrs = attributes(&mut cursor);
            if is_receiver(&cursor) {
                self.receiver = read(&mut cursor, &|cursor| {
                    cursor.eat_while(&|cursor| !cursor.is_punct(","));
                });
            } else if cursor.is_punct("...") {
                self.variadic = read(&mut cursor, &|cursor| {
                    cursor.eat_punct("...");
                });
            } else {
                self.read_argument(attrs, &mut cursor)?;
            }
            cursor.eat_punct(",");
        }
        Ok(())
    }

    fn read_argument(&mut self, attrs: Vec<Attribute>, cursor: &mut Cursor<'_>) -> Result<()> {
        let start = cursor.position();
        let is_pattern = |cursor: &Cursor<'_>| cursor.is_punct("::") || !cursor.is_punct(":") && !cursor.is_punct(",");
        let pattern = read(cursor, &|cursor| {
            cursor.eat_while(&is_pattern);
        });
        let colon = read(cursor, &|cursor| {
            cursor.eat_punct(":");
        });
        if colon.is_empty() {
            let at = cursor.peek().map_or_else(|| self.inputs.span_close(), TokenTree::span);
            return Err(Error::new(at, "expected `:`"));
        }
        if cursor.eat_punct("...") {
            self.variadic = cursor.since(start);
            return Ok(());
        }
        let ty = Type::new(cursor.eat_while(&|cursor| !cursor.is_punct(",")));
        self.arguments.push(Argument { attrs, pattern, colon, ty });
        Ok(())
    }

    /// The same without the arguments.
    pub(crate) fn without_arguments(&self) -> Signature {
        let mut inputs = Group::new(Delimiter::Parenthesis, TokenStream::new());
        inputs.set_span(self.inputs.span());
        Signature { inputs, arguments: Vec::new(), ..self.clone() }
    }

    /// Removes `const`, `extern` and `...`, after which there is a mistake less for rustc.
    pub(crate) fn make_plain(&mut self) {
        (self.constness, self.abi) = (TokenStream::new(), TokenStream::new());
        if !self.variadic.is_empty() {
            let arguments = &self.arguments;
            let mut inputs = Group::new(Delimiter::Parenthesis, quote!(#(#arguments),*));
            inputs.set_span(self.inputs.span());
            self.inputs = inputs;
        }
    }

    /// What the angle brackets after the name have in them.
    pub(crate) fn parameters(&self) -> Vec<TokenTree> {
        let generics: Vec<TokenTree> = self.generics.clone().into_iter().collect();
        Cursor::new(&generics).eat_angles().map_or_else(Vec::new, <[TokenTree]>::to_vec)
    }

    /// Whether all that is generic is lifetimes.
    pub(crate) fn has_only_lifetimes(&self) -> bool {
        let parameters = self.parameters();
        let mut cursor = Cursor::new(&parameters);
        while cursor.is_punct("'") {
            cursor.eat_while(&|cursor| !cursor.is_punct(","));
            cursor.eat_punct(",");
        }
        cursor.is_at_end()
    }
}

/// `self`, `mut self`, `&self`, `&'a mut self`.
fn is_receiver(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    if ahead.eat_punct("&") && ahead.eat_punct("'") {
        ahead.next();
    }
    ahead.eat_word("mut");
    ahead.eat_word("self") && !ahead.is_punct("::")
}

impl Argument {
    /// The name, where the pattern is no more than that, and perhaps `mut`.
    pub(crate) fn plain_name(&self) -> Option<Ident> {
        let mut pattern = Vec::new();
        ungroup(self.pattern.clone(), &mut pattern);
        match &pattern[..] {
            [TokenTree::Ident(name)] if name != "_" => Some(name.clone()),
            [TokenTree::Ident(word), TokenTree::Ident(name)] if word == "mut" => Some(name.clone()),
            _ => None,
        }
    }

    /// Whether the pattern is `_`.
    pub(crate) fn is_ignored(&self) -> bool {
        self.pattern.to_string() == "_"
    }
}

impl Attribute {
    /// Whether this is the last name of the path.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.path.rsplit("::").next() == Some(name)
    }
}

impl ToTokens for Argument {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Argument { attrs, pattern, colon, ty } = self;
        tokens.extend(quote!(#(#attrs)* #pattern #colon #ty));
    }
}

impl ToTokens for Attribute {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.tokens.clone());
    }
}

impl ToTokens for Signature {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Signature { constness, asyncness, unsafety, abi, function, ident, generics, inputs, .. } = self;
        let Signature { arrow, output, where_clause, .. } = self;
        tokens.extend(quote! {
            #constness #asyncness #unsafety #abi #function #ident #generics #inputs #arrow #output #where_clause
        });
    }
}
