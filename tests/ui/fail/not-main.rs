use prefork_rt::prefork;

#[prefork]
fn serve() {}

fn main() {
    serve();
}
