//! The options: the builder that takes them, their defaults, and what wins over what.
//!
//! It must not know processes: what an option does is decided where it is used.

mod command_line;
mod environment;
pub mod into;
mod prefork;
mod settings;
mod words;

pub use command_line::{CommandLine, CommandLineOr};
pub(crate) use environment::{Environment, Mode};
pub use prefork::Prefork;
pub(crate) use settings::{RESTARTS_PER_WORKER, Settings};

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use crate::grammar::tables::{Row, has_table, table};

    fn in_this_crate(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
    }

    #[test]
    fn the_guide_has_the_table_of_options() {
        let table = table(["option", "takes", "default", "meaning"], |row| {
            let Row { option, takes, default, meaning, chapter, has_method } = row;
            let name = match has_method {
                true => format!("[`{option}`](crate::Prefork::{option})"),
                false => format!("`{option}`"),
            };
            let meaning = format!("{meaning}: [{chapter}](crate::guide::{})", row.module());
            [name, takes.to_string(), default.clone(), meaning]
        });
        has_table(&in_this_crate("guide/arguments-and-options.md"), "", &format!("\n{table}\n"));
    }

    /// Options link to their chapters, by the labels that stand at its end.
    #[test]
    fn the_readme_has_the_table_of_options() {
        let readme = in_this_crate("README.md");
        let text = std::fs::read_to_string(&readme).expect("a file");
        let label = |row: &Row| {
            let address = format!("/guide/{}/index.html", row.module());
            let line = text.lines().find(|line| line.ends_with(&address)).expect(row.chapter);
            line.split_once(':').expect("a label").0.to_owned()
        };
        let table = table(["option", "default", "meaning"], |row| {
            [format!("[`{}`]{}", row.option, label(row)), row.default.clone(), row.meaning.to_owned()]
        });
        has_table(&readme, "", &format!("\n{table}\n"));
    }
}
