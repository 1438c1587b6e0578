//! Latency, bandwidth, windows, pieces, addresses.

use super::*;

#[test]
fn a_connection_takes_a_round_trip_and_an_answer_another() {
    in_world(1, || async {
        let (client, server) = (node(1), node(2));
        let fabric = Fabric::current();
        let slow_back = Link {
            latency_us: 3000,
            ..EVEN
        };
        fabric.set_link(id(&server), id(&client), slow_back);
        let address = SocketAddr::new(ip(2), PORT);
        let listener = listen_on(&server, address, 10).await;
        let begin_us = now_us();
        let client_end = connect_to(&client, address).await.unwrap();
        let connected_us = now_us() - begin_us;
        assert!((4000..4010).contains(&connected_us), "{connected_us}");
        let (server_end, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), ip(1));
        assert_eq!(server_end.local_addr().unwrap(), address);
        let begin_us = now_us();
        write(&client_end, &pattern(200)).await;
        read_exactly(&server_end, 200).await;
        write(&server_end, &pattern(200)).await;
        read_exactly(&client_end, 200).await;
        let answered_us = now_us() - begin_us;
        assert!((4000..4020).contains(&answered_us), "{answered_us}");
    });
}

#[test]
fn nobody_listening_is_said_after_a_round_trip() {
    in_world(1, || async {
        let (client, _server) = (node(1), node(2));
        for address in ["10.0.0.2:1", "10.0.0.99:1"] {
            let begin_us = now_us();
            let refused = connect_to(&client, address.parse().unwrap()).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert!(now_us() - begin_us >= 200, "it takes a round trip");
        }
        assert_eq!(Fabric::current().connections(), []);
    });
}

#[test]
fn jitter_and_the_heavy_tail_stay_in_their_bounds() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let link = Link {
            jitter_us: 500,
            tail_one_in: 4,
            tail_factor: 10,
            ..EVEN
        };
        Fabric::current().set_link(client, server, link);
        let mut times_us = Vec::new();
        for _ in 0..200 {
            let begin_us = now_us();
            write(&pair.client_end, &pattern(1)).await;
            read_exactly(&pair.server_end, 1).await;
            times_us.push(now_us() - begin_us);
        }
        let (short, long): (Vec<u64>, Vec<u64>) = times_us.iter().partition(|&&us| us < 1510);
        assert!(short.iter().all(|&us| us >= 1000));
        assert!(short.iter().any(|&us| us < 1100) && short.iter().any(|&us| us > 1400));
        assert!(long.iter().all(|&us| (10_000..15_010).contains(&us)));
        assert!((20..=90).contains(&long.len()), "{}", long.len());
    });
}

#[test]
fn connections_share_the_bandwidth_of_their_link() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let second_client = connect_to(&pair.client, SocketAddr::new(ip(2), PORT))
            .await
            .unwrap();
        let (second_server, _) = pair.listener.accept().await.unwrap();
        let (client, server) = pair.ids();
        let narrow = Link {
            bytes_per_second: 100_000,
            ..EVEN
        };
        Fabric::current().set_link(client, server, narrow);
        let begin_us = now_us();
        write(&pair.client_end, &pattern(50_000)).await;
        write(&second_client, &pattern(50_000)).await;
        read_exactly(&pair.server_end, 50_000).await;
        let first_us = now_us() - begin_us;
        read_exactly(&second_server, 50_000).await;
        let second_us = now_us() - begin_us;
        assert!((501_000..501_100).contains(&first_us), "{first_us}");
        assert!((1_001_000..1_001_100).contains(&second_us), "{second_us}");
    });
}

#[test]
fn a_small_window_makes_a_writer_wait_for_round_trips() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let small = Link {
            window_bytes: 10,
            ..EVEN
        };
        Fabric::current().set_link(client, server, small);
        let Pair {
            client_end,
            server_end,
            ..
        } = pair;
        let begin_us = now_us();
        let writer =
            crate::task::spawn_local(async move { write(&client_end, &pattern(1000)).await });
        assert_eq!(read_exactly(&server_end, 1000).await, pattern(1000));
        writer.await.unwrap();
        let lasted_us = now_us() - begin_us;
        assert!((190_000..210_000).contains(&lasted_us), "{lasted_us}");
    });
}

#[test]
fn a_writer_goes_on_when_the_window_changes() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let of_window = |window_bytes| Link {
            window_bytes,
            ..EVEN
        };
        let fabric = Fabric::current();
        // Less than half of the window is read: nothing is announced. Then the window shrinks below it.
        write(&pair.client_end, &pattern(30_000)).await;
        read_exactly(&pair.server_end, 30_000).await;
        fabric.set_link(client, server, of_window(1000));
        let Pair {
            client_end,
            server_end,
            ..
        } = pair;
        let writer =
            crate::task::spawn_local(async move { write(&client_end, &pattern(3000)).await });
        crate::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fabric.connections()[0].unread_bytes, [0, 1000]);
        fabric.set_link(client, server, of_window(2000));
        crate::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(fabric.connections()[0].unread_bytes, [0, 2000]);
        assert_eq!(read_exactly(&server_end, 3000).await, pattern(3000));
        writer.await.unwrap();
    });
}

#[test]
fn reads_meet_other_boundaries_than_writes() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let link = Link {
            jitter_us: 300,
            chunk_bytes_max: 1000,
            ..EVEN
        };
        Fabric::current().set_link(client, server, link);
        let sent = pattern(60_000);
        for part in sent.chunks(600) {
            write(&pair.client_end, &Bytes::copy_from_slice(part)).await;
        }
        let mut seen = BytesMut::new();
        let (mut splits, mut joins) = (0, 0);
        while seen.len() < sent.len() {
            seen.reserve(64 << 10);
            let count = pair.server_end.read(&mut seen).await.unwrap();
            splits += usize::from(count % 600 != 0);
            joins += usize::from(count > 600);
        }
        assert!(seen == sent, "whatever the pieces, the order stays");
        assert!(splits > 3 && joins > 3, "{splits} splits, {joins} joins");
    });
}

#[test]
fn connections_overtake_each_other() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let link = Link {
            jitter_us: 1000,
            ..EVEN
        };
        Fabric::current().set_link(client, server, link);
        let mut clients = vec![pair.client_end.clone()];
        let mut servers = vec![pair.server_end.clone()];
        for _ in 1..20 {
            let address = SocketAddr::new(ip(2), PORT);
            clients.push(connect_to(&pair.client, address).await.unwrap());
            servers.push(pair.listener.accept().await.unwrap().0);
        }
        let ((), seen) = recorded(async {
            for stream in &clients {
                write(stream, &pattern(1)).await;
            }
            for stream in &servers {
                read_exactly(stream, 1).await;
            }
        })
        .await;
        let order: Vec<i64> = seen.iter().map(|event| event.fields[0].1).collect();
        assert_eq!(order.len(), 20, "{seen:?}");
        assert!(!order.is_sorted(), "twenty connections keep no order");
    });
}

#[test]
fn a_loopback_address_is_the_node_itself() {
    in_world(1, || async {
        let (one, two) = (node(1), node(2));
        let loopback: SocketAddr = ([127, 0, 0, 1], PORT).into();
        let listener = listen_on(&one, loopback, 10).await;
        let itself = connect_to(&one, loopback).await.unwrap();
        assert_eq!(itself.local_addr().unwrap().ip(), loopback.ip());
        listener.accept().await.unwrap();
        for (from, address) in [(&two, loopback), (&two, SocketAddr::new(ip(1), PORT))] {
            let refused = connect_to(from, address).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        let everywhere = listen_on(&two, ([0, 0, 0, 0], PORT).into(), 10).await;
        for (from, address) in [(&two, loopback), (&one, SocketAddr::new(ip(2), PORT))] {
            let stream = connect_to(from, address).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), address);
            let (end, _) = everywhere.accept().await.unwrap();
            assert_eq!(end.local_addr().unwrap(), address);
        }
    });
}

#[test]
fn an_address_belongs_to_one_node() {
    in_world(1, || async {
        let world = Handle::current();
        let (one, two) = (world.create_node().build(), world.create_node().build());
        let address = SocketAddr::new(ip(7), PORT);
        let listener = listen_on(&one, address, 10).await;
        let options = ListenOptions::default();
        let stolen = two.spawn(TcpListener::bind(address, options)).await;
        let stolen = stolen.unwrap().unwrap_err();
        assert_eq!(stolen.kind(), ErrorKind::AddrNotAvailable);
        // A node without an address is given one.
        let stream = connect_to(&two, address).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), peer);
        assert_ne!(peer.ip(), address.ip());
    });
}

#[test]
fn a_full_listener_lets_others_wait() {
    in_world(1, || async {
        let (client, server) = (node(1), node(2));
        let address = SocketAddr::new(ip(2), PORT);
        let listener = listen_on(&server, address, 2).await;
        let connecting: Vec<_> = (0..3)
            .map(|_| client.spawn(TcpStream::connect(address)))
            .collect();
        crate::time::sleep(Duration::from_secs(5)).await;
        let done = |connecting: &[madsim::task::JoinHandle<_>]| {
            connecting.iter().filter(|task| task.is_finished()).count()
        };
        assert_eq!(done(&connecting), 2);
        listener.accept().await.unwrap();
        crate::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(done(&connecting), 3);
    });
}

#[test]
fn nothing_is_left_of_connections_that_ended() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let address = SocketAddr::new(ip(2), PORT);
        for place in 0..50 {
            let client = connect_to(&pair.client, address).await.unwrap();
            let (server, _) = pair.listener.accept().await.unwrap();
            if place % 2 == 0 {
                write(&client, &pattern(10)).await;
                crate::time::sleep(Duration::from_millis(5)).await;
            }
            let (first, second) = if place % 3 == 0 {
                (client, server)
            } else {
                (server, client)
            };
            drop(first);
            if place % 5 == 0 {
                crate::time::sleep(Duration::from_millis(5)).await;
            }
            drop(second);
        }
        // Nor of one whose maker lost patience.
        let connect = timeout(Duration::from_micros(1500), TcpStream::connect(address));
        let late = pair.client.spawn(connect).await.unwrap();
        assert!(late.is_err());
        crate::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(Fabric::current().connections().len(), 1);
    });
}

#[test]
fn a_slow_reader_holds_its_writer_up() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        fabric.slow_reader(server, client, Some(10_000));
        let Pair {
            client_end,
            server_end,
            ..
        } = pair;
        let begin_us = now_us();
        let writer =
            crate::task::spawn_local(async move { write(&client_end, &pattern(165_536)).await });
        read_exactly(&server_end, 100_000).await;
        let lasted_us = now_us() - begin_us;
        assert!((9_900_000..10_200_000).contains(&lasted_us), "{lasted_us}");
        fabric.slow_reader(server, client, Some(0));
        assert!(is_silent(&server_end).await);
        fabric.slow_reader(server, client, None);
        let begin_us = now_us();
        read_exactly(&server_end, 65_536).await;
        assert!(now_us() - begin_us < 10_000);
        writer.await.unwrap();
    });
}
