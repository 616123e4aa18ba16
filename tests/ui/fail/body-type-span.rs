use prefork_rt::prefork;

#[prefork(workers = 2)]
fn main(task_id: usize) {
    let _: String = task_id;
}
