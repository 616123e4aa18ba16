use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main(task_id: usize) {
    assert!(task_id < 2);
}
