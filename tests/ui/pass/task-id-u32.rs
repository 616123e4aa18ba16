use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main(task_id: u32) {
    assert!(task_id < 2);
}
