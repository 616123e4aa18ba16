use prefork_rt::prefork;

#[prefork(restart = "never", reload = true)]
fn main() {}

mod others {
    use prefork_rt::prefork;

    #[prefork(restart = 3, reload = "Overlap")]
    pub fn main() {}
}
