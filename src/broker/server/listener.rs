//! Accepts connections on a core's share of a listener, within the limits on connections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::net::{TcpListener, TcpStream};
use types::Mono;

use crate::core::Core;
use crate::image::ConnectionLimits;
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
    /// The second that is counted, and the connections created in it.
    second: u64,
    created: u64,
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
    ///
    /// # Errors
    /// Which one.
    pub fn admit(
        self: &Arc<ConnectionCounts>,
        address: IpAddr,
        limits: &ConnectionLimits,
    ) -> Result<Counted, ConnectionLimit> {
        let mut counts = self.lock();
        if counts.total >= limits.total_max {
            return Err(ConnectionLimit::Total(limits.total_max));
        }
        let own = limits.overrides.get(&address).copied();
        let per_address_max = own.unwrap_or(limits.per_address_max);
        if counts.by_address.get(&address).copied().unwrap_or(0) >= per_address_max {
            return Err(ConnectionLimit::PerAddress(per_address_max));
        }
        *counts.by_address.entry(address).or_default() += 1;
        counts.total += 1;
        counts.next_number += 1;
        Ok(Counted {
            counts: Arc::clone(self),
            address,
            number: counts.next_number,
        })
    }

    /// Counts a connection that is created at `now`. If that makes more than `per_second_max` in this second, gives
    /// how long to wait before the next one is accepted.
    pub fn created(&self, now: Mono, per_second_max: u64) -> Option<Duration> {
        const SECOND: u64 = 1_000_000_000;
        let mut counts = self.lock();
        let second = now.as_nanos() / SECOND;
        if counts.second != second {
            (counts.second, counts.created) = (second, 0);
        }
        counts.created += 1;
        let rest = SECOND - now.as_nanos() % SECOND;
        (counts.created >= per_second_max).then(|| Duration::from_nanos(rest))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
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
            Ok((stream, address)) => {
                admit(&core, stream, address, &name);
                let image = core.node.image();
                let rate = image.broker_config().connections.created_per_second_max;
                if let Some(wait) = core.node.connection_counts.created(core.now().mono, rate) {
                    runtime::time::sleep(wait).await;
                }
            }
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
    let image = node.image();
    let limits = &image.broker_config().connections;
    let counted = match node.connection_counts.admit(address.ip(), limits) {
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
            Ended::Io(error) => tracing::debug!(%address, %error, "the connection failed"),
            ended => tracing::debug!(%address, ?ended, "the connection ended"),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total_max: usize, per_address_max: usize) -> ConnectionLimits {
        let overrides = BTreeMap::from([(IpAddr::from([127, 0, 0, 9]), 0)]);
        ConnectionLimits {
            total_max,
            per_address_max,
            overrides,
            created_per_second_max: 2,
        }
    }

    #[test]
    fn limits_hold_in_all_and_by_address() {
        let counts = Arc::new(ConnectionCounts::default());
        let address = |last| IpAddr::from([127, 0, 0, last]);
        let first = counts.admit(address(1), &limits(2, 1)).unwrap();
        let per_address = counts.admit(address(1), &limits(2, 1));
        assert_eq!(per_address.unwrap_err(), ConnectionLimit::PerAddress(1));
        let overridden = counts.admit(address(9), &limits(2, 1));
        assert_eq!(overridden.unwrap_err(), ConnectionLimit::PerAddress(0));
        let second = counts.admit(address(2), &limits(2, 1)).unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        let total = counts.admit(address(2), &limits(2, 9));
        assert_eq!(total.unwrap_err(), ConnectionLimit::Total(2));
        drop(first);
        assert_eq!(counts.total(), 1);
        counts.admit(address(1), &limits(2, 1)).unwrap();
    }

    #[test]
    fn beyond_the_rate_the_rest_of_the_second_is_waited_out() {
        let counts = ConnectionCounts::default();
        let at = |millis| Mono::START.plus_millis(millis);
        assert_eq!(counts.created(at(1100), 2), None);
        assert_eq!(
            counts.created(at(1400), 2),
            Some(Duration::from_millis(600))
        );
        assert_eq!(counts.created(at(2000), 2), None);
    }
}
