//! What a stream promises.

use std::io::{self, ErrorKind, IoSlice};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::disks::TestDirectory;
use crate::disk::OpenMode;
use crate::io::{AsyncReadExt, AsyncWriteExt};
use crate::net::{ListenOptions, TcpListener, TcpStream, lookup_host};
use crate::task::{block_on, spawn_local};
use crate::time::sleep;

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
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        drop(listener);
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

/// Bytes that no connection takes in without being read.
const MORE_THAN_ANY_BUFFER: usize = 64 << 20;

/// Writes until the connection takes no more; how many bytes it took.
fn fill(stream: &TcpStream) -> usize {
    let bytes = pattern(1 << 20);
    let mut taken = 0;
    while taken < MORE_THAN_ANY_BUFFER {
        match stream.try_write_vectored(&[IoSlice::new(&bytes[taken % (1 << 20)..])]) {
            Ok(count) => taken += count,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return taken;
            }
        }
    }
    panic!("a writer is never told to wait");
}

/// Writes until that fails; how it failed.
async fn write_until_it_fails(stream: &TcpStream) -> ErrorKind {
    loop {
        match stream.try_write_vectored(&[IoSlice::new(b"?")]) {
            Ok(_) => sleep(Duration::from_millis(1)).await,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                stream.writable().await.unwrap();
            }
            Err(error) => return error.kind(),
        }
    }
}

/// Reads until that fails or the stream ends; what was read before and how it failed.
async fn read_until_it_fails(stream: &TcpStream) -> (BytesMut, io::Result<()>) {
    let mut seen = BytesMut::new();
    loop {
        seen.reserve(64 << 10);
        match stream.read(&mut seen).await {
            Ok(0) => return (seen, Ok(())),
            Ok(_) => {}
            Err(error) => return (seen, Err(error)),
        }
    }
}

const GONE: [ErrorKind; 2] = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];

#[test]
fn a_writer_waits_for_a_peer_that_does_not_read() {
    block_on(async {
        let (client, server) = connection().await;
        let taken = fill(&client);
        let writer = spawn_local(async move {
            client.writable().await.unwrap();
            client.write_all(&[pattern(5000)]).await.unwrap();
        });
        let seen = read_to_end(&server).await;
        writer.await.unwrap();
        assert_eq!(seen.len(), taken + 5000);
        let first = pattern(1 << 20);
        for (place, piece) in seen[..taken].chunks(1 << 20).enumerate() {
            assert!(piece == &first[..piece.len()], "piece {place} differs");
        }
        assert!(seen[taken..] == pattern(5000));
    });
}

#[test]
fn both_ends_may_send_much_at_once() {
    block_on(async {
        let (client, server) = connection().await;
        let sent = pattern(5 << 20);
        let ends = [client, server].map(|stream| {
            let (mut reads, mut writes) = stream.into_split();
            let all = sent.clone();
            let writer = spawn_local(async move {
                writes.write_all(&all).await.unwrap();
                writes.shutdown().await.unwrap();
            });
            let reader = spawn_local(async move {
                let mut seen = Vec::new();
                reads.read_to_end(&mut seen).await.unwrap();
                seen
            });
            (reader, writer)
        });
        for (reader, writer) in ends {
            assert!(reader.await.unwrap() == sent);
            writer.await.unwrap();
        }
    });
}

#[test]
fn nothing_is_written_after_the_end() {
    block_on(async {
        let (client, server) = connection().await;
        client.shutdown_write().unwrap();
        client.shutdown_write().unwrap();
        let error = client
            .try_write_vectored(&[IoSlice::new(b"late")])
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(read_to_end(&server).await.is_empty());
        assert!(read_to_end(&server).await.is_empty(), "an end stays an end");
    });
}

#[test]
fn whoever_goes_without_reading_resets_the_connection() {
    block_on(async {
        let (client, server) = connection().await;
        server
            .write_all(&[Bytes::from_static(b"answer")])
            .await
            .unwrap();
        client
            .write_all(&[Bytes::from_static(b"question")])
            .await
            .unwrap();
        server.readable().await.unwrap();
        drop(server);
        let (seen, end) = read_until_it_fails(&client).await;
        assert_eq!(&seen[..], b"answer");
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(GONE.contains(&write_until_it_fails(&client).await));
    });
}

#[test]
fn a_reset_wakes_a_writer_that_waits() {
    block_on(async {
        let (client, server) = connection().await;
        fill(&client);
        server.readable().await.unwrap();
        let writer = spawn_local(async move { write_until_it_fails(&client).await });
        drop(server);
        assert!(GONE.contains(&writer.await.unwrap()));
    });
}

#[test]
fn writing_to_an_end_that_has_gone_fails_in_the_end() {
    block_on(async {
        let (client, server) = connection().await;
        drop(server);
        assert!(read_to_end(&client).await.is_empty());
        assert!(GONE.contains(&write_until_it_fails(&client).await));
    });
}

#[test]
fn a_connection_is_there_before_it_is_accepted() {
    block_on(async {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        client
            .write_all(&[Bytes::from_static(b"early")])
            .await
            .unwrap();
        let local = client.local_addr().unwrap();
        drop(client);
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, local);
        assert_eq!(&read_to_end(&server).await[..], b"early");
    });
}

#[test]
fn a_listener_takes_with_it_what_it_has_not_accepted() {
    block_on(async {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).await.unwrap();
        let other = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop(listener);
        let (_, end) = read_until_it_fails(&other).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
        // What was accepted lives on.
        drop(server);
        let (_, end) = read_until_it_fails(&client).await;
        end.unwrap();
    });
}

#[test]
fn an_address_has_one_listener_at_a_time() {
    block_on(async {
        let first = listener().await;
        let address = first.local_addr().unwrap();
        let error = TcpListener::bind(address, ListenOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        drop(first);
        TcpListener::bind(address, ListenOptions::default())
            .await
            .unwrap();
    });
}
