mod framework {
    pub mod runtime {
        pub use prefork_rt::*;
    }
}

#[framework::runtime::prefork(crate = "crate::framework::runtime", workers = 2)]
fn main(_: usize) {}
