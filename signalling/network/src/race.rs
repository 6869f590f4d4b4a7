//! Several addresses of one server, tried side by side: "Happy Eyeballs" (RFC 8305).
//!
//! An address may swallow every packet: then TCP takes minutes to find out. So the next address is tried after a short
//! delay, while the first is still waited for. The first that answers is used, and the other attempts are given up.
//!
//! - [`order`]: which address comes first. Pure
//! - [`first_to_answer`]: the attempts. How one is made is the caller's business

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How long the next attempt waits for the one before it (RFC 8305 §5, "Connection Attempt Delay").
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Why no address answered.
#[derive(Debug)]
pub struct Attempt {
    /// Where.
    pub address: SocketAddr,
    /// What the system said of it.
    pub failure: AttemptFailure,
}

/// What became of one attempt.
#[derive(Debug)]
pub enum AttemptFailure {
    /// The system says why there is no connection.
    Said(io::Error),
    /// No answer in this time, which is all that was left.
    Silent(Duration),
    /// The time was over before its turn came.
    NotTried,
}

/// The order in which addresses are tried: both families by turns (RFC 8305 §4). The system has sorted them by RFC 6724,
/// so IPv6 begins wherever this machine has a way out by it that is as good as the one by IPv4. Each address once.
#[must_use]
pub fn order(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut families: [VecDeque<SocketAddr>; 2] = Default::default();
    let mut first_is_ipv6 = None;
    for address in addresses {
        let is_ipv6 = *first_is_ipv6.get_or_insert(address.is_ipv6());
        let family = &mut families[usize::from(address.is_ipv6() != is_ipv6)];
        if !family.contains(&address) {
            family.push_back(address);
        }
    }
    let mut ordered = Vec::new();
    while families.iter().any(|family| !family.is_empty()) {
        ordered.extend(families.iter_mut().filter_map(VecDeque::pop_front));
    }
    ordered
}

/// Tries all addresses in this order, each `delay` after the one before it, or at once when that one has failed.
///
/// # Errors
/// What each address said, when all have failed or the time is over. Empty where there is no address.
pub async fn first_to_answer<T, F>(
    addresses: Vec<SocketAddr>,
    delay: Duration,
    limit: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Vec<Attempt>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let end = Instant::now() + limit;
    let mut next_at = Instant::now();
    let mut waiting: VecDeque<(usize, SocketAddr)> = addresses.iter().copied().enumerate().collect();
    let mut begun = vec![None; addresses.len()];
    let mut said: Vec<Option<io::Error>> = addresses.iter().map(|_| None).collect();
    // Dropped, it ends all attempts.
    let mut running = JoinSet::new();
    loop {
        let now = Instant::now();
        if (running.is_empty() || now >= next_at)
            && now < end
            && let Some((index, address)) = waiting.pop_front()
        {
            begun[index] = Some(now);
            let attempt = connect(address);
            running.spawn(async move { (index, attempt.await) });
            next_at = now + delay;
        }
        tokio::select! {
            biased;
            ended = running.join_next(), if !running.is_empty() => match ended {
                Some(Ok((index, Ok(connected)))) => return Ok((addresses[index], connected)),
                Some(Ok((index, Err(error)))) => {
                    said[index] = Some(error);
                    next_at = Instant::now();
                }
                // An attempt that broke off has said nothing.
                Some(Err(_)) | None => {}
            },
            () = sleep_until(next_at), if !waiting.is_empty() && next_at < end => {}
            () = sleep_until(end), if !running.is_empty() => break,
            else => break,
        }
    }
    let failure = |(index, address): (usize, &SocketAddr)| {
        let failure = match (said[index].take(), begun[index]) {
            (Some(error), _) => AttemptFailure::Said(error),
            (None, Some(begun)) => AttemptFailure::Silent(end - begun),
            (None, None) => AttemptFailure::NotTried,
        };
        Attempt { address: *address, failure }
    };
    Err(addresses.iter().enumerate().map(failure).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const DELAY: Duration = Duration::from_millis(30);

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).collect()
    }

    /// What an address does with an attempt.
    #[derive(Clone, Copy)]
    enum Manner {
        Answers,
        AnswersAfter(Duration),
        Refuses,
        Swallows,
    }

    async fn behave(manner: Manner) -> io::Result<()> {
        match manner {
            Manner::Answers => Ok(()),
            Manner::AnswersAfter(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Manner::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
            Manner::Swallows => std::future::pending().await,
        }
    }

    /// The outcome, and when each address was tried.
    async fn race(manners: &[(&str, Manner)], limit: Duration) -> (Result<String, Vec<Attempt>>, Vec<Duration>) {
        let began = Instant::now();
        let tried = Arc::new(Mutex::new(Vec::new()));
        let all = addresses(&manners.iter().map(|(ip, _)| *ip).collect::<Vec<_>>());
        let manners: Vec<(SocketAddr, Manner)> =
            all.iter().copied().zip(manners.iter().map(|(_, manner)| *manner)).collect();
        let outcome = first_to_answer(all, DELAY, limit, |address| {
            tried.lock().unwrap().push(began.elapsed());
            let manner = manners.iter().find(|(known, _)| *known == address).map(|(_, manner)| *manner);
            behave(manner.unwrap())
        });
        let outcome = outcome.await.map(|(address, ())| address.ip().to_string());
        let tried = tried.lock().unwrap().clone();
        (outcome, tried)
    }

    #[test]
    fn families_take_turns_in_the_order_of_the_system() {
        let ordered = |list: &[&str]| order(addresses(list));
        let six_first = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"];
        assert_eq!(
            ordered(&six_first),
            addresses(&["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"])
        );
        assert_eq!(ordered(&["192.0.2.1", "192.0.2.1", "::1"]), addresses(&["192.0.2.1", "::1"]));
        assert_eq!(ordered(&[]), []);
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_delays_the_next_by_one_step() {
        let (outcome, tried) =
            race(&[("::1", Manner::Swallows), ("192.0.2.1", Manner::Answers)], Duration::from_secs(5)).await;
        assert_eq!(outcome.unwrap(), "192.0.2.1");
        assert!(tried[1] >= DELAY && tried[1] < 10 * DELAY, "{tried:?}");
    }

    #[tokio::test]
    async fn an_address_that_refuses_delays_nothing() {
        let hour = Duration::from_secs(3600);
        let all = addresses(&["::1", "192.0.2.1"]);
        let attempts = first_to_answer(all.clone(), hour, hour, |address| {
            behave(if address.is_ipv6() { Manner::Refuses } else { Manner::Answers })
        });
        let outcome = tokio::time::timeout(Duration::from_secs(5), attempts).await.expect("nothing is waited for");
        assert_eq!(outcome.unwrap().0, all[1]);
    }

    #[tokio::test]
    async fn a_slow_address_may_still_be_the_first_to_answer() {
        let slow = Manner::AnswersAfter(3 * DELAY);
        let (outcome, tried) = race(&[("::1", slow), ("192.0.2.1", Manner::Swallows)], Duration::from_secs(5)).await;
        assert_eq!((outcome.unwrap(), tried.len()), ("::1".to_owned(), 2));
    }

    #[tokio::test]
    async fn what_each_address_said_is_told() {
        let manners = [("::1", Manner::Refuses), ("192.0.2.1", Manner::Swallows)];
        let (outcome, _) = race(&manners, Duration::from_millis(200)).await;
        let attempts = outcome.unwrap_err();
        assert!(
            matches!(&attempts[0].failure, AttemptFailure::Said(e) if e.kind() == io::ErrorKind::ConnectionRefused)
        );
        assert!(matches!(attempts[1].failure, AttemptFailure::Silent(_)), "{attempts:?}");
        let late = [("::1", Manner::Swallows), ("192.0.2.1", Manner::Answers)];
        let (outcome, _) = race(&late, DELAY / 2).await;
        assert!(matches!(outcome.unwrap_err()[1].failure, AttemptFailure::NotTried));
        let (outcome, _) = race(&[], DELAY).await;
        assert!(outcome.unwrap_err().is_empty());
        let (outcome, _) = race(&[("::1", Manner::Refuses), ("::2", Manner::Refuses)], Duration::from_secs(3600)).await;
        assert_eq!(outcome.unwrap_err().len(), 2, "at once");
    }
}
