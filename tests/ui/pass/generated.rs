use prefork_rt::prefork;

mod framework {
    pub use prefork_rt::{FromWorker, Prefork, __private};
}

macro_rules! service {
    ($workers:expr, $preload:path, $task_id:ident: $integer:ty, $config:ty) => {
        #[prefork(crate = $crate::framework, workers = $workers, preload = $preload)]
        fn main($task_id: $integer, config: $config) {
            assert!($task_id < 2 && config.is_empty());
        }
    };
}

service!(2, String::new, task_id: usize, &'static String);
