use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main() -> Result<std::convert::Infallible, String> {
    std::process::exit(0)
}
