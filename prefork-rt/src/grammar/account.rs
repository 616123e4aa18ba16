//! Names and numbers of users and groups.
//!
//! It must not know which of them exist: only the run can tell.

/// The name or number of a user or group; `None` is `"none"`. Whether there is such a one, only the run can tell.
pub(crate) fn account(text: &str) -> Result<Option<String>, String> {
    const WRITE: &str = "write a name such as \"nobody\", a number such as \"65534\", or \"none\"";
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text {
        "none" => Ok(None),
        "" => Err(format!("the name is empty: {WRITE}")),
        _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            Err(format!("{text:?} has a space in it, or what cannot be printed, and no name has: {WRITE}"))
        }
        _ if text.contains([':', ',', '/']) => Err(format!(
            "{text:?} is more than one name: {WRITE}; a user and a group are two options, `user` and `group`"
        )),
        _ if text.starts_with(['-', '+']) => Err(format!("{text:?} is not a name: {WRITE}")),
        // The greatest number means that there is none.
        _ if is_number && account_number(text).is_none() => {
            Err(format!("{text} is too large: numbers of users and groups end at {}", u32::MAX - 1))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

/// What is written in digits is a number, never a name.
pub(crate) fn account_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&number| number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_one_name_or_number() {
        for good in ["nobody", "www-data", "_www", "65534", "0", "4294967294", "svc.app$", "DOMAIN\\\\user", "müller"]
        {
            assert_eq!(account(good), Ok(Some(good.to_owned())));
        }
        assert_eq!(account("none"), Ok(None));
        for (bad, advice) in [
            ("", "empty"),
            (" ", "space"),
            ("nobody ", "space"),
            ("a\0b", "printed"),
            ("nobody:nogroup", "two options"),
            ("a,b", "two options"),
            ("-1", "not a name"),
            ("+1", "not a name"),
            ("4294967295", "end at 4294967294"),
            ("99999999999999999999", "too large"),
        ] {
            let why = account(bad).unwrap_err();
            assert!(why.contains(advice), "{bad:?}: {why}");
        }
        assert_eq!(account_number("007"), Some(7));
        assert_eq!(account_number("7up"), None);
    }
}
