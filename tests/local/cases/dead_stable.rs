//! The old version is down, and the new one is the cure.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use libtest_mimic::Trial;
use serinus::api::view::{PhaseName, RolloutView};
use strategies::{End, WaitingFor, Weight};

use super::case;
use crate::product::{PLAIN, Product, document, get, serves, upstream};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("a_fix_comes_through_while_stable_is_down", fix_comes_through),
        case("a_stable_that_is_back_gets_its_share_again", stable_is_back),
    ]
}

/// A version of the service that can be taken down.
struct Mortal {
    address: SocketAddr,
    alive: Arc<AtomicBool>,
    serves: Option<std::thread::JoinHandle<()>>,
}

impl Mortal {
    fn born_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, alive) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(true)));
        let lives = alive.clone();
        let serves = std::thread::spawn(move || {
            while lives.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                std::thread::spawn(move || {
                    let _ = stream.set_nonblocking(false);
                    let Ok(asks) = stream.try_clone() else { return };
                    let head = BufReader::new(asks).lines().map_while(Result::ok);
                    if head.take_while(|it| !it.is_empty()).count() > 0 {
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
                        let _ = stream.write_all(answer);
                    }
                });
            }
        });
        Self { address, alive, serves: Some(serves) }
    }

    /// Takes it down, until nothing listens any more.
    fn dies(&mut self) {
        self.alive.store(false, Ordering::Relaxed);
        self.serves.take().unwrap().join().unwrap();
    }
}

/// v2 is applied while v1 is down; all traffic is on v2 from here on.
async fn beside_a_dead_stable(more: &str) -> (Product, Mortal, String, SocketAddr) {
    let mut first = Mortal::born_at("127.0.0.1:0".parse().unwrap());
    let second = upstream();
    let text = |current| {
        let by_hand = document(current, [first.address, second], PLAIN).replace("{ for: 1s }", "{}");
        format!("{by_hand}{more}")
    };
    let (one, two) = (text("v1"), text("v2"));
    let product = Product::run(&one, |_| {}).await;
    let view = product.until("the first version", |it| it.phase == PhaseName::Idle).await;
    let address = view.addresses[0].address;
    serves(address).await;
    first.dies();
    product.apply(&two).await;
    let alone = |it: &RolloutView| it.weight.settled == Some(Weight::FULL) && is_down(it);
    product.until("everything on the second version", alone).await;
    (product, first, two, address)
}

fn is_down(view: &RolloutView) -> bool {
    view.waiting.iter().any(|it| matches!(it.what, WaitingFor::StableIsDown { .. }))
}

async fn fix_comes_through() {
    let (product, _first, _, address) = beside_a_dead_stable("  deadlines: { progress: 2s }\n").await;
    for request in 0..50 {
        assert_eq!(get(address).unwrap(), 200, "request {request} went to what answers nothing");
    }
    product.say(&["promote", "--full"]);
    let view = product.until("the promotion", |it| it.last.is_some() && it.phase == PhaseName::Idle).await;
    assert_eq!(view.last.map(|it| it.end), Some(End::Promoted));
}

async fn stable_is_back() {
    let (product, first, _, address) = beside_a_dead_stable("").await;
    let _again = Mortal::born_at(first.address);
    let half = |it: &RolloutView| it.weight.settled == Some(Weight::from_percent(50)) && !is_down(it);
    let view = product.until("the step's own share", half).await;
    assert_eq!(view.phase, PhaseName::Stepping);
    for request in 0..50 {
        assert_eq!(get(address).unwrap(), 200, "request {request} failed while both answer");
    }
}
