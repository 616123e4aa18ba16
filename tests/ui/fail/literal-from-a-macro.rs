use prefork_rt::prefork;

// The errors stand where the macro is called.
macro_rules! pool {
    ($workers:expr, $timeout:literal, $address:expr, $lifetime:expr, $argument:ty) => {
        #[prefork(workers = $workers, graceful_timeout = $timeout, listen = [$address])]
        fn main() {}

        mod types {
            #[prefork_rt::prefork(max_lifetime = $lifetime)]
            fn main(_: $argument) {}
        }
    };
}

pool!("four", "soon", "nowhere", 3u8 + 1, String);
