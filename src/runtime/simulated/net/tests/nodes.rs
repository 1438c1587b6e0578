//! Nodes that are killed, fall silent and come back.

use super::*;
use crate::simulated::net::{Cut, Stop};
use crate::task::spawn_local;
use crate::time::sleep;

#[test]
fn a_killed_process_resets_its_connections() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        // What it wrote before is on its way.
        write(&pair.server_end, &pattern(100)).await;
        Handle::current().kill(pair.server.id());
        let begin_us = now_us();
        let (seen, failure) = read_all(&pair.client_end).await;
        assert_eq!(seen, pattern(100));
        assert_eq!(failure, Some(ErrorKind::ConnectionReset));
        assert!(now_us() - begin_us >= 999, "a reset takes its time");
        let address = SocketAddr::new(ip(2), PORT);
        let refused = connect_to(&pair.client, address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        drop(pair.client_end);
        assert_eq!(fabric.connections(), []);
        assert!(!fabric.is_cut(client, server));
    });
}

#[test]
fn the_reset_of_a_killed_process_obeys_the_link() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        fabric.cut(server, client, Cut::BlackHole);
        Handle::current().kill(pair.server.id());
        assert!(is_silent(&pair.client_end).await);
        fabric.restore(server, client);
        assert!(is_silent(&pair.client_end).await);
        // The first word to the dead end is answered.
        write(&pair.client_end, &pattern(1)).await;
        let (_, failure) = read_all(&pair.client_end).await;
        assert_eq!(failure, Some(ErrorKind::ConnectionReset));
    });
}

#[test]
fn handles_of_an_earlier_life_do_nothing() {
    in_world(1, || async {
        let (client, world) = (node(1), Handle::current());
        let address = SocketAddr::new(ip(2), PORT);
        let server = world
            .create_node()
            .ip(ip(2))
            .init(move || async move {
                let listener = TcpListener::bind(address, ListenOptions::default())
                    .await
                    .unwrap();
                let mut kept = Vec::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let echo = stream.clone();
                    kept.push(stream);
                    spawn_local(async move {
                        loop {
                            let mut seen = BytesMut::with_capacity(100);
                            if echo.read(&mut seen).await.unwrap() == 0 {
                                return;
                            }
                            echo.write_all(&[seen.freeze()]).await.unwrap();
                        }
                    });
                }
            })
            .build();
        sleep(Duration::from_secs(1)).await;
        for _ in 0..20 {
            let stream = connect_to(&client, address).await.unwrap();
            write(&stream, &pattern(50)).await;
            assert_eq!(read_exactly(&stream, 50).await, pattern(50));
            // Its tasks are dropped some time after their next life has begun.
            world.kill(server.id());
            world.restart(server.id());
            let failure = read_all(&stream).await.1;
            assert_eq!(failure, Some(ErrorKind::ConnectionReset));
        }
    });
}

#[test]
fn a_node_that_lost_its_power_is_silent_until_it_is_back() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let server = id(&pair.server);
        let fabric = Fabric::current();
        let address = SocketAddr::new(ip(2), PORT);
        fabric.node_stopped(server, Stop::Power);
        Handle::current().kill(pair.server.id());
        assert!(is_silent(&pair.client_end).await);
        write(&pair.client_end, &pattern(10)).await;
        assert!(is_silent(&pair.client_end).await);
        let connecting = pair.client.spawn(TcpStream::connect(address));
        sleep(Duration::from_secs(100)).await;
        assert!(!connecting.is_finished());
        fabric.node_started(server);
        let failure = read_all(&pair.client_end).await.1;
        assert_eq!(failure, Some(ErrorKind::ConnectionReset));
        let refused = connecting.await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn who_waits_for_a_silent_node_finds_out_when_it_writes() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let server = id(&pair.server);
        Fabric::current().node_stopped(server, Stop::Power);
        Handle::current().kill(pair.server.id());
        Handle::current().restart(pair.server.id());
        let address = SocketAddr::new(ip(2), PORT);
        let _next = {
            let server = Handle::current().get_node(pair.server.id()).unwrap();
            listen_on(&server, address, 10).await
        };
        assert!(is_silent(&pair.client_end).await);
        write(&pair.client_end, &pattern(10)).await;
        let failure = read_all(&pair.client_end).await.1;
        assert_eq!(failure, Some(ErrorKind::ConnectionReset));
        connect_to(&pair.client, address).await.unwrap();
    });
}

#[test]
fn a_stopped_process_begins_nothing_more() {
    in_world(1, || async {
        let pair = Pair::new().await;
        let (client, server) = pair.ids();
        let fabric = Fabric::current();
        fabric.node_stopped(server, Stop::Power);
        // Its tasks still run: nothing comes of it.
        let away = SocketAddr::new(ip(1), PORT);
        let connecting = pair.server.spawn(TcpStream::connect(away));
        let options = ListenOptions::default();
        let binding = pair.server.spawn(TcpListener::bind(away, options));
        let late = pair
            .server_end
            .try_write_vectored(&[io::IoSlice::new(b"late")]);
        assert_eq!(late.unwrap_err().kind(), ErrorKind::WouldBlock);
        let accepting = timeout(Duration::from_secs(1), pair.listener.accept()).await;
        assert!(accepting.is_err());
        sleep(Duration::from_secs(1)).await;
        assert!(!connecting.is_finished() && !binding.is_finished());
        assert!(is_silent(&pair.client_end).await);
        assert!(!fabric.is_cut(client, server));
    });
}

#[test]
fn a_node_that_does_not_answer_frees_its_place_in_the_backlog() {
    in_world(1, || async {
        let (first, second, server) = (node(1), node(3), node(2));
        let address = SocketAddr::new(ip(2), PORT);
        let listener = listen_on(&server, address, 1).await;
        let fabric = Fabric::current();
        fabric.cut(id(&server), id(&first), Cut::BlackHole);
        let _never = first.spawn(TcpStream::connect(address));
        sleep(Duration::from_secs(1)).await;
        fabric.node_stopped(id(&first), Stop::Power);
        let begin_us = now_us();
        connect_to(&second, address).await.unwrap();
        assert!((50_000_000..70_000_000).contains(&(now_us() - begin_us)));
        listener.accept().await.unwrap();
    });
}
