use prefork_rt::prefork;

#[prefork(workers = "four", max_restarts = -1, prelod = 3, workers = 2, listen = ["a", "127.0.0.1:0", "b"], graceful_timeout = 30)]
#[tokio::main]
pub const unsafe extern "C" fn main<T>(a: usize, b: u32, c: &mut T, d: impl Copy, _: ...) -> Nonsense {
    let after: usize = a;
    after
}
