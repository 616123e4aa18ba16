use prefork_rt::prefork;

fn load(_: u8) -> String {
    String::new()
}

#[prefork(preload = load)]
fn main(_: &String) {}
