//! What the contenders share: the loop that is the limit, the bodies of workers, the memory in which they report, and the
//! gigabyte that some of them share. It must not know prefork, so that the program `limit` has nothing of it.

pub mod bare_loop;
pub mod board;
pub mod body;
pub mod contest;
pub mod gigabyte;
