//! Watches, line by line.

use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use kooper_sim::{Options, Span, run, run_with};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::{Http, SHOPS, on_any_server, shop, version};

/// A watch whose lines are read as they come.
struct Lines {
    body: Body,
    text: String,
}

impl Lines {
    async fn open(http: &Http, query: &str) -> Self {
        let path = http.path(&format!("{SHOPS}?watch=true&{query}"));
        let request = http::Request::get(path).body(Body::empty()).unwrap();
        let response = http.client.send(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), text: String::new() }
    }

    /// The next event; None at the end of the watch, or if none comes within a second.
    async fn next(&mut self) -> Option<Value> {
        while !self.text.contains('\n') {
            let frame = tokio::time::timeout(Duration::from_secs(1), self.body.frame()).await.ok()??;
            self.text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
        let (line, rest) = self.text.split_once('\n').map(|(line, rest)| (line.to_owned(), rest.to_owned())).unwrap();
        self.text = rest;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// All events to come, as `TYPE name`.
    async fn rest(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or("-");
            events.push(format!("{} {name}", event["type"].as_str().unwrap()));
        }
        events
    }

    async fn is_over(&mut self) -> bool {
        matches!(tokio::time::timeout(Duration::from_secs(1), self.body.frame()).await, Ok(None))
    }
}

fn path(name: &str) -> String {
    format!("{SHOPS}/{name}")
}

#[test]
fn a_watch_starts_where_it_is_told() {
    on_any_server(|http| async move {
        let first = version(&http.expect(201, "POST", SHOPS, shop("a")).await);
        http.expect(201, "POST", SHOPS, shop("b")).await;
        for (query, expected) in [
            (String::new(), vec!["ADDED a", "ADDED b"]),
            ("resourceVersion=0".to_owned(), vec!["ADDED a", "ADDED b"]),
            (format!("resourceVersion={first}"), vec!["ADDED b"]),
            (format!("resourceVersion={}", first - 1), vec!["ADDED a", "ADDED b"]),
            (format!("resourceVersion={}", first + 1), vec![]),
            (
                format!("resourceVersion={first}&sendInitialEvents=false&resourceVersionMatch=NotOlderThan"),
                vec!["ADDED b"],
            ),
        ] {
            assert_eq!(Lines::open(&http, &query).await.rest().await, expected, "{query}");
        }
    });
}

#[test]
fn a_streaming_list_says_where_it_ends() {
    on_any_server(|http| async move {
        let made = http.expect(201, "POST", SHOPS, shop("a")).await;
        let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        let mut lines = Lines::open(&http, query).await;
        assert_eq!(lines.next().await.unwrap()["type"], "ADDED");
        let bookmark = lines.next().await.unwrap();
        assert_eq!(bookmark["type"], "BOOKMARK");
        assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert!(version(&bookmark["object"]) >= version(&made));
        assert_eq!(bookmark["object"]["kind"], "Shop");
    });
}

#[test]
fn changes_come_in_order_with_their_versions() {
    on_any_server(|http| async move {
        let mut lines = Lines::open(&http, "").await;
        let made = http.expect(201, "POST", SHOPS, shop("a")).await;
        let changed = http.expect(200, "PATCH", &path("a"), json!({"spec": {"town": "Bonn"}})).await;
        http.expect(200, "DELETE", &path("a"), Value::Null).await;
        assert_eq!(lines.next().await.unwrap(), json!({"type": "ADDED", "object": made}));
        assert_eq!(lines.next().await.unwrap(), json!({"type": "MODIFIED", "object": changed}));
        let gone = lines.next().await.unwrap();
        assert_eq!(gone["type"], "DELETED");
        assert!(version(&gone["object"]) > version(&changed), "the deletion has a version of its own");
        assert_eq!(gone["object"]["spec"]["town"], "Bonn", "and shows the last state");
    });
}

#[test]
fn objects_enter_and_leave_a_selection() {
    on_any_server(|http| async move {
        let mut labelled = Lines::open(&http, "labelSelector=size%20in%20(small)").await;
        let mut in_bonn = Lines::open(&http, "fieldSelector=spec.town%3DBonn").await;
        http.expect(201, "POST", SHOPS, shop("a")).await;
        let small = |size: Value| json!({"metadata": {"labels": {"size": size}}});
        http.expect(200, "PATCH", &path("a"), small(json!("small"))).await;
        http.expect(200, "PATCH", &path("a"), json!({"spec": {"town": "Bonn"}})).await;
        let left = http.expect(200, "PATCH", &path("a"), small(Value::Null)).await;
        http.expect(200, "DELETE", &path("a"), Value::Null).await;
        assert_eq!(labelled.next().await.unwrap()["type"], "ADDED");
        assert_eq!(labelled.next().await.unwrap()["type"], "MODIFIED");
        let gone = labelled.next().await.unwrap();
        assert_eq!((&gone["type"], version(&gone["object"])), (&json!("DELETED"), version(&left)));
        assert_eq!(gone["object"]["metadata"]["labels"]["size"], "small", "as it was when it still matched");
        assert_eq!(labelled.rest().await, Vec::<String>::new());
        assert_eq!(in_bonn.rest().await, ["ADDED a", "MODIFIED a", "DELETED a"]);
    });
}

#[test]
fn other_namespaces_and_kinds_are_not_shown() {
    on_any_server(|http| async move {
        let mut lines = Lines::open(&http, "").await;
        let mut elsewhere = shop("");
        elsewhere["metadata"] = json!({"generateName": "a-"});
        http.expect(201, "POST", "/apis/example.com/v1/namespaces/kube-system/shops", elsewhere).await;
        http.expect(201, "POST", crate::http::PODS, crate::http::idle_pod("p")).await;
        http.expect(201, "POST", SHOPS, shop("b")).await;
        assert_eq!(lines.rest().await, ["ADDED b"]);
    });
}

#[test]
fn nothing_is_lost_between_opening_and_reading() {
    on_any_server(|http| async move {
        let mut lines = Lines::open(&http, "").await;
        for number in 0..100 {
            http.expect(201, "POST", SHOPS, shop(&format!("s{number:03}"))).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = lines.rest().await;
        let expected: Vec<String> = (0..100).map(|number| format!("ADDED s{number:03}")).collect();
        assert_eq!(seen, expected);
    });
}

#[test]
fn a_forgotten_version_is_an_event() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        let first = version(&http.expect(201, "POST", SHOPS, shop("a")).await);
        let mut idle = Lines::open(&http, "resourceVersion=0&labelSelector=none").await;
        let mut behind = Lines::open(&http, &format!("resourceVersion={first}")).await;
        http.expect(201, "POST", SHOPS, shop("b")).await;
        assert_eq!(idle.rest().await, Vec::<String>::new());
        sim.compact();
        let mut late = Lines::open(&http, &format!("resourceVersion={first}")).await;
        let error = late.next().await.unwrap();
        assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
        assert_eq!(error["object"]["reason"], "Expired");
        assert!(late.is_over().await);
        assert_eq!(behind.next().await.unwrap()["object"]["code"], 410, "it was too slow");
        assert_eq!(idle.rest().await, Vec::<String>::new());
        assert!(!idle.is_over().await, "who has missed nothing goes on");
    });
}

#[test]
fn the_window_of_changes_is_bounded() {
    let options = Options { watch_window: 3, ..Options::seeded(1) };
    run_with(options, |sim| async move {
        let http = Http::new(&sim);
        let first = version(&http.expect(201, "POST", SHOPS, shop("a")).await);
        for name in ["b", "c", "d", "e"] {
            http.expect(201, "POST", SHOPS, shop(name)).await;
        }
        let mut late = Lines::open(&http, &format!("resourceVersion={first}")).await;
        assert_eq!(late.next().await.unwrap()["object"]["code"], 410);
        let mut recent = Lines::open(&http, &format!("resourceVersion={}", first + 1)).await;
        assert_eq!(recent.rest().await, ["ADDED c", "ADDED d", "ADDED e"]);
        let behind = http.get(&format!("{SHOPS}?resourceVersion={}&resourceVersionMatch=Exact", first + 1)).await;
        assert_eq!(behind["items"].as_array().unwrap().len(), 2);
    });
}

#[test]
fn watches_end_in_time_and_bookmark_meanwhile() {
    run(1, |sim| async move {
        let http = Http::new(&sim);
        let start = Instant::now();
        let mut lines = Lines::open(&http, "allowWatchBookmarks=true&timeoutSeconds=150").await;
        let mut bookmarks = Vec::new();
        while let Some(frame) = lines.body.frame().await {
            let event: Value = serde_json::from_slice(&frame.unwrap().into_data().unwrap()).unwrap();
            bookmarks.push((event["type"].clone(), start.elapsed().as_secs(), version(&event["object"])));
        }
        let revision = sim.revision();
        assert_eq!(bookmarks, [(json!("BOOKMARK"), 60, revision), (json!("BOOKMARK"), 120, revision)]);
        assert_eq!(start.elapsed().as_secs(), 150);
    });
}

#[test]
fn events_take_their_time_and_keep_their_order() {
    let options = Options { watch_latency: Span::millis(0, 500), ..Options::seeded(3) };
    run_with(options, |sim| async move {
        let http = Http::new(&sim);
        let mut lines = Lines::open(&http, "").await;
        let start = Instant::now();
        let arrive = async {
            let mut versions = Vec::new();
            while versions.len() < 20 {
                let event = lines.next().await.unwrap();
                versions.push((version(&event["object"]), sim.revision()));
            }
            versions
        };
        let write = async {
            for number in 0..20 {
                http.expect(201, "POST", SHOPS, shop(&format!("s{number}"))).await;
            }
        };
        // Each is polled only when something woke it.
        let both = FuturesUnordered::new();
        both.push(arrive.left_future());
        both.push(write.map(|()| Vec::new()).right_future());
        let versions = both.concat().await;
        assert!(versions.is_sorted());
        assert!(start.elapsed() < Duration::from_secs(1), "each came when it was due");
        assert!(versions.iter().any(|(seen, latest)| seen < latest), "some came late");
    });
}
