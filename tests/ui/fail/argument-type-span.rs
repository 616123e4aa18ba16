use prefork_rt::prefork;

#[prefork]
fn main(_: usize, name: Vec<String>) {
    println!("{name:?}");
}
