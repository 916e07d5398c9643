//! What inventories do, by topic: each test plays a shop and looks what is planned.

mod checks;
mod orders;
mod restock;
mod shelf;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use korder_api::stock::StockClaim;
use korder_api::{OrderSpec, StockPhase, StockStatus, names};
use proptest::prelude::*;
use serde_json::json;

use super::request::Stage;
use super::*;
use crate::conditions;
use crate::fixtures::at;
use crate::reasons;

/// A shelf in namespace `shop`, with what plans for it say carried out as the controllers would.
struct Shop {
    inventory: Inventory,
    units: Vec<Arc<Stock>>,
    orders: Vec<Arc<Order>>,
    /// Orders that wait for another inventory.
    elsewhere: Vec<Arc<Order>>,
    memory: Memory,
    now: i64,
}

impl Shop {
    fn new(spec: serde_json::Value) -> Self {
        let mut spec = spec;
        spec["item"]["operation"] =
            json!({"job": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        let inventory = Inventory {
            metadata: meta("cake", "inventory"),
            spec: serde_json::from_value(spec).unwrap(),
            status: None,
        };
        Self { inventory, units: vec![], orders: vec![], elsewhere: vec![], memory: Memory::default(), now: 0 }
    }

    fn order(&mut self, name: &str) -> &mut Order {
        let spec: OrderSpec = serde_json::from_value(json!({"inventoryRef": {"name": "cake"}})).unwrap();
        let mut metadata = meta(name, name);
        metadata.creation_timestamp = Some(Time(at(self.now)));
        metadata.resource_version = Some((1000 + self.orders.len()).to_string());
        self.orders.push(Arc::new(Order { metadata, spec, status: None }));
        Arc::make_mut(self.orders.last_mut().unwrap())
    }

    fn look(&mut self) -> Plan {
        let labels = |_: &str| Some(Labels::new());
        let observed = Observed {
            inventory: &self.inventory,
            units: &self.units,
            requests: &self.orders,
            elsewhere: &self.elsewhere,
            labels: &labels,
        };
        plan(observed, &mut self.memory, at(self.now))
    }

    /// Carries out what a plan says; every write succeeds.
    fn carry_out(&mut self, plan: Plan) {
        let name = full_name(&self.inventory);
        for Serve { order, claim, has, completes, sequence } in plan.serve {
            let mut units: Vec<String> = has.iter().map(|one| unit::name(one).to_owned()).collect();
            for one in claim {
                let claim = StockClaim {
                    namespace: "shop".into(),
                    name: order.metadata.name.clone().unwrap(),
                    uid: order.metadata.uid.clone().unwrap(),
                };
                let status = self.status_of(unit::name(&one));
                assert_eq!(status.phase, Some(StockPhase::Ready), "only a ready unit is claimed");
                (status.phase, status.claim_ref) = (Some(StockPhase::Claimed), Some(claim));
                units.push(unit::name(&one).to_owned());
            }
            let names: Vec<&str> = units.iter().map(String::as_str).collect();
            let status = if completes {
                request::filled(&order, &name, &names, &BTreeMap::new(), at(self.now))
            } else {
                request::waiting(&order, &name, sequence, &names, "", at(self.now))
            };
            self.tell(&order, status);
        }
        for (order, status) in plan.tell {
            self.tell(&order, status);
        }
        for (order, units) in plan.end {
            self.take_back(units);
            let status = request::released(&order, at(self.now));
            self.tell(&order, status);
        }
        self.take_back(plan.given_back.into_iter().map(|(_, one)| one).chain(plan.orphaned));
        let retired: Vec<_> = plan.retire.into_iter().map(|(one, _)| one).collect();
        self.remove(&retired);
        for one in plan.create {
            assert!(self.units.iter().all(|there| unit::name(there) != unit::name(&one)), "a name is used once");
            let mut one = one;
            one.metadata.creation_timestamp = Some(Time(at(self.now)));
            one.metadata.uid = one.metadata.name.clone();
            self.units.push(Arc::new(one));
        }
        if let Some(status) = plan.status {
            self.inventory.status = Some(status);
        }
    }

    fn step(&mut self) {
        let plan = self.look();
        self.carry_out(plan);
    }

    fn tell(&mut self, order: &Order, status: OrderStatus) {
        let there = self.orders.iter_mut().find(|there| there.metadata.uid == order.metadata.uid).unwrap();
        Arc::make_mut(there).status = Some(status);
    }

    fn take_back(&mut self, units: impl IntoIterator<Item = Return>) {
        for Return { unit: one, reset } in units {
            match reset {
                Some(status) => *self.status_of(unit::name(&one)) = *status,
                None => self.remove(&[one]),
            }
        }
    }

    fn remove(&mut self, units: &[Arc<Stock>]) {
        self.units.retain(|there| units.iter().all(|one| unit::name(one) != unit::name(there)));
    }

    fn status_of(&mut self, name: &str) -> &mut StockStatus {
        let one = self.units.iter_mut().find(|one| unit::name(one) == name).unwrap();
        Arc::make_mut(one).status.get_or_insert_default()
    }

    /// Ends the production of all units that are being made.
    fn produced(&mut self) {
        let now = at(self.now);
        for one in self.units.iter_mut().filter(|one| unit::phase(one) == StockPhase::Producing) {
            let status = Arc::make_mut(one).status.get_or_insert_default();
            (status.phase, status.ready_time) = (Some(StockPhase::Ready), Some(Time(now)));
            let say = conditions::Say { type_: conditions::READY, holds: true, reason: "Made", message: String::new() };
            conditions::set(&mut status.conditions, say, None, now);
        }
    }

    fn failed(&mut self) {
        let now = at(self.now);
        for one in self.units.iter_mut().filter(|one| unit::phase(one) == StockPhase::Producing) {
            let status = Arc::make_mut(one).status.get_or_insert_default();
            status.phase = Some(StockPhase::Failed);
            for (type_, holds) in [(conditions::READY, false), (conditions::TORN_DOWN, true)] {
                let say = conditions::Say { type_, holds, reason: "ProductionFailed", message: "no flour".into() };
                conditions::set(&mut status.conditions, say, None, now);
            }
        }
    }

    fn phases(&self) -> Vec<(&str, StockPhase)> {
        self.units.iter().map(|one| (unit::name(one), unit::phase(one))).collect()
    }

    fn stock_of(&self, order: &str) -> Option<&str> {
        let order = self.orders.iter().find(|one| one.metadata.name.as_deref() == Some(order)).unwrap();
        order.status.as_ref()?.stock_name.as_deref()
    }

    fn status(&self) -> &InventoryStatus {
        self.inventory.status.as_ref().unwrap()
    }
}

fn meta(name: &str, uid: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some("shop".into()),
        uid: Some(uid.into()),
        creation_timestamp: Some(Time(at(0))),
        generation: Some(1),
        ..ObjectMeta::default()
    }
}
