use prefork_rt as alias;

#[alias::prefork(workers = 2, crate = alias, preload = load)]
fn main(task_id: usize, worker: alias::Worker, _: &u8) {
    assert_eq!(task_id, worker.task_id());
}

fn load() -> u8 {
    1
}
