//! What tasks and cores promise.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::{Notify, mpsc, oneshot};
use crate::task::{Aborted, block_on, spawn_local, start_cores, yield_now};

#[test]
fn local_tasks_share_what_is_not_send() {
    block_on(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let other = Rc::clone(&seen);
        let task = spawn_local(async move {
            other.borrow_mut().push("task");
            5
        });
        assert_eq!(task.await, Ok(5));
        assert_eq!(*seen.borrow(), ["task"]);
    });
}

#[test]
fn a_dropped_handle_does_not_stop_its_task() {
    block_on(async {
        let (sender, receiver) = oneshot::channel();
        drop(spawn_local(async move {
            yield_now().await;
            sender.send(1).unwrap();
        }));
        assert_eq!(receiver.await, Ok(1));
    });
}

#[test]
fn an_aborted_task_says_so_and_drops_what_it_held() {
    block_on(async {
        let held = Rc::new(());
        let inside = Rc::clone(&held);
        let task = spawn_local(async move {
            let _inside = inside;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert_eq!(task.await, Err(Aborted));
        assert_eq!(Rc::strong_count(&held), 1);
    });
}

#[test]
fn yielding_lets_others_run() {
    block_on(async {
        let notify = Rc::new(Notify::new());
        let waker = Rc::clone(&notify);
        let task = spawn_local(async move { waker.notify_one() });
        while !task.is_finished() {
            yield_now().await;
        }
        notify.notified().await;
    });
}

#[test]
fn cores_run_their_starters_and_give_results_in_order() {
    block_on(async {
        let started = Arc::new(AtomicUsize::new(0));
        let starters: Vec<_> = (0..3)
            .map(|number: usize| {
                let started = Arc::clone(&started);
                move |core: usize| async move {
                    // What is not Send may live across awaits, and tasks may be spawned.
                    let local = Rc::new(number);
                    let task = spawn_local(async move { *local * 10 });
                    started.fetch_add(1, Ordering::Relaxed);
                    (core, task.await)
                }
            })
            .collect();
        let results = start_cores(starters).unwrap().join().await;
        assert_eq!(results, [(0, Ok(0)), (1, Ok(10)), (2, Ok(20))]);
        assert_eq!(started.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn cores_talk_by_channels() {
    block_on(async {
        let (request_sender, mut requests) = mpsc::channel::<(u32, oneshot::Sender<u32>)>(4);
        let server = move |_core: usize| async move {
            while let Some((number, reply)) = requests.recv().await {
                reply.send(number * 2).unwrap();
            }
        };
        let cores = start_cores(vec![server]).unwrap();
        for number in 0..10 {
            let (reply, answer) = oneshot::channel();
            request_sender.send((number, reply)).await.unwrap();
            assert_eq!(answer.await, Ok(number * 2));
        }
        drop(request_sender);
        cores.join().await;
    });
}

#[test]
#[should_panic(expected = "a task's own words")]
fn a_panicking_task_takes_its_core_down() {
    block_on(async {
        drop(spawn_local(async { panic!("a task's own words") }));
        pending::<()>().await;
    });
}

#[test]
#[should_panic(expected = "a core's own words")]
fn a_panicking_core_is_seen_by_whoever_joins() {
    block_on(async {
        let starter = |_core: usize| async {
            drop(spawn_local(async { panic!("a core's own words") }));
            pending::<()>().await;
        };
        start_cores(vec![starter]).unwrap().join().await;
    });
}
