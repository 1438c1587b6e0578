//! What a stream promises.

use std::io::{ErrorKind, IoSlice};

use bytes::{Bytes, BytesMut};

use super::disks::TestDirectory;
use crate::disk::OpenMode;
use crate::io::{AsyncReadExt, AsyncWriteExt};
use crate::net::{ListenOptions, TcpListener, TcpStream, lookup_host};
use crate::task::{block_on, spawn_local};

async fn listener() -> TcpListener {
    let address = "127.0.0.1:0".parse().unwrap();
    TcpListener::bind(address, ListenOptions::default())
        .await
        .unwrap()
}

/// Two ends of one connection: the one that connected and the one that accepted.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let client = spawn_local(TcpStream::connect(address));
    let (server, _) = listener.accept().await.unwrap();
    (client.await.unwrap().unwrap(), server)
}

/// Bytes that differ from place to place.
fn pattern(length_bytes: usize) -> Bytes {
    (0..length_bytes)
        .map(|at| (at % 251) as u8 ^ (at >> 12) as u8)
        .collect()
}

async fn read_to_end(stream: &TcpStream) -> BytesMut {
    let mut seen = BytesMut::new();
    loop {
        seen.reserve(64 << 10);
        if stream.read(&mut seen).await.unwrap() == 0 {
            return seen;
        }
    }
}

#[test]
fn both_ends_know_each_other() {
    block_on(async {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let client = spawn_local(TcpStream::connect(address));
        let (server, peer) = listener.accept().await.unwrap();
        let client = client.await.unwrap().unwrap();
        assert_eq!(client.peer_addr().unwrap(), address);
        assert_eq!(server.peer_addr().unwrap(), peer);
        client.set_nodelay(true).unwrap();
    });
}

#[test]
fn nobody_listening_means_refused() {
    block_on(async {
        // Of two freed ports, so that a simulated end, which is given the first, does not meet itself.
        let (first, second) = (listener().await, listener().await);
        let address = second.local_addr().unwrap();
        drop((first, second));
        let error = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn bytes_arrive_in_order_whatever_the_pieces() {
    block_on(async {
        let (client, server) = connection().await;
        let sent = pattern(3 << 20);
        let parts: Vec<Bytes> = sent.chunks(4099).map(Bytes::copy_from_slice).collect();
        let writer = spawn_local(async move {
            client.write_all(&parts).await.unwrap();
            client.shutdown_write().unwrap();
        });
        assert!(read_to_end(&server).await == sent);
        writer.await.unwrap();
    });
}

#[test]
fn reading_before_there_is_anything_would_block() {
    block_on(async {
        let (client, server) = connection().await;
        let mut buffer = BytesMut::with_capacity(16);
        let error = server.try_read(&mut buffer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        client
            .write_all(&[Bytes::from_static(b"now")])
            .await
            .unwrap();
        server.readable().await.unwrap();
        server.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..], b"now");
    });
}

#[test]
fn a_write_may_take_less_than_it_is_offered_but_never_nothing_for_ever() {
    block_on(async {
        let (client, server) = connection().await;
        client.writable().await.unwrap();
        let offered = pattern(100);
        let slices = [IoSlice::new(&offered[..60]), IoSlice::new(&offered[60..])];
        let taken = client.try_write_vectored(&slices).unwrap();
        assert!((1..=100).contains(&taken));
        drop(client);
        assert_eq!(read_to_end(&server).await, offered[..taken]);
    });
}

#[test]
fn halves_serve_two_tasks_at_once() {
    block_on(async {
        let (client, server) = connection().await;
        let echo = spawn_local(async move {
            let (mut reads, mut writes) = server.into_split();
            copy(&mut reads, &mut writes).await;
        });
        let sent = pattern(1 << 20);
        let (mut reads, mut writes) = client.into_split();
        let all = sent.clone();
        let writer = spawn_local(async move {
            writes.write_all(&all).await.unwrap();
            writes.shutdown().await.unwrap();
        });
        let mut seen = Vec::new();
        reads.read_to_end(&mut seen).await.unwrap();
        assert!(seen == sent);
        writer.await.unwrap();
        echo.await.unwrap();
    });
}

async fn copy<R, W>(reads: &mut R, writes: &mut W)
where
    R: crate::io::AsyncRead + Unpin,
    W: crate::io::AsyncWrite + Unpin,
{
    let mut buffer = [0u8; 5000];
    loop {
        let count = reads.read(&mut buffer).await.unwrap();
        if count == 0 {
            writes.shutdown().await.unwrap();
            return;
        }
        writes.write_all(&buffer[..count]).await.unwrap();
    }
}

#[test]
fn one_end_may_stop_writing_and_go_on_reading() {
    block_on(async {
        let (client, server) = connection().await;
        client
            .write_all(&[Bytes::from_static(b"question")])
            .await
            .unwrap();
        client.shutdown_write().unwrap();
        assert_eq!(&read_to_end(&server).await[..], b"question");
        server
            .write_all(&[Bytes::from_static(b"answer")])
            .await
            .unwrap();
        drop(server);
        assert_eq!(&read_to_end(&client).await[..], b"answer");
    });
}

#[test]
fn a_file_range_arrives_as_it_is_in_the_file() {
    block_on(async {
        let directory = TestDirectory::new();
        let content = pattern(1 << 20);
        let file = directory
            .disk
            .open(directory.path("file"), OpenMode::Create)
            .await
            .unwrap();
        file.write_at(0, vec![content.clone()]).await.unwrap();
        let ranges = [(0, 0), (10, 1), (4095, 20_000), (77, 300_000), (0, 1 << 20)];
        for (offset, length) in ranges {
            let (client, server) = connection().await;
            let source = file.clone();
            let writer = spawn_local(async move {
                server
                    .send_file(&source, offset as u64, length as u64)
                    .await
            });
            assert!(read_to_end(&client).await == content[offset..offset + length]);
            writer.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_file_range_beyond_the_end_is_an_error() {
    block_on(async {
        let directory = TestDirectory::new();
        let file = directory
            .disk
            .open(directory.path("file"), OpenMode::Create)
            .await
            .unwrap();
        file.write_at(0, vec![pattern(100)]).await.unwrap();
        for length in [101, 200_000] {
            let (client, server) = connection().await;
            let error = server.send_file(&file, 0, length).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            drop(client);
        }
    });
}

#[test]
fn literal_addresses_need_no_resolver() {
    block_on(async {
        let found = lookup_host("127.0.0.1", 9092).await.unwrap();
        assert_eq!(found, ["127.0.0.1:9092".parse().unwrap()]);
    });
}
