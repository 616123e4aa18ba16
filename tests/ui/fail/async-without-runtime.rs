use prefork_rt::prefork;

#[prefork]
async fn main() {}
