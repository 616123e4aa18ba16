//! Where an expression ends, and what it is, as far as an option must know. What it does not know it leaves to rustc.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;

use super::path::Place;
use super::{Cursor, Lit, Path};

/// An expression.
pub(crate) struct Expr {
    tokens: TokenStream,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    Lit(Lit),
    Path(Path),
    /// In parentheses, or in the group of a macro.
    Group(Box<Expr>),
    Negative(Box<Expr>),
    Reference(Box<Expr>),
    List(Vec<Expr>),
    Range(Option<Box<Expr>>, Option<Box<Expr>>),
    /// `base.name`
    Field(Box<Expr>),
    /// `left - right`
    Difference(Box<Expr>, Box<Expr>),
    Assignment,
    Call,
    Other,
}

/// Operators between two operands, the longer ones before those that they begin with.
const OPERATORS: [&str; 28] = [
    "<<=", ">>=", "+=", "-=", "*=", "/=", "%=", "^=", "&=", "|=", "==", "!=", "<=", ">=", "&&", "||", "<<", ">>", "+",
    "-", "*", "/", "%", "^", "&", "|", "<", ">",
];
const RANGES: [&str; 2] = ["..=", ".."];

/// Words with which an expression begins that has blocks in it, or leaves the place where it stands.
const STATEMENTS: [&str; 15] = [
    "async", "break", "const", "continue", "for", "if", "let", "loop", "match", "move", "return", "static", "unsafe",
    "while", "yield",
];

/// Words with which no expression begins.
const RESERVED: [&str; 17] = [
    "as", "dyn", "else", "enum", "extern", "fn", "impl", "in", "mod", "mut", "pub", "ref", "struct", "trait", "type",
    "use", "where",
];

/// The expression with which the tokens begin, and how many of them it has.
pub(crate) fn read_expression(tokens: &[TokenTree]) -> Option<(Expr, usize)> {
    let mut cursor = Cursor::new(tokens);
    let expression = assignment(&mut cursor)?;
    Some((expression, cursor.position()))
}

/// The expression that all of the tokens are.
fn whole(tokens: TokenStream) -> Option<Expr> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    read_expression(&tokens).filter(|&(_, length)| length == tokens.len()).map(|(expression, _)| expression)
}

/// The form that is made since this place.
fn since(cursor: &Cursor<'_>, start: usize, form: Form) -> Expr {
    Expr { tokens: cursor.since(start), form }
}

fn assignment(cursor: &mut Cursor<'_>) -> Option<Expr> {
    let start = cursor.position();
    let left = range(cursor)?;
    if cursor.is_punct("==") || cursor.is_punct("=>") || !cursor.eat_punct("=") {
        return Some(left);
    }
    assignment(cursor)?;
    Some(since(cursor, start, Form::Assignment))
}

fn range(cursor: &mut Cursor<'_>) -> Option<Expr> {
    let start = cursor.position();
    let is_range = |cursor: &mut Cursor<'_>| RANGES.into_iter().any(|dots| cursor.eat_punct(dots));
    let from = if RANGES.into_iter().any(|dots| cursor.is_punct(dots)) { None } else { Some(operation(cursor)?) };
    if !is_range(cursor) {
        return from;
    }
    let has_end = !cursor.is_at_end() && !cursor.is_punct(",");
    let to = if has_end { Some(operation(cursor)?) } else { None };
    Some(since(cursor, start, Form::Range(from.map(Box::new), to.map(Box::new))))
}

/// Operands with operators between them. Their precedence does not matter: it is a difference if all are a minus.
fn operation(cursor: &mut Cursor<'_>) -> Option<Expr> {
    let start = cursor.position();
    let mut left = operand(cursor)?;
    let mut only_minus = true;
    while let Some(operator) = OPERATORS.into_iter().find(|operator| cursor.eat_punct(operator)) {
        let right = operand(cursor)?;
        only_minus &= operator == "-";
        let form = if only_minus { Form::Difference(Box::new(left), Box::new(right)) } else { Form::Other };
        left = since(cursor, start, form);
    }
    Some(left)
}

fn operand(cursor: &mut Cursor<'_>) -> Option<Expr> {
    let start = cursor.position();
    let form = if cursor.eat_punct("-") {
        Form::Negative(Box::new(operand(cursor)?))
    } else if cursor.eat_punct("!") || cursor.eat_punct("*") {
        operand(cursor)?;
        Form::Other
    } else if cursor.is_punct("&") {
        let is_double = cursor.eat_punct("&&") || !cursor.eat_punct("&");
        cursor.eat_word("mut");
        let target = operand(cursor)?;
        if is_double { Form::Other } else { Form::Reference(Box::new(target)) }
    } else {
        return primary(cursor).and_then(|expression| with_suffixes(cursor, start, expression));
    };
    let expression = since(cursor, start, form);
    Some(cast(cursor, start, expression))
}

fn primary(cursor: &mut Cursor<'_>) -> Option<Expr> {
    let start = cursor.position();
    let form = match cursor.peek()? {
        TokenTree::Literal(literal) => {
            cursor.next();
            Form::Lit(Lit::new(literal))
        }
        TokenTree::Group(group) => {
            cursor.next();
            in_group(group.delimiter(), group.stream())?
        }
        TokenTree::Punct(_) if cursor.is_punct("|") => closure(cursor)?,
        TokenTree::Punct(_) if cursor.is_punct("'") => rest(cursor),
        TokenTree::Punct(_) => Form::Path(Path::read(cursor, Place::Expression)?),
        TokenTree::Ident(word) => {
            let text = word.to_string();
            match text.as_str() {
                "true" | "false" => {
                    cursor.next();
                    Form::Lit(Lit::Bool)
                }
                "move" | "async" | "static" if is_closure(cursor) => closure(cursor)?,
                text if STATEMENTS.contains(&text) => rest(cursor),
                text if RESERVED.contains(&text) => return None,
                _ => after_path(cursor)?,
            }
        }
    };
    Some(since(cursor, start, form))
}

fn in_group(delimiter: Delimiter, inside: TokenStream) -> Option<Form> {
    let has_separator = inside.clone().into_iter().any(|token| is_one_of(&token, &[',', ';']));
    match delimiter {
        Delimiter::Parenthesis | Delimiter::None if inside.is_empty() || has_separator => Some(Form::Other),
        Delimiter::Parenthesis | Delimiter::None => Some(Form::Group(Box::new(whole(inside)?))),
        Delimiter::Bracket => list(inside),
        Delimiter::Brace => Some(Form::Other),
    }
}

fn is_one_of(token: &TokenTree, chars: &[char]) -> bool {
    matches!(token, TokenTree::Punct(punct) if chars.contains(&punct.as_char()))
}

/// The elements between brackets. `[element; count]` is not one of them.
fn list(inside: TokenStream) -> Option<Form> {
    let tokens: Vec<TokenTree> = inside.into_iter().collect();
    let (mut elements, mut start) = (Vec::new(), 0);
    while start < tokens.len() {
        let (element, length) = read_expression(&tokens[start..])?;
        elements.push(element);
        start += length;
        match tokens.get(start) {
            Some(token) if is_one_of(token, &[',']) => start += 1,
            Some(token) if is_one_of(token, &[';']) => return Some(Form::Other),
            Some(_) => return None,
            None => {}
        }
    }
    Some(Form::List(elements))
}

/// A path, a call of a macro or the value of a structure.
fn after_path(cursor: &mut Cursor<'_>) -> Option<Form> {
    let path = Path::read(cursor, Place::Expression)?;
    if cursor.is_punct("!") && !cursor.is_punct("!=") {
        cursor.next();
        return matches!(cursor.next(), Some(TokenTree::Group(_))).then_some(Form::Other);
    }
    if cursor.eat_group(Delimiter::Brace) {
        return Some(Form::Other);
    }
    Some(Form::Path(path))
}

fn is_closure(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    while ["static", "async", "move"].into_iter().any(|word| ahead.eat_word(word)) {}
    ahead.is_punct("|")
}

fn closure(cursor: &mut Cursor<'_>) -> Option<Form> {
    while ["static", "async", "move"].into_iter().any(|word| cursor.eat_word(word)) {}
    if !cursor.eat_punct("||") {
        cursor.eat_punct("|");
        cursor.eat_while(&|cursor| !cursor.is_punct("|"));
        cursor.eat_punct("|");
    }
    if cursor.eat_punct("->") {
        cursor.eat_while(&|cursor| cursor.group(Delimiter::Brace).is_none());
        cursor.eat_group(Delimiter::Brace);
        return Some(Form::Other);
    }
    assignment(cursor)?;
    Some(Form::Other)
}

/// All to the next comma. What is wrong in there, rustc says.
fn rest(cursor: &mut Cursor<'_>) -> Form {
    while !cursor.is_at_end() && !cursor.is_punct(",") {
        cursor.next();
    }
    Form::Other
}

/// Fields, methods, calls, indices and `?`, and then casts.
fn with_suffixes(cursor: &mut Cursor<'_>, start: usize, mut expression: Expr) -> Option<Expr> {
    loop {
        let form = if cursor.is_punct(".") && !cursor.is_punct("..") {
            cursor.next();
            cursor.next().filter(|token| !matches!(token, TokenTree::Punct(_)))?;
            if cursor.is_turbofish() {
                cursor.eat_punct("::");
                cursor.eat_angles()?;
            }
            if cursor.eat_group(Delimiter::Parenthesis) { Form::Other } else { Form::Field(Box::new(expression)) }
        } else if cursor.eat_group(Delimiter::Parenthesis) {
            Form::Call
        } else if cursor.eat_group(Delimiter::Bracket) || cursor.eat_punct("?") {
            Form::Other
        } else {
            return Some(cast(cursor, start, expression));
        };
        expression = since(cursor, start, form);
    }
}

fn cast(cursor: &mut Cursor<'_>, start: usize, expression: Expr) -> Expr {
    let mut expression = expression;
    while cursor.eat_word("as") {
        while cursor.eat_punct("*") || cursor.eat_punct("&") || cursor.eat_word("const") || cursor.eat_word("mut") {}
        if Path::read(cursor, Place::Type).is_none() {
            cursor.next();
        }
        expression = since(cursor, start, Form::Other);
    }
    expression
}

impl ToTokens for Expr {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.tokens.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tokens there are, and how many of them are the expression at their beginning.
    fn lengths(text: &str) -> (usize, Option<usize>) {
        let tokens: Vec<TokenTree> = text.parse::<TokenStream>().expect("tokens").into_iter().collect();
        (tokens.len(), read_expression(&tokens).map(|(_, length)| length))
    }

    #[test]
    fn an_expression_ends_with_the_option() {
        for text in [
            "a",
            "a::<A, B>::c()",
            "<A as B<C, D>>::f(x)",
            "::a::b",
            "f::<A, B>()",
            "- -5",
            "!a",
            "*a",
            "&mut a",
            "&&a",
            "&[1, 2]",
            "[1; 4]",
            "()",
            "(a, b)",
            "a + b * c",
            "a - b - c",
            "a as Vec<A, B>",
            "-a as u8 + 1",
            "a as &A",
            "a < b",
            "a << 2",
            "a >= b",
            "a == b",
            "a && b || c",
            "a..b",
            "..",
            "..b",
            "a..",
            "1..=4",
            "|a, b| a + b",
            "move || x",
            "|a: Vec<A, B>| -> Result<A, B> { x }",
            "|_| 4",
            "async |a, b| c",
            "async { 4 }",
            "unsafe { A }.b",
            "if let Some(x) = y { 1 } else { 2 }",
            "match a { B => 1, _ => 2 }",
            "{ a }",
            "a.0.1",
            "a.b::<C, D>(e)",
            "a.await",
            "a?.b",
            "a()()",
            "a.b(c)[d].e",
            "A::<B> { c, ..d }",
            "vec![1, 2]",
            "a::b!(c, d)",
            "Foo::<{ 3 }>::bar()",
            "<[A; 2]>::len(&x)",
            "30s",
            "true && false",
            "_",
            "a = b",
            "a += 1",
            "127.0.0.1",
            "f(|a, b| c, d)",
            "return 4",
            "5..f()",
            "\"a\".into()",
        ] {
            let (length, found) = lengths(text);
            assert_eq!(found, Some(length), "{text}");
            assert_eq!(lengths(&format!("{text}, x = 1")).1, Some(length), "{text}, …");
        }
    }

    #[test]
    fn an_expression_ends_before_what_cannot_go_on_with_it() {
        for (text, length) in [
            ("4 5", 1),
            ("4 backoff", 1),
            ("a b", 1),
            ("localhost:8080", 1),
            ("512 MiB", 1),
            ("4; 5", 1),
            ("a => b", 1),
            ("a() \"b\"", 2),
        ] {
            assert_eq!(lengths(text).1, Some(length), "{text}");
        }
    }

    #[test]
    fn what_begins_no_expression_or_breaks_off_is_none() {
        for text in ["", "*:8080", ":8080", "[::1]", "4 +", "+ 4", "struct", "a.", "a::", "a!", "-", "== 4", "impl A"] {
            assert_eq!(lengths(text).1, None, "{text}");
        }
    }
}
