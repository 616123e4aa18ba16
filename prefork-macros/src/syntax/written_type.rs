//! What a type is, as written, before rustc resolves it.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;

use super::path::Place;
use super::{Cursor, Path};

/// A type. rustc has checked its syntax.
#[derive(Clone)]
pub(crate) struct Type {
    tokens: TokenStream,
    pub(crate) form: TypeForm,
}

#[derive(Clone)]
pub(crate) enum TypeForm {
    /// In parentheses, or in the group of a macro.
    Group(Box<Type>),
    ImplTrait,
    Reference {
        is_mutable: bool,
        target: Box<Type>,
    },
    Slice(Box<Type>),
    Path(Path),
    Other,
}

impl Type {
    pub(crate) fn new(tokens: &[TokenTree]) -> Type {
        Type { tokens: tokens.iter().cloned().collect(), form: form(tokens) }
    }

    fn of(tokens: TokenStream) -> Box<Type> {
        Box::new(Type::new(&tokens.into_iter().collect::<Vec<_>>()))
    }
}

fn form(tokens: &[TokenTree]) -> TypeForm {
    if let [TokenTree::Group(group)] = tokens {
        let inside = group.stream();
        let has = |char| inside.clone().into_iter().any(|token| is_punct(&token, char));
        return match group.delimiter() {
            Delimiter::None => TypeForm::Group(Type::of(inside)),
            Delimiter::Parenthesis if !inside.is_empty() && !has(',') => TypeForm::Group(Type::of(inside)),
            Delimiter::Bracket if !has(';') => TypeForm::Slice(Type::of(inside)),
            _ => TypeForm::Other,
        };
    }
    let mut cursor = Cursor::new(tokens);
    if cursor.is_word("impl") {
        return TypeForm::ImplTrait;
    }
    if cursor.eat_punct("&") {
        if cursor.eat_punct("'") {
            cursor.next();
        }
        let is_mutable = cursor.eat_word("mut");
        return TypeForm::Reference { is_mutable, target: Box::new(Type::new(&tokens[cursor.position()..])) };
    }
    match Path::read(&mut cursor, Place::Type) {
        Some(path) if cursor.is_at_end() => TypeForm::Path(path),
        _ => TypeForm::Other,
    }
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}

impl ToTokens for Type {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.tokens.clone());
    }
}
