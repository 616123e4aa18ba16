use prefork_rt::prefork;

#[prefork]
extern "C" fn main() {}
