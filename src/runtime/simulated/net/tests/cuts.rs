//! Cuts and resets.

use super::*;
use crate::simulated::net::Cut;
use crate::time::sleep;

#[test]
fn what_a_cut_holds_goes_on_when_it_ends() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        write(&pair.client_end, &pattern(1000)).await;
        fabric.cut(client, server, Cut::Hold);
        assert!(fabric.is_cut(client, server) && !fabric.is_cut(server, client));
        write(&pair.client_end, &pattern(3000)).await;
        pair.client_end.shutdown_write().unwrap();
        assert!(is_silent(&pair.server_end).await);
        // The way back is open.
        write(&pair.server_end, &pattern(10)).await;
        read_exactly(&pair.client_end, 10).await;
        // What is sent now does not overtake what waits.
        fabric.restore(client, server);
        let (seen, end) = read_all(&pair.server_end).await;
        assert!(seen[..1000] == pattern(1000) && seen[1000..] == pattern(3000));
        assert_eq!(end, None);
    });
}

#[test]
fn a_held_writer_fills_its_window_and_waits() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        fabric.cut(client, server, Cut::Hold);
        let Pair {
            client_end,
            server_end,
            ..
        } = pair;
        let writer =
            crate::task::spawn_local(async move { write(&client_end, &pattern(200_000)).await });
        sleep(Duration::from_secs(60)).await;
        assert!(!writer.is_finished());
        let view = fabric.connections().remove(0);
        assert_eq!(view.unacknowledged_bytes, [64 << 10, 0]);
        assert!(view.open);
        fabric.restore(client, server);
        assert!(read_exactly(&server_end, 200_000).await == pattern(200_000));
        writer.await.unwrap();
    });
}

#[test]
fn a_connection_is_asked_for_until_the_cut_ends() {
    for (cut, forth) in [
        (Cut::Hold, true),
        (Cut::Hold, false),
        (Cut::BlackHole, true),
        (Cut::BlackHole, false),
    ] {
        in_world(1, || async {
            let pair = Pair::new().await;
            let (client, server) = pair.ids();
            let (from, to) = if forth {
                (client, server)
            } else {
                (server, client)
            };
            let fabric = Fabric::current();
            fabric.cut(from, to, cut);
            let address = SocketAddr::new(ip(2), PORT);
            let connecting = pair.client.spawn(TcpStream::connect(address));
            sleep(Duration::from_secs(30)).await;
            assert!(!connecting.is_finished(), "{cut:?} lets {from} -> {to} by");
            fabric.restore(from, to);
            let client_end = connecting.await.unwrap().unwrap();
            let (server_end, _) = pair.listener.accept().await.unwrap();
            write(&client_end, &pattern(10)).await;
            read_exactly(&server_end, 10).await;
        });
    }
}

#[test]
fn what_a_black_hole_swallowed_ends_in_a_reset() {
    for forth in [true, false] {
        in_world(1, || async {
            let pair = Pair::new().await;
            let (mut from, mut to) = pair.ids();
            let (mut writes, mut reads) = (&pair.client_end, &pair.server_end);
            if !forth {
                (from, to) = (to, from);
                (writes, reads) = (reads, writes);
            }
            let fabric = Fabric::current();
            fabric.cut(from, to, Cut::BlackHole);
            write(writes, &pattern(10)).await;
            assert!(is_silent(reads).await);
            assert!(is_silent(writes).await);
            fabric.restore(from, to);
            for end in [reads, writes] {
                let (seen, failure) = read_all(end).await;
                assert!(seen.is_empty());
                assert_eq!(failure, Some(ErrorKind::ConnectionReset));
            }
        });
    }
}

#[test]
fn what_follows_a_gap_is_not_delivered() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        fabric.cut(client, server, Cut::BlackHole);
        write(&pair.client_end, &pattern(10)).await;
        sleep(Duration::from_secs(1)).await;
        fabric.restore(client, server);
        write(&pair.client_end, &pattern(20)).await;
        let (seen, failure) = read_all(&pair.server_end).await;
        assert!(seen.is_empty());
        assert_eq!(failure, Some(ErrorKind::ConnectionReset));
    });
}

#[test]
fn who_sends_nothing_does_not_notice_a_black_hole() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        write(&pair.server_end, &pattern(100)).await;
        sleep(Duration::from_secs(1)).await;
        for (from, to) in [(client, server), (server, client)] {
            fabric.cut(from, to, Cut::BlackHole);
        }
        // Reading half a window would announce it: the announcement is sent again.
        read_exactly(&pair.client_end, 100).await;
        sleep(Duration::from_secs(600)).await;
        for (from, to) in [(client, server), (server, client)] {
            fabric.restore(from, to);
        }
        assert!(is_silent(&pair.client_end).await);
        write(&pair.client_end, &pattern(10)).await;
        read_exactly(&pair.server_end, 10).await;
    });
}

#[test]
fn an_announcement_that_was_lost_is_sent_again() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        write(&pair.client_end, &pattern(64 << 10)).await;
        sleep(Duration::from_secs(1)).await;
        fabric.cut(server, client, Cut::BlackHole);
        read_exactly(&pair.server_end, 64 << 10).await;
        let writable = timeout(Duration::from_secs(10), pair.client_end.writable()).await;
        assert!(writable.is_err(), "nothing can tell it");
        fabric.restore(server, client);
        write(&pair.client_end, &pattern(64 << 10)).await;
        read_exactly(&pair.server_end, 64 << 10).await;
    });
}

#[test]
fn the_end_of_a_stream_obeys_the_link() {
    in_world(1, || async {
        let Pair {
            client,
            server,
            listener,
            client_end,
            server_end,
        } = Pair::new().await;
        let (client_id, server_id) = (id(&client), id(&server));
        let fabric = Fabric::current();
        fabric.cut(client_id, server_id, Cut::Hold);
        drop(client_end);
        assert!(is_silent(&server_end).await);
        fabric.restore(client_id, server_id);
        assert_eq!(read_all(&server_end).await.1, None);
        drop(server_end);

        let address = SocketAddr::new(ip(2), PORT);
        let client_end = connect_to(&client, address).await.unwrap();
        let (server_end, _) = listener.accept().await.unwrap();
        fabric.cut(client_id, server_id, Cut::BlackHole);
        drop(client_end);
        assert!(is_silent(&server_end).await);
        fabric.restore(client_id, server_id);
        let failure = read_all(&server_end).await.1;
        assert_eq!(failure, Some(ErrorKind::ConnectionReset));
        drop(server_end);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(fabric.connections(), []);
    });
}

#[test]
fn a_reset_comes_in_the_middle_of_what_is_on_its_way() {
    let mut lengths = Vec::new();
    for seed in 1..=20 {
        let seen = in_world(seed, || async {
            let pair = Pair::new().await;
            let (client, server) = pair.ids();
            let fabric = Fabric::current();
            write(&pair.client_end, &pattern(500)).await;
            sleep(Duration::from_millis(2)).await;
            write(&pair.client_end, &pattern(40_000)).await;
            assert_eq!(fabric.reset(server, client, 10), 1);
            let (seen, failure) = read_all(&pair.server_end).await;
            assert_eq!(failure, Some(ErrorKind::ConnectionReset));
            let (nothing, failure) = read_all(&pair.client_end).await;
            assert!(nothing.is_empty());
            assert_eq!(failure, Some(ErrorKind::ConnectionReset));
            assert_eq!(fabric.reset(server, client, 10), 0);
            seen
        });
        // What had arrived is read, and a part of what had not.
        assert!(seen[..500] == pattern(500) && seen[500..] == pattern(40_000)[..seen.len() - 500]);
        lengths.push(seen.len());
    }
    assert!(lengths.iter().any(|&length| length < 40_500));
    lengths.dedup();
    assert!(lengths.len() > 10, "{lengths:?}");
}

#[test]
fn a_reset_may_choose() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let address = SocketAddr::new(ip(2), PORT);
        let mut more = Vec::new();
        for _ in 1..10 {
            more.push(connect_to(&pair.client, address).await.unwrap());
        }
        sleep(Duration::from_secs(1)).await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        let open = || -> Vec<u64> {
            let connections = fabric.connections();
            let open = connections.iter().filter(|view| view.open);
            open.map(|view| view.id).collect()
        };
        let all = open();
        assert_eq!(all.len(), 10);
        assert_eq!(fabric.reset(client, server, 3), 3);
        let left = open();
        assert_eq!(left.len(), 7);
        assert!(left != all[..7] && left != all[3..], "they are drawn");
    });
}

#[test]
fn cuts_are_told() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        let ((), seen) = recorded(async {
            fabric.cut(client, server, Cut::Hold);
            write(&pair.client_end, &pattern(10)).await;
            sleep(Duration::from_secs(1)).await;
            fabric.restore(client, server);
            sleep(Duration::from_secs(1)).await;
            fabric.cut(client, server, Cut::BlackHole);
            write(&pair.client_end, &pattern(10)).await;
            sleep(Duration::from_secs(1)).await;
            fabric.restore(client, server);
            sleep(Duration::from_secs(1)).await;
        })
        .await;
        let expected = [
            (client, "hold"),
            (server, "deliver"),
            (client, "drop"),
            (server, "rst"),
            (client, "rst"),
        ];
        assert_eq!(kinds(&seen), expected);
        assert_eq!(
            seen[1].fields[1..],
            [("peer", client as i64), ("bytes", 10)]
        );
    });
}
