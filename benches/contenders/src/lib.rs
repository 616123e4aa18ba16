//! What the contenders share: the loop that is the limit, the body of their workers, and the memory in which workers
//! report. It must not know prefork, so that the program `limit` has nothing of it.

pub mod bare_loop;
pub mod board;
pub mod body;
pub mod contest;
