use super::*;

fn note(ledger: &mut Ledger, object: usize, reason: &str, at: Instant) -> Option<SeriesKey> {
    let regarding = ObjectReference { name: Some(format!("object-{object}")), ..ObjectReference::default() };
    let event =
        Event { type_: EventType::Normal, reason: reason.into(), action: "Act".into(), note: "What happened.".into() };
    ledger.note(&regarding, event, Timestamp::UNIX_EPOCH, at)
}

fn tell(ledger: &mut Ledger, key: &SeriesKey, at: Instant) {
    let reporter = Reporter { controller: "example.com/c".into(), instance: "c".into() };
    let Work::Create(event) = ledger.due(key, &reporter, at) else { panic!("there is nothing to tell") };
    ledger.written(key, &event, at);
}

#[tokio::test(start_paused = true)]
async fn when_the_ledger_is_full_what_was_told_gives_way_to_what_is_new() {
    let mut ledger = Ledger::default();
    let at = Instant::now();
    for object in 0..CAPACITY {
        let key = note(&mut ledger, object, "Made", at).unwrap();
        tell(&mut ledger, &key, at);
    }
    for object in 0..10 {
        assert!(note(&mut ledger, CAPACITY + object, "Lost", at).is_some());
    }
    assert_eq!((ledger.dropped(), ledger.series.len(), ledger.budgets.len()), (0, CAPACITY, CAPACITY));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_to_be_told_is_not_forgotten() {
    let mut ledger = Ledger::default();
    let at = Instant::now();
    for object in 0..CAPACITY {
        assert!(note(&mut ledger, object, "Made", at).is_some());
    }
    assert!(note(&mut ledger, CAPACITY, "Made", at).is_none());
    assert_eq!(ledger.dropped(), 1);
}
