use prefork_rt::prefork;

#[prefork]
fn main() -> std::string::String {
    String::new()
}
