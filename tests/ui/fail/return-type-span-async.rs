use prefork_rt::prefork;

#[prefork]
#[tokio::main]
async fn main(_: usize) -> Option<u8> {
    None
}
