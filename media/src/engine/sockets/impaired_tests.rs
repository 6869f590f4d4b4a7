use std::time::Duration;

use webrtc::runtime::default_runtime;

use super::*;

/// Two sockets on loopback, the first one behind a network.
struct Pair {
    near: Arc<dyn AsyncUdpSocket>,
    far: Arc<dyn AsyncUdpSocket>,
}

impl Pair {
    fn in_network(network: &ImpairHandle) -> Self {
        let runtime = default_runtime().unwrap();
        let bind = || {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            runtime.wrap_udp_socket(socket).unwrap()
        };
        Self { near: network.wrap(bind(), &*runtime), far: bind() }
    }

    async fn send(&self, from: &Arc<dyn AsyncUdpSocket>, to: &Arc<dyn AsyncUdpSocket>, content: &[u8]) {
        let to = to.local_addr().unwrap();
        assert_eq!(from.send_to(content, to).await.unwrap(), content.len());
    }

    async fn up(&self, content: &[u8]) {
        self.send(&self.near, &self.far, content).await;
    }

    async fn down(&self, content: &[u8]) {
        self.send(&self.far, &self.near, content).await;
    }
}

/// The next datagram.
async fn next(socket: &Arc<dyn AsyncUdpSocket>) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let receive = socket.recv_from(&mut buffer);
    let (length, _) = tokio::time::timeout(Duration::from_secs(10), receive).await.expect("it comes").unwrap();
    buffer.truncate(length);
    buffer
}

/// True when nothing comes for a while.
async fn is_silent(socket: &Arc<dyn AsyncUdpSocket>) -> bool {
    let mut buffer = vec![0; 65_536];
    tokio::time::timeout(Duration::from_millis(100), socket.recv_from(&mut buffer)).await.is_err()
}

fn impairments(text: &str) -> Impairments {
    text.parse().unwrap()
}

/// Sends numbered datagrams both ways in small groups, which no buffer of the system overflows by, and looks that all
/// come in order.
async fn passes_all(pair: &Pair, count: u32) {
    for group in (0..count).collect::<Vec<u32>>().chunks(20) {
        for number in group {
            pair.up(&number.to_be_bytes()).await;
            pair.down(&number.to_be_bytes()).await;
        }
        for number in group {
            assert_eq!(next(&pair.far).await, number.to_be_bytes());
            assert_eq!(next(&pair.near).await, number.to_be_bytes());
        }
    }
}

#[tokio::test]
async fn a_network_with_nothing_wrong_passes_everything_in_order() {
    let network = ImpairHandle::default();
    passes_all(&Pair::in_network(&network), 2000).await;
    assert_eq!(network.counters(), Default::default(), "past the links");
}

#[tokio::test]
async fn a_bad_network_keeps_the_order_too() {
    let network = ImpairHandle::new(impairments("delay=5ms,jitter=5ms,rate=50mbit"));
    passes_all(&Pair::in_network(&network), 1000).await;
    let (up, down) = network.counters();
    assert_eq!((up.passed, down.passed), (1000, 1000));
}

#[tokio::test]
async fn a_delay_is_one_way_and_of_its_direction() {
    let network = ImpairHandle::new(impairments("up:delay=80ms down:delay=20ms"));
    let pair = Pair::in_network(&network);
    for (milliseconds, up) in [(80, true), (20, false)] {
        let start = Instant::now();
        if up {
            pair.up(b"a").await;
            next(&pair.far).await;
        } else {
            pair.down(b"a").await;
            next(&pair.near).await;
        }
        let took = start.elapsed();
        assert!(
            took >= Duration::from_millis(milliseconds) && took.as_millis() < u128::from(milliseconds) + 60,
            "{took:?}"
        );
    }
}

#[tokio::test]
async fn joined_datagrams_pass_one_by_one() {
    let network = ImpairHandle::new(impairments("delay=1ms"));
    let pair = Pair::in_network(&network);
    let transmit = Transmit {
        destination: pair.far.local_addr().unwrap(),
        ecn: None,
        contents: &[7; 250],
        segment_size: Some(100),
        src_ip: None,
    };
    assert_eq!(poll_fn(|cx| pair.near.poll_send(cx, &transmit)).await.unwrap(), 250);
    for length in [100, 100, 50] {
        assert_eq!(next(&pair.far).await, vec![7; length]);
    }
    // An empty datagram is one as well.
    pair.down(b"").await;
    assert_eq!(next(&pair.near).await, b"");
    let (up, down) = network.counters();
    assert_eq!((up.passed, down.passed), (3, 1));
}

#[test]
fn messages_are_split_at_their_stride() {
    let split = |message, stride| split(message, stride).map(<[u8]>::len).collect::<Vec<usize>>();
    assert_eq!(split(&[0; 7], 3), [3, 3, 1]);
    assert_eq!(split(&[0; 7], 7), [7]);
    assert_eq!(split(&[0; 7], usize::MAX), [7]);
    assert_eq!(split(&[], 0), [0]);
    assert_eq!(split(&[0; 2], 0), [1, 1], "a stride that makes no sense ends all the same");
}

#[tokio::test]
async fn what_is_under_way_passes_before_what_comes_after_a_change() {
    let network = ImpairHandle::default();
    let pair = Pair::in_network(&network);
    for round in 0..50u32 {
        network.set(impairments("delay=3ms"));
        pair.up(&round.to_be_bytes()).await;
        pair.down(&round.to_be_bytes()).await;
        network.set(Impairments::default());
        pair.up(b"after").await;
        pair.down(b"after").await;
        for socket in [&pair.far, &pair.near] {
            assert_eq!(next(socket).await, round.to_be_bytes());
            assert_eq!(next(socket).await, b"after");
        }
    }
}

#[tokio::test]
async fn sockets_that_come_later_find_the_same_network() {
    let network = ImpairHandle::new(impairments("loss=100%"));
    let before = Pair::in_network(&network);
    before.up(b"a").await;
    before.down(b"a").await;
    assert!(is_silent(&before.far).await && is_silent(&before.near).await);
    let after = Pair::in_network(&network);
    drop(before);
    after.up(b"b").await;
    after.down(b"b").await;
    assert!(is_silent(&after.far).await && is_silent(&after.near).await);
    assert_eq!((network.counters().0.lost, network.counters().1.lost), (2, 2));
    network.set(Impairments::default());
    passes_all(&after, 100).await;
}

#[tokio::test]
async fn a_last_word_leaves_after_its_socket_was_closed() {
    let network = ImpairHandle::new(impairments("up:delay=50ms"));
    let Pair { near, far } = Pair::in_network(&network);
    near.send_to(b"goodbye", far.local_addr().unwrap()).await.unwrap();
    drop(near);
    assert_eq!(next(&far).await, b"goodbye");
    // The pump has nothing left to do; another begins with the next socket.
    passes_all(&Pair::in_network(&network), 20).await;
}
