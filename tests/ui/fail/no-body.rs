use prefork_rt::prefork;

trait Serve {
    #[prefork]
    fn main();
}

fn main() {}
