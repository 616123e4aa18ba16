//! A place in a list of tokens, from which the tokens are read one after another.

use proc_macro2::{Delimiter, Group, Ident, Spacing, Span, TokenStream, TokenTree};

use crate::error::Error;

/// The place. What a macro was given and passes on is a group without delimiters, and one token.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [TokenTree],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [TokenTree]) -> Self {
        Cursor { tokens, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The tokens from here on.
    pub(crate) fn rest(&self) -> &'a [TokenTree] {
        &self.tokens[self.position..]
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position == self.tokens.len()
    }

    pub(crate) fn peek(&self) -> Option<&'a TokenTree> {
        self.tokens.get(self.position)
    }

    pub(crate) fn next(&mut self) -> Option<&'a TokenTree> {
        let token = self.peek();
        self.position += usize::from(token.is_some());
        token
    }

    /// Where the next token begins, or the attribute where there is none.
    pub(crate) fn span(&self) -> Span {
        match self.peek() {
            Some(TokenTree::Group(group)) => group.span_open(),
            Some(token) => token.span(),
            None => Span::call_site(),
        }
    }

    /// Says what is wrong with the next token.
    pub(crate) fn error(&self, message: &str) -> Error {
        Error::new(self.span(), message)
    }

    pub(crate) fn ident(&self) -> Option<&'a Ident> {
        match self.peek() {
            Some(TokenTree::Ident(ident)) => Some(ident),
            _ => None,
        }
    }

    pub(crate) fn group(&self, delimiter: Delimiter) -> Option<&'a Group> {
        match self.peek() {
            Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
            _ => None,
        }
    }

    /// Whether these characters follow, as one operator or as the beginning of one.
    pub(crate) fn is_punct(&self, operator: &str) -> bool {
        let last = operator.len() - 1;
        operator.chars().enumerate().all(|(index, char)| match self.tokens.get(self.position + index) {
            Some(TokenTree::Punct(punct)) => {
                punct.as_char() == char && (index == last || punct.spacing() == Spacing::Joint)
            }
            _ => false,
        })
    }

    /// Whether `::<` follows, which is two operators.
    pub(crate) fn is_turbofish(&self) -> bool {
        let mut ahead = self.clone();
        ahead.eat_punct("::") && ahead.is_punct("<")
    }

    /// Whether the word follows.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.ident().is_some_and(|ident| ident == word)
    }

    /// Goes over the operator, if it follows.
    pub(crate) fn eat_punct(&mut self, operator: &str) -> bool {
        let follows = self.is_punct(operator);
        self.position += if follows { operator.len() } else { 0 };
        follows
    }

    /// Goes over the word, if it follows.
    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let follows = self.is_word(word);
        self.position += usize::from(follows);
        follows
    }

    pub(crate) fn eat_group(&mut self, delimiter: Delimiter) -> bool {
        let follows = self.group(delimiter).is_some();
        self.position += usize::from(follows);
        follows
    }

    /// Goes over `<…>` and returns what is inside.
    pub(crate) fn eat_angles(&mut self) -> Option<&'a [TokenTree]> {
        if !self.eat_punct("<") {
            return None;
        }
        let start = self.position;
        let mut depth = 1;
        while depth > 0 {
            depth += self.step()?;
        }
        Some(&self.tokens[start..self.position - 1])
    }

    /// Goes on while `holds`, but not within angle brackets, which are those of a type.
    pub(crate) fn eat_while(&mut self, holds: &dyn Fn(&Self) -> bool) -> &'a [TokenTree] {
        let start = self.position;
        let mut depth = 0;
        while !self.is_at_end() && (depth > 0 || holds(self)) {
            depth += self.step().unwrap_or(0);
        }
        &self.tokens[start..self.position]
    }

    /// Goes over one token, or over one of the operators that are not to be taken for their parts. Returns by how much the depth of angle brackets changes.
    fn step(&mut self) -> Option<i32> {
        if ["->", "=>", "::"].into_iter().any(|operator| self.eat_punct(operator)) {
            return Some(0);
        }
        match self.next()? {
            TokenTree::Punct(punct) if punct.as_char() == '<' => Some(1),
            TokenTree::Punct(punct) if punct.as_char() == '>' => Some(-1),
            _ => Some(0),
        }
    }

    /// The tokens since an earlier place.
    pub(crate) fn since(&self, start: usize) -> TokenStream {
        self.tokens[start..self.position].iter().cloned().collect()
    }
}
