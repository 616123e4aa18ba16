use prefork_rt::prefork;

#[prefork]
const fn main() {
    println!("not const");
}
