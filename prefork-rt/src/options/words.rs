//! The words of options read as their types, for programs that have them in a file or on their command line.

use std::str::FromStr;

use crate::error::UnknownWord;
use crate::grammar::{self, Reload, Restart};

impl FromStr for Restart {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Restart, UnknownWord> {
        grammar::restart(word).map_err(|reason| UnknownWord(format!("restart: {reason}")))
    }
}

impl FromStr for Reload {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Reload, UnknownWord> {
        grammar::reload(word).map_err(|reason| UnknownWord(format!("reload: {reason}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_option_of_two_words_is_read_as_it_is_printed() {
        for restart in [Restart::OnFailure, Restart::Always] {
            assert_eq!(restart.to_string().parse(), Ok(restart));
        }
        for reload in [Reload::Overlap, Reload::Exclusive] {
            assert_eq!(reload.to_string().parse(), Ok(reload));
        }
        let unknown = "Always".parse::<Restart>().unwrap_err().to_string();
        assert!(unknown.starts_with("restart: \"Always\" is not accepted: write \"on-failure\""), "{unknown}");
    }
}
