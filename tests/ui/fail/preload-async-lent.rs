use prefork_rt::prefork;

async fn load() -> String {
    String::new()
}

#[prefork(preload = load)]
fn main(_: &String) {}
