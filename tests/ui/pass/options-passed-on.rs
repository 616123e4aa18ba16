use prefork_rt::prefork;

macro_rules! service {
    ($($option:meta),*) => {
        #[prefork($($option),*)]
        fn main() {}
    };
}

service!(workers = 1, max_restarts = 0);
