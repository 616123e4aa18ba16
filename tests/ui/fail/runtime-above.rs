use prefork_rt::prefork;

// A runtime attribute above is expanded first and refuses the arguments: put it below.
#[tokio::main]
#[prefork]
async fn main(_: usize) {}
