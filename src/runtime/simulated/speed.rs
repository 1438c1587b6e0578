//! How fast the runtime itself is under simulation: run it by hand, `cargo test -p millrace-runtime --lib speed --
//! --ignored --nocapture` with `--cfg madsim`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use madsim::runtime::Handle;

use super::net::Fabric;
use super::{nodes, world};
use crate::disk::{Disk, OpenMode};
use crate::net::{ListenOptions, TcpListener, TcpStream};
use crate::sync::{mpsc, oneshot};
use crate::task::spawn_local;
use crate::time::{sleep, timeout};

const SECONDS: u64 = 600;
const CLIENTS: u8 = 6;
const REQUESTS_PER_SECOND: u64 = 50;

fn server() -> SocketAddr {
    "10.0.0.1:9092".parse().unwrap()
}

/// Answers each request when a writer task has written and synced it.
async fn serve() {
    let file = Disk::new()
        .open("/log", OpenMode::Create)
        .await
        .expect("the file opens");
    let (appends, mut queue) = mpsc::channel::<(Bytes, oneshot::Sender<()>)>(100);
    spawn_local(async move {
        let mut end = 0;
        while let Some((bytes, done)) = queue.recv().await {
            let length = bytes.len() as u64;
            file.write_at(end, vec![bytes]).await.expect("it writes");
            file.sync_data().await.expect("it syncs");
            end = (end + length) % (1 << 20);
            let _ = done.send(());
        }
    });
    let options = ListenOptions::default();
    let listener = TcpListener::bind(server(), options)
        .await
        .expect("it binds");
    loop {
        let (stream, _) = listener.accept().await.expect("it accepts");
        let appends = appends.clone();
        spawn_local(async move {
            let mut request = BytesMut::with_capacity(1_024);
            while let Ok(1..) = stream.read(&mut request).await {
                let (done, written) = oneshot::channel();
                let bytes = request.split().freeze();
                appends.send((bytes, done)).await.expect("the writer lives");
                let _ = timeout(Duration::from_secs(30), written).await;
                stream.write_all(&[Bytes::from_static(b"answer")]).await?;
                request.reserve(1_024);
            }
            std::io::Result::Ok(())
        });
    }
}

async fn ask() {
    let stream = TcpStream::connect(server()).await.expect("it connects");
    let mut answer = BytesMut::with_capacity(1_024);
    let pause = Duration::from_micros(1_000_000 * u64::from(CLIENTS) / REQUESTS_PER_SECOND);
    loop {
        sleep(pause).await;
        let request = Bytes::from(vec![7; 300]);
        stream.write_all(&[request]).await.expect("it sends");
        answer.clear();
        let read = stream.read(&mut answer);
        timeout(Duration::from_secs(30), read)
            .await
            .expect("it comes")
            .expect("it is read");
    }
}

#[test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "outside of the world, real time")]
fn speed() {
    let began = std::time::Instant::now();
    super::run(1, async {
        let world = Handle::current();
        for place in 1..=CLIENTS + 1 {
            let node = world.create_node();
            let node = match place {
                1 => node.init(|| nodes::live(serve())).build(),
                _ => node.init(|| nodes::live(ask())).build(),
            };
            let number = world::number_of(node.id());
            Fabric::current().set_ip(number, [10, 0, 0, place].into());
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(SECONDS)).await;
    });
    let took = began.elapsed();
    let rate = SECONDS as f64 / took.as_secs_f64();
    println!("{SECONDS} simulated seconds in {took:?}: {rate:.0} a second");
}
