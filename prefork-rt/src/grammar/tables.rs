//! The tables of options in the documentation: made of the rows, and compared with what stands in a file.
//!
//! For tests only. After a change of a row, `WRITE_TABLES=1 cargo test --workspace --lib
//! table_of_options` writes the tables anew.

use std::path::Path;

use super::for_each_option;

/// What the documentation says of an option.
pub(crate) struct Row {
    pub(crate) option: &'static str,
    pub(crate) takes: &'static str,
    pub(crate) default: String,
    pub(crate) meaning: &'static str,
    /// The title of a chapter of the guide.
    pub(crate) chapter: &'static str,
    /// Whether the builder has a method for it.
    pub(crate) has_method: bool,
}

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
        /// The rows, in their order.
        pub(crate) fn rows() -> Vec<Row> {
            vec![
                $(Row {
                    option: stringify!($option),
                    takes: $takes,
                    default: concat!("`", stringify!($default), "`", $($more)?).replace("`\"none\"`", "none"),
                    meaning: $doc.trim_ascii(),
                    chapter: $chapter,
                    has_method: true,
                },)+
                $(Row {
                    option: stringify!($only),
                    takes: $only_takes,
                    default: $only_default.to_owned(),
                    meaning: $only_doc.trim_ascii(),
                    chapter: $only_chapter,
                    has_method: false,
                },)+
            ]
        }
    };
}
for_each_option!(list);

impl Row {
    /// What rustdoc calls the chapter's module.
    pub(crate) fn module(&self) -> String {
        self.chapter.to_lowercase().replace(',', "").replace(' ', "_")
    }
}

/// A table with these columns, and a line of it for each row.
pub(crate) fn table<const N: usize>(columns: [&str; N], line: impl Fn(&Row) -> [String; N]) -> String {
    let columns = columns.map(str::to_owned);
    let rule = [(); N].map(|()| "---".to_owned());
    let lines = [columns, rule].into_iter().chain(rows().into_iter().map(|row| line(&row)));
    lines.map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

/// Panics unless the file has this text between the two marks, with the prefix before each line.
#[track_caller]
pub(crate) fn has_table(file: &Path, prefix: &str, table: &str) {
    const BEGIN: &str = "table of options, made by grammar/tables.rs";
    const END: &str = "end of the table";
    let text = std::fs::read_to_string(file).expect("a file");
    let parts = || {
        let (before, rest) = text.split_once(BEGIN)?;
        let (mark, rest) = rest.split_once('\n')?;
        let end = rest.find(END)?;
        let end = rest[..end].rfind('\n').map_or(0, |newline| newline + 1);
        Some((format!("{before}{BEGIN}{mark}\n"), &rest[..end], &rest[end..]))
    };
    let (before, found, after) = parts().expect("the marks of the table");
    let lines = table.lines().map(|line| format!("{}\n", format!("{prefix}{line}").trim_end()));
    let expected: String = lines.collect();
    if found != expected && std::env::var_os("WRITE_TABLES").is_some() {
        std::fs::write(file, format!("{before}{expected}{after}")).expect("written");
        return;
    }
    assert!(
        found == expected,
        "{} has another table of options: run the test with WRITE_TABLES=1, which writes it anew",
        file.display()
    );
}
