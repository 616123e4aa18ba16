use prefork_rt::prefork;

struct Wanted;
struct Loaded;

fn load() -> Loaded {
    Loaded
}

#[prefork(preload = load)]
fn main(_: &Wanted) {}
