//! Kept connections are spread over the workers.

use std::collections::BTreeMap;

use crate::support::until;
use crate::{Connection, Serving};

/// Of this many connections over 4 workers, without balance one worker has 33 to 62.
const CONNECTIONS: usize = 64;
const AT_MOST: usize = 18;

#[test]
fn each_worker_has_its_share_of_kept_connections() {
    let mut serving = Serving::start(&[("PREFORK_WORKERS", "4")]);
    // On a busy machine the other workers may not run in time.
    until("no worker has more than its share", || {
        let mut connections: Vec<Connection> = Vec::new();
        let mut shares = BTreeMap::new();
        for _ in 0..CONNECTIONS {
            let mut connection = serving.connect();
            connection.send("/");
            let (_, body) = connection.answer();
            *shares.entry(body).or_insert(0) += 1;
            connections.push(connection);
        }
        println!("{shares:?}");
        (shares.values().max() <= Some(&AT_MOST)).then_some(())
    });
    serving.stop();
}
