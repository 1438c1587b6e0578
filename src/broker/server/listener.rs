//! Accepts connections on a core's share of a listener, within the limits on connections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use runtime::net::{TcpListener, TcpStream};

use crate::core::Core;
use crate::server::connection::{Connection, Ended};
use crate::server::context::Peer;

/// How many connections there are, in all and by address.
#[derive(Debug, Default)]
pub struct ConnectionCounts {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    next_number: usize,
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A counted connection; uncounted on drop.
#[derive(Debug)]
pub struct Counted {
    counts: Arc<ConnectionCounts>,
    address: IpAddr,
    /// Its number in this process, from 1.
    pub number: usize,
}

/// Which limit refuses a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionLimit {
    /// `max.connections`.
    #[error("max.connections ({0}) is reached")]
    Total(usize),
    /// `max.connections.per.ip`.
    #[error("max.connections.per.ip ({0}) is reached")]
    PerAddress(usize),
}

impl ConnectionCounts {
    /// Counts a connection from `address`, unless a limit is reached.
    pub fn admit(
        self: &Arc<ConnectionCounts>,
        address: IpAddr,
        total_max: usize,
        per_address_max: usize,
    ) -> Result<Counted, ConnectionLimit> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.total >= total_max {
            return Err(ConnectionLimit::Total(total_max));
        }
        let here = counts.by_address.entry(address).or_default();
        if *here >= per_address_max {
            return Err(ConnectionLimit::PerAddress(per_address_max));
        }
        *here += 1;
        counts.total += 1;
        counts.next_number += 1;
        Ok(Counted {
            counts: Arc::clone(self),
            address,
            number: counts.next_number,
        })
    }

    /// Connections open now.
    pub fn total(&self) -> usize {
        self.counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .total
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self
            .counts
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        let here = counts
            .by_address
            .get_mut(&self.address)
            .expect("it was counted");
        *here -= 1;
        if *here == 0 {
            counts.by_address.remove(&self.address);
        }
    }
}

/// Accepts until the node stops.
pub async fn accept(core: Rc<Core>, listener: TcpListener, name: String) {
    loop {
        let accepted = runtime::select! {
            biased;
            () = core.serving_ended() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => admit(&core, stream, address, &name),
            Err(error) => {
                // Out of descriptors, most likely: the kernel's queue holds the others meanwhile.
                tracing::warn!(listener = %name, %error, "a connection could not be accepted");
                runtime::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(core: &Rc<Core>, stream: TcpStream, address: std::net::SocketAddr, listener: &str) {
    let node = &core.node;
    let limits = (
        node.settings.connections_max,
        node.settings.connections_per_address_max,
    );
    let counted = match node
        .connection_counts
        .admit(address.ip(), limits.0, limits.1)
    {
        Ok(counted) => counted,
        Err(limit) => {
            node.metrics.connections_refused.add(1);
            tracing::warn!(%address, %limit, "a connection is refused");
            return;
        }
    };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "the connection ended before it began");
        return;
    }
    let peer = Rc::new(Peer {
        number: counted.number,
        listener: listener.to_owned(),
        address,
        principal: "User:ANONYMOUS".to_owned(),
    });
    node.metrics.connections.add(1);
    node.metrics.connections_accepted.add(1);
    let core = Rc::clone(core);
    runtime::task::spawn_local(async move {
        let _counted = counted;
        let ended = Connection::new(Rc::clone(&core), peer, stream)
            .serve()
            .await;
        core.node.metrics.connections.add(-1);
        match ended {
            Ended::Refused(reason) => {
                tracing::warn!(%address, reason, "the connection is closed");
            }
            ended => tracing::debug!(%address, ?ended, "the connection ended"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_in_all_and_by_address() {
        let counts = Arc::new(ConnectionCounts::default());
        let (one, two) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = counts.admit(one, 2, 1).unwrap();
        assert_eq!(
            counts.admit(one, 2, 1).unwrap_err(),
            ConnectionLimit::PerAddress(1)
        );
        let second = counts.admit(two, 2, 1).unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        assert_eq!(
            counts.admit(two, 2, 9).unwrap_err(),
            ConnectionLimit::Total(2)
        );
        drop(first);
        assert_eq!(counts.total(), 1);
        counts.admit(one, 2, 1).unwrap();
    }
}
