use prefork_rt::prefork;

fn load() -> String {
    String::new()
}

#[prefork(preload = load)]
fn main(_: usize) {}
