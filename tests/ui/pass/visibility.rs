#![deny(warnings)]

mod inner {
    use prefork_rt::prefork;

    #[prefork(workers = 2)]
    pub(crate) fn main(_: usize) -> Result<(), String> {
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    inner::main()
}
