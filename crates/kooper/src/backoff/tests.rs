use super::*;

const BACKOFF: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_mins(1) };

#[test]
fn delays_double_up_to_the_longest_and_lose_at_most_a_quarter() {
    let full = [1, 2, 4, 8, 16, 32, 60, 60];
    for (attempt, full) in (1..).zip(full) {
        let delay = BACKOFF.delay(&"key", attempt);
        let full = Duration::from_secs(full);
        assert!(delay <= full && delay >= full * 3 / 4, "{attempt}: {delay:?} of {full:?}");
    }
    assert!(BACKOFF.delay(&"key", u32::MAX) <= BACKOFF.max);
}

#[test]
fn keys_differ_and_runs_do_not() {
    assert_ne!(BACKOFF.delay(&"a", 1), BACKOFF.delay(&"b", 1));
    assert_eq!(BACKOFF.delay(&"a", 1), BACKOFF.delay(&"a", 1));
}

fn next(attempt: u32, result: &Result<Outcome, Failure>) -> Next {
    let policy = RetryPolicy { backoff: BACKOFF, max_attempts: 3, resync: Duration::from_mins(10) };
    policy.next(&"key", attempt, 0, result)
}

#[test]
fn each_end_has_its_consequence() {
    let wait = BACKOFF.delay(&"key", 1);
    let minute = Duration::from_mins(1);
    let resync = Duration::from_mins(10);
    let table = [
        (Ok(Outcome::Done), Next::Done),
        (Ok(Outcome::After(minute)), Next::After(minute)),
        (Err(Failure::Retry("x".into())), Next::Retry(wait)),
        (Err(Failure::RetryAfter(minute, "x".into())), Next::Again(minute)),
        (Err(Failure::Unavailable("x".into())), Next::Again(wait)),
        (Err(Failure::Conflict("x".into())), Next::Again(CONFLICT.delay(&"key", 1))),
        (Err(Failure::terminal("x")), Next::Stalled { wait, resync }),
    ];
    for (result, expected) in table {
        assert_eq!(next(1, &result), expected, "{result:?}");
    }
}

#[test]
fn at_the_cap_a_key_is_stalled_but_only_by_its_own_failures() {
    assert!(matches!(next(2, &Err(Failure::Retry("x".into()))), Next::Retry(_)));
    assert!(matches!(next(3, &Err(Failure::Retry("x".into()))), Next::Stalled { .. }));
    for not_its_own in [
        Failure::RetryAfter(Duration::ZERO, "x".into()),
        Failure::Unavailable("x".into()),
        Failure::Conflict("x".into()),
    ] {
        assert!(matches!(next(3, &Err(not_its_own)), Next::Again(_)));
    }
}
