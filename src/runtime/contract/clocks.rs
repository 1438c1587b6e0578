//! What a clock promises.

use std::time::Duration;

use types::Mono;

use crate::task::block_on;
use crate::time::{Alarm, Elapsed, sleep, sleep_until, timeout};
use crate::{Clock, entropy};

#[test]
fn a_clock_starts_near_zero_and_never_goes_back() {
    block_on(async {
        let clock = Clock::start();
        let mut last = clock.now().mono;
        assert!(last.since(Mono::START) < Duration::from_secs(1));
        for _ in 0..1000 {
            let now = clock.now().mono;
            assert!(now >= last);
            last = now;
        }
    });
}

#[test]
fn the_wall_clock_is_in_this_century() {
    block_on(async {
        let wall = Clock::start().now().wall.as_millis();
        let year_2000 = 946_684_800_000;
        assert!((year_2000..year_2000 + 100 * 31_557_600_000).contains(&wall));
    });
}

#[test]
fn a_sleep_lasts_no_less_than_it_was_asked_to() {
    block_on(async {
        let clock = Clock::start();
        let before = clock.mono();
        sleep(Duration::from_millis(20)).await;
        assert!(clock.mono().since(before) >= Duration::from_millis(20));
    });
}

#[test]
fn sleeping_until_a_moment_ends_at_it_or_later() {
    block_on(async {
        let clock = Clock::start();
        let at = clock.mono().plus_millis(15);
        sleep_until(&clock, at).await;
        assert!(clock.mono() >= at);
        sleep_until(&clock, Mono::START).await;
        let never = sleep_until(&clock, Mono::NEVER);
        assert_eq!(timeout(Duration::from_millis(5), never).await, Err(Elapsed));
    });
}

#[test]
fn an_alarm_comes_at_its_moment_or_later_and_can_be_set_again() {
    block_on(async {
        let clock = Clock::start();
        let mut alarm = Alarm::new().expect("a timer");
        let mut at = clock.mono();
        for _ in 0..20 {
            at = at + Duration::from_micros(300);
            alarm.sleep_until(&clock, at).await.expect("a wait");
            assert!(clock.mono() >= at);
        }
        let never = alarm.sleep_until(&clock, Mono::NEVER);
        let ended = timeout(Duration::from_millis(5), never).await;
        assert!(ended.is_err());
        let later = alarm.sleep_until(&clock, clock.mono() + Duration::from_secs(3_600));
        assert!(timeout(Duration::from_millis(5), later).await.is_err());
        let soon = clock.mono() + Duration::from_millis(1);
        alarm.sleep_until(&clock, soon).await.expect("a wait");
        assert!(clock.mono() >= soon);
    });
}

#[test]
fn a_timeout_gives_the_result_that_came_in_time() {
    block_on(async {
        let quick = async { 7 };
        assert_eq!(timeout(Duration::from_secs(60), quick).await, Ok(7));
    });
}

#[test]
fn entropy_differs_from_draw_to_draw() {
    block_on(async {
        assert_ne!(entropy(), entropy());
    });
}
