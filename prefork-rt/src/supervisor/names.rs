//! What the processes of the pool are called in `ps`.

use crate::sys::ProcessName;

/// `app: supervisor`, or `longer-app: sup`.
pub(super) fn supervisor(app: &str) -> ProcessName {
    ProcessName::of_role(app, format_args!("supervisor"), format_args!("sup"))
}

/// `app: worker 2`, or `longer-app: w2`.
pub(super) fn worker(app: &str, task_id: usize) -> ProcessName {
    ProcessName::of_role(app, format_args!("worker {task_id}"), format_args!("w{task_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_written_out_where_the_whole_name_fits_and_else_is_short() {
        for (app, expected) in [
            ("app", "app: supervisor"),
            ("http", "http: sup"),
            ("a", "a: supervisor"),
            ("", "supervisor"),
            ("ä", "ä: supervisor"),
            ("ää", "ää: sup"),
            ("ten-bytes!", "ten-bytes!: sup"),
            ("eleven-byte", "eleven-byt: sup"),
            ("nine-byteä", "nine-byte: sup"),
            ("🦀", "🦀: sup"),
        ] {
            assert_eq!(supervisor(app).as_str(), expected);
        }
        for (app, task_id, expected) in [
            ("app", 2, "app: worker 2"),
            ("http", 9, "http: worker 9"),
            ("http", 10, "http: worker 10"),
            ("http", 100, "http: w100"),
            ("tcp_echo", 2, "tcp_echo: w2"),
            ("tcp_echo", 4095, "tcp_echo: w4095"),
            ("tcp_echo", 99_999, "tcp_ech: w99999"),
            ("tcp_echo", 4_194_304, "tcp_e: w4194304"),
            ("", 100_000, "worker 100000"),
        ] {
            assert_eq!(worker(app, task_id).as_str(), expected);
        }
    }

    #[test]
    fn no_name_is_longer_than_the_kernels() {
        for app in ["", "a", "tcp_echo", "äöüäöüäöüäöü", "🦀🦀🦀🦀🦀"] {
            assert!(supervisor(app).as_str().len() <= 15);
            for task_id in [0, 10, 1_000_000, usize::MAX] {
                assert!(worker(app, task_id).as_str().len() <= 15);
            }
        }
    }
}
