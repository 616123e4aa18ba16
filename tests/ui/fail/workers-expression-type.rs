use prefork_rt::prefork;

fn count() -> i32 {
    4
}

#[prefork(workers = count())]
fn main() {}
