use prefork_rt::prefork;

struct Server;

impl Server {
    #[prefork]
    fn main(&self) {}
}

fn main() {
    Server.main();
}
