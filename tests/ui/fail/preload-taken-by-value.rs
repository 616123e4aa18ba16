use prefork_rt::prefork;

struct Config;

fn load() -> Config {
    Config
}

#[prefork(preload = load)]
fn main(_: Config) {}
