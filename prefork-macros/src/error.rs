//! What is wrong in the user's code, and where: it becomes an error of the compiler at that place.

use std::fmt;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// One mistake, or several of one value.
#[derive(Clone, Debug)]
pub(crate) struct Error {
    messages: Vec<Message>,
}

#[derive(Clone, Debug)]
struct Message {
    start: Span,
    end: Span,
    text: String,
}

impl Error {
    pub(crate) fn new(at: Span, text: impl Into<String>) -> Error {
        Error::between(at, at, text.into())
    }

    /// The mistake is all of these tokens.
    pub(crate) fn new_spanned(tokens: impl ToTokens, text: impl Into<String>) -> Error {
        let mut tokens = tokens.into_token_stream().into_iter();
        let start = tokens.next().map_or_else(Span::call_site, |token| token.span());
        let end = tokens.last().map_or(start, |token| token.span());
        Error::between(start, end, text.into())
    }

    fn between(start: Span, end: Span, text: String) -> Error {
        Error { messages: vec![Message { start, end, text }] }
    }

    /// Adds what is wrong elsewhere in the value.
    pub(crate) fn combine(&mut self, other: Error) {
        self.messages.extend(other.messages);
    }

    /// Where the first mistake begins.
    pub(crate) fn start(&self) -> Span {
        self.messages[0].start
    }

    /// A call of `compile_error!` for each mistake. It begins and ends where the mistake does, for the compiler's arrows.
    pub(crate) fn to_compile_error(&self) -> TokenStream {
        let calls = self.messages.iter().map(|Message { start, end, text }| {
            let name = quote_spanned!(*start=> ::core::compile_error!);
            let arguments = quote_spanned!(*end=> { #text });
            quote!(#name #arguments)
        });
        calls.collect()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.messages[0].text)
    }
}
