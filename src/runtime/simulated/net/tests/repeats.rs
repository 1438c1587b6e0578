//! The same seed gives the same run, and a fault on one link leaves the others alone.

use super::*;
use crate::simulated::net::Cut;
use crate::task::spawn_local;
use crate::time::sleep;

/// Answers everything on every connection.
async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        spawn_local(async move {
            loop {
                let mut seen = BytesMut::with_capacity(1000);
                match stream.read(&mut seen).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                if stream.write_all(&[seen.freeze()]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Asks an echo a hundred times, once in ten milliseconds, until the connection fails.
async fn ask(address: SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    for turn in 0..100 {
        if ask_once(&stream, 100 + turn).await.is_err() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

async fn ask_once(stream: &TcpStream, length_bytes: usize) -> io::Result<()> {
    stream.write_all(&[pattern(length_bytes)]).await?;
    let mut seen = BytesMut::with_capacity(length_bytes);
    while seen.len() < length_bytes {
        stream.read(&mut seen).await?;
    }
    Ok(())
}

/// Two clients of two servers, all four apart; the way between the first two may be cut for a while.
fn two_links(seed: u64, cut: Option<Cut>) -> Vec<Seen> {
    in_world(seed, || async {
        let fabric = Fabric::current();
        fabric.set_default_link(Link::default());
        let (_, seen) = recorded(async {
            let nodes = [1, 2, 3, 4].map(node);
            for server in [1, 3] {
                let address = SocketAddr::new(ip(server as u8 + 1), PORT);
                let listener = listen_on(&nodes[server], address, 10).await;
                nodes[server].spawn(echo(listener));
            }
            let asking = [0, 2].map(|client| {
                let address = SocketAddr::new(ip(client as u8 + 2), PORT);
                nodes[client].spawn(ask(address))
            });
            sleep(Duration::from_millis(300)).await;
            if let Some(cut) = cut {
                fabric.cut(id(&nodes[0]), id(&nodes[1]), cut);
            }
            sleep(Duration::from_millis(300)).await;
            fabric.restore(id(&nodes[0]), id(&nodes[1]));
            for asking in asking {
                asking.await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
        })
        .await;
        seen
    })
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for cut in [None, Some(Cut::Hold)] {
        assert_eq!(two_links(1, cut), two_links(1, cut));
        assert_ne!(two_links(1, cut), two_links(2, cut));
    }
}

#[test]
fn a_cut_on_one_link_leaves_the_times_of_the_others() {
    for seed in 1..=20 {
        let on_the_others = |cut| -> Vec<(u64, u64, &'static str, i64)> {
            let seen = two_links(seed, cut);
            let others = seen.iter().filter(|event| [3, 4].contains(&event.node));
            others
                .map(|event| {
                    let (_, last) = event.fields[event.fields.len() - 1];
                    (event.at_nanos / 1000, event.node, event.kind, last)
                })
                .collect()
        };
        let without = on_the_others(None);
        assert!(without.len() > 200);
        for cut in [Cut::Hold, Cut::BlackHole] {
            let with = on_the_others(Some(cut));
            let differs = without.iter().zip(&with).find(|(one, other)| one != other);
            assert_eq!(differs, None, "seed {seed}, {cut:?}");
            assert_eq!(without.len(), with.len());
        }
    }
}
