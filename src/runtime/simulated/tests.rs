//! What only the simulated half can show: several nodes, their kills, and the same seed giving the same run.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use madsim::runtime::Handle;

use crate::Clock;
use crate::disk::{Disk, OpenMode};
use crate::net::{ListenOptions, TcpListener, TcpStream};
use crate::task::spawn_local;
use crate::time::sleep;

fn in_world<F: Future>(seed: u64, story: impl FnOnce() -> F) -> F::Output {
    super::run(seed, async { story().await })
}

/// A node that counts its starts in a file, then answers every connection with the count.
async fn counting_server(address: SocketAddr) {
    let disk = Disk::new();
    let _lock = disk.lock_file("/lock").await.unwrap();
    let file = disk.open("/starts", OpenMode::Create).await.unwrap();
    let starts = file.len().unwrap();
    file.write_at(starts, vec![Bytes::from_static(b"x")])
        .await
        .unwrap();
    file.sync_data().await.unwrap();
    let listener = TcpListener::bind(address, ListenOptions::default())
        .await
        .unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let count = file.read_at(0, 100).await.unwrap();
        spawn_local(async move { stream.write_all(&[count]).await });
    }
}

async fn ask(address: SocketAddr) -> BytesMut {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut answer = BytesMut::with_capacity(100);
    stream.read(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_nodes_disk_outlives_its_kill_and_its_lock_does_not() {
    in_world(1, || async {
        let address: SocketAddr = "10.0.0.1:9092".parse().unwrap();
        let world = Handle::current();
        let server = world
            .create_node()
            .ip(address.ip())
            .init(move || async move { counting_server(address).await })
            .build();
        for start in 1..=3 {
            sleep(Duration::from_secs(1)).await;
            let client = world
                .create_node()
                .ip(format!("10.0.0.{}", start + 1).parse().unwrap())
                .build();
            let answer = client.spawn(async move { ask(address).await }).await;
            assert_eq!(answer.unwrap().len(), start);
            world.kill(server.id());
            world.restart(server.id());
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_moments() {
    let run = |seed| {
        in_world(seed, || async {
            let clock = Clock::start();
            let moments = Rc::new(RefCell::new(Vec::new()));
            let disk = Disk::new();
            let file = disk.open("/file", OpenMode::Create).await.unwrap();
            let tasks: Vec<_> = (0..10u64)
                .map(|number| {
                    let (clock, file) = (clock.clone(), file.clone());
                    let moments = Rc::clone(&moments);
                    spawn_local(async move {
                        file.write_at(number, vec![Bytes::from_static(b"x")])
                            .await
                            .unwrap();
                        file.sync_data().await.unwrap();
                        moments.borrow_mut().push((number, clock.now()));
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            moments.take()
        })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
