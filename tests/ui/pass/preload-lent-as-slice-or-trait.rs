use prefork_rt::prefork;

use std::fmt::Debug;

fn load() -> Vec<u8> {
    vec![1, 2]
}

#[prefork(workers = 2, preload = load)]
#[tokio::main(flavor = "current_thread")]
async fn main(slice: &[u8], debug: &(dyn Debug + Sync)) {
    assert_eq!((slice.len(), format!("{debug:?}")), (2, "[1, 2]".to_owned()));
}
