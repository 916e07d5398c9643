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
    let later = at + Duration::from_secs(1);
    for object in 0..2 * CAPACITY {
        let key = note(&mut ledger, CAPACITY + object, "Lost", later).unwrap();
        tell(&mut ledger, &key, later);
        assert!(ledger.series.len() <= CAPACITY && ledger.budgets.len() <= CAPACITY);
    }
    assert_eq!(ledger.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_oldest_is_forgotten_first() {
    let mut ledger = Ledger::default();
    let start = Instant::now();
    let noted: Vec<SeriesKey> = (0..=CAPACITY)
        .map(|object| {
            let at = start + Duration::from_millis(u64::try_from(object).unwrap());
            let key = note(&mut ledger, object, "Made", at).unwrap();
            tell(&mut ledger, &key, at);
            key
        })
        .collect();
    assert!(!ledger.series.contains_key(&noted[0]));
    assert!(ledger.series.contains_key(&noted[CAPACITY / 2]));
}

#[tokio::test(start_paused = true)]
async fn what_happens_again_after_a_series_has_ended_is_told_anew() {
    let mut ledger = Ledger::default();
    let at = Instant::now();
    let key = note(&mut ledger, 1, "Made", at).unwrap();
    tell(&mut ledger, &key, at);
    let within = note(&mut ledger, 1, "Made", at + SERIES / 2).unwrap();
    assert_eq!(ledger.series[&within].count, 2);
    let reporter = Reporter { controller: "example.com/c".into(), instance: "c".into() };
    let Work::Update(event) = ledger.due(&key, &reporter, at + SERIES / 2) else { panic!("it is not told") };
    ledger.written(&key, &event, at + SERIES / 2);
    let after = note(&mut ledger, 1, "Made", at + SERIES * 2).unwrap();
    tell(&mut ledger, &after, at + SERIES * 2);
    assert_eq!(ledger.series[&after].count, 1);
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
