use prefork_rt::prefork;

#[prefork(user = "", group = "no body", user = "twice")]
fn main() {}

mod numbers {
    #[prefork_rt::prefork(user = 65534, group = "4294967295")]
    fn main() {}
}

mod types {
    #[prefork_rt::prefork(user = number(), group = "www-data:adm")]
    fn main() {}

    fn number() -> u32 {
        65534
    }
}

mod unusable {
    #[prefork_rt::prefork(user = number())]
    fn main() {}

    fn number() -> u32 {
        65534
    }
}
