use prefork_rt::prefork;

use prefork_rt::Worker;

fn load() -> (u8, [u8; 2]) {
    (1, [2, 3])
}

#[prefork(workers = 2, preload = load)]
fn main(_: Worker, mut task_id: usize, &(one, [two, three]): &(u8, [u8; 2]), _whole @ (first, _): &(u8, [u8; 2])) {
    task_id += 10;
    assert!(task_id >= 10);
    assert_eq!((one, two, three, *first), (1, 2, 3, 1));
}
