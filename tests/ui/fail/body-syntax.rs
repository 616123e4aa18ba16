use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main(_: usize) {
    let = 4;
}
