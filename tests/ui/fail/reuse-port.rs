use prefork_rt::prefork;

#[prefork(reuse_port = "true")]
fn main() {}

mod numbers {
    #[prefork_rt::prefork(reuse_port = 1, reuse_port = false)]
    fn main() {}
}

mod types {
    #[prefork_rt::prefork(reuse_port = number(), reload = "never")]
    fn main() {}

    fn number() -> u32 {
        1
    }
}

mod unusable {
    #[prefork_rt::prefork(reuse_port = number())]
    fn main() {}

    fn number() -> u32 {
        1
    }
}
