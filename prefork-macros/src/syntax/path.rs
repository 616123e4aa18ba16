//! The segments of a path.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;

use super::Cursor;

/// A path, in a type, an expression or an attribute.
#[derive(Clone)]
pub(crate) struct Path {
    tokens: TokenStream,
    /// Its names, from the first one.
    pub(crate) segments: Vec<Ident>,
    /// What the last segment has in angle brackets.
    pub(crate) arguments: Option<Vec<TokenTree>>,
    /// Whether it is of the form `<T as Trait>::name`.
    pub(crate) is_qualified: bool,
}

/// Where a path stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `Vec<T>`
    Type,
    /// `Vec::<T>`
    Expression,
}

impl Path {
    /// Goes over a path, if there is one.
    pub(crate) fn read(cursor: &mut Cursor<'_>, place: Place) -> Option<Path> {
        let start = cursor.position();
        let is_qualified = cursor.is_punct("<");
        if is_qualified {
            cursor.eat_angles()?;
        }
        let (mut segments, mut arguments) = (Vec::new(), None);
        let mut begins = cursor.eat_punct("::") || !is_qualified;
        while begins {
            segments.push(cursor.ident()?.clone());
            cursor.next();
            let has_arguments = match place {
                Place::Type => cursor.is_punct("<") || cursor.is_turbofish(),
                Place::Expression => cursor.is_turbofish(),
            };
            arguments = None;
            if has_arguments {
                cursor.eat_punct("::");
                arguments = Some(cursor.eat_angles()?.to_vec());
            }
            begins = cursor.eat_punct("::");
        }
        let is_path = !segments.is_empty();
        is_path.then(|| Path { tokens: cursor.since(start), segments, arguments, is_qualified })
    }

    /// The name, where the path is one name and no more.
    pub(crate) fn get_ident(&self) -> Option<&Ident> {
        match &self.segments[..] {
            [name] if self.tokens.clone().into_iter().count() == 1 => Some(name),
            _ => None,
        }
    }

    pub(crate) fn last(&self) -> Option<&Ident> {
        self.segments.last()
    }

    /// The names with `::` between them.
    pub(crate) fn written(&self) -> String {
        let segments: Vec<String> = self.segments.iter().map(ToString::to_string).collect();
        segments.join("::")
    }
}

impl ToTokens for Path {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.tokens.clone());
    }
}
