use prefork_rt::prefork;

#[prefork(preload = lod)]
fn main(_: &String) {}
