//! A user or group that an option names, and where it was given.
//!
//! It must not know who that is: the system tells at the start.

use crate::error::Error;
use crate::grammar;

/// A user or group other than root that the code names, and what the environment says in its place.
pub(crate) struct Overruled {
    option: &'static str,
    code: String,
    environment: Option<String>,
}

/// A user or group that was asked for, by name or number, and where.
pub(crate) struct Account {
    pub(crate) name: String,
    option: &'static str,
    from_environment: bool,
}

impl Account {
    pub(crate) fn new(option: &'static str, name: &str, from_environment: bool) -> Account {
        Account { name: name.to_owned(), option, from_environment }
    }

    /// Where it is written as a number.
    pub(crate) fn number(&self) -> Option<u32> {
        grammar::account_number(&self.name)
    }

    /// Why it cannot be used, with the name of the option or variable that gave it.
    pub(crate) fn refuse(&self, reason: String) -> Error {
        match self.from_environment {
            true => Error::Environment { variable: format!("PREFORK_{}", self.option.to_ascii_uppercase()), reason },
            false => Error::Option { name: self.option, reason },
        }
    }
}

impl Overruled {
    pub(crate) fn new(
        option: &'static str,
        environment: &Option<Option<String>>,
        code: &Option<Option<String>>,
    ) -> Option<Overruled> {
        let (environment, code) = (environment.clone()?, code.clone()??);
        let is_root = code == "root" || grammar::account_number(&code) == Some(0);
        (environment.as_ref() != Some(&code) && !is_root).then_some(Overruled { option, code, environment })
    }

    /// The option's name.
    pub(crate) fn name(&self) -> &'static str {
        self.option
    }

    /// `PREFORK_USER=none`.
    pub(crate) fn in_environment(&self) -> String {
        let value = self.environment.as_deref().unwrap_or("none");
        format!("PREFORK_{}={value}", self.option.to_ascii_uppercase())
    }

    /// `user = "nobody"`.
    pub(crate) fn in_code(&self) -> String {
        format!("{} = {:?}", self.option, self.code)
    }
}
