use prefork_rt::prefork;

#[prefork]
struct Server;

#[prefork]
const LIMIT: usize = 4;

fn main() {
    let _ = (Server, LIMIT);
}
