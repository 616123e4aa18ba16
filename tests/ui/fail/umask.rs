use prefork_rt::prefork;

#[prefork(umask = 027)]
fn main() {}

mod octal {
    #[prefork_rt::prefork(umask = 0o27)]
    fn main() {}
}

mod decimal {
    #[prefork_rt::prefork(umask = 89)]
    fn main() {}
}

mod negative {
    #[prefork_rt::prefork(umask = -1)]
    fn main() {}
}

mod more_than_permissions {
    #[prefork_rt::prefork(umask = "1777")]
    fn main() {}
}

mod words {
    #[prefork_rt::prefork(umask = "u=rwx,g=rx,o=")]
    fn main() {}
}
