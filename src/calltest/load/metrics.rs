//! Figures of a load that runs, for Prometheus: `GET /metrics`, in the OpenMetrics text format.
//!
//! Names follow Prometheus' conventions (prometheus.io/docs/practices/naming): base units, `_total` for counters, the
//! prefix `tring_load_`. The server has one thread, which ends with [`Endpoint`]: scrapes are answered while the load
//! keeps all others busy.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::record::LoadCall;
use crate::output::exit::Failure;
use crate::platform::acceptor::Acceptor;

/// From a call on one machine to one that most people would give up, seconds.
const SETUP_S: [f64; 10] = [0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// From one machine to round the world by satellite, seconds.
const TRIP_S: [f64; 9] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8];

/// Shares of packets: from what nobody notices to what nobody understands.
const LOSS: [f64; 8] = [0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];

/// Jitter, seconds.
const JITTER_S: [f64; 7] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];

/// Scrapes at once: one Prometheus asks one after the other, and a few people may look as well. Others wait.
const SCRAPES_MAX: usize = 8;

/// Whoever has not asked and read by then is hung up on, and lets the next one in.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: String,
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    calls: Family<OutcomeLabel, Counter>,
    connected: Counter,
    active: Gauge,
    wanted: Gauge,
    freezes: Counter,
    setup: Histogram,
    answer: Histogram,
    round_trip: Histogram,
    loss: Histogram,
    jitter: Histogram,
    registry: Registry,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            calls: Family::default(),
            connected: Counter::default(),
            active: Gauge::default(),
            wanted: Gauge::default(),
            freezes: Counter::default(),
            setup: Histogram::new(SETUP_S),
            answer: Histogram::new(SETUP_S),
            round_trip: Histogram::new(TRIP_S),
            loss: Histogram::new(LOSS),
            jitter: Histogram::new(JITTER_S),
            registry: Registry::with_prefix("tring_load"),
        };
        let registry = &mut metrics.registry;
        registry.register("calls", "Calls that are over, by how they ended", metrics.calls.clone());
        registry.register("calls_connected", "Calls in which media could flow", metrics.connected.clone());
        registry.register("calls_active", "Calls under way", metrics.active.clone());
        registry.register("calls_wanted", "Calls at once that the step asks for", metrics.wanted.clone());
        registry.register("freezes", "Freezes of a picture", metrics.freezes.clone());
        let seconds = [
            ("setup", "From dialing to connected", &metrics.setup),
            ("answer_to_connected", "From accepted to connected", &metrics.answer),
            ("round_trip", "Round trip of the media path", &metrics.round_trip),
            ("jitter", "Interarrival jitter of the video", &metrics.jitter),
        ];
        for (name, help, histogram) in seconds {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        registry.register("loss_ratio", "Share of packets lost in a call", metrics.loss.clone());
        metrics
    }

    pub(crate) fn set_wanted(&self, calls: u32) {
        self.wanted.set(calls.into());
    }

    pub(crate) fn set_active(&self, calls: u32) {
        self.active.set(calls.into());
    }

    pub(crate) fn add(&self, call: &LoadCall) {
        self.calls.get_or_create(&OutcomeLabel { outcome: call.outcome.clone() }).inc();
        self.connected.inc_by(u64::from(call.connected));
        self.freezes.inc_by(call.received.freezes);
        let observe = |histogram: &Histogram, value: Option<f64>| {
            if let Some(value) = value {
                histogram.observe(value);
            }
        };
        let seconds = |ms: Option<f64>| ms.map(|ms| ms / 1000.0);
        observe(&self.setup, seconds(call.setup_ms));
        observe(&self.answer, seconds(call.answer_to_connected_ms));
        observe(&self.round_trip, seconds(call.round_trip_ms));
        observe(&self.jitter, seconds(call.received.jitter_ms));
        observe(&self.loss, call.received.loss);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "figures cannot be written");
        }
        text
    }
}

/// Answers Prometheus; dropping it ends that.
pub(crate) struct Endpoint {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Endpoint {
    /// Begins to serve.
    ///
    /// # Errors
    /// A usage [`Failure`] when nobody can listen there.
    pub(crate) fn start(address: SocketAddr, metrics: Arc<Metrics>) -> Result<Self, Failure> {
        let wrong = |error: std::io::Error| {
            Failure::usage(format!("--prometheus cannot listen on {address}: {error}; try another address or port"))
        };
        let listener = TcpListener::bind(address).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("prometheus".into())
            .spawn(move || {
                if let Err(error) = serve(listener, &metrics, &stopped) {
                    tracing::error!(%error, "nobody serves the figures of this load");
                }
            })
            .map_err(wrong)?;
        Ok(Self { stop, thread: Some(thread), address })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread for Prometheus panicked");
        }
    }
}

/// Serves until it is stopped; what is under way then is cut off.
fn serve(listener: TcpListener, metrics: &Arc<Metrics>, stop: &CancellationToken) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut acceptor = Acceptor::new("Prometheus");
        let mut scrapes = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(_) = scrapes.join_next() => {}
                (stream, _) = acceptor.next(|| listener.accept()), if scrapes.len() < SCRAPES_MAX => {
                    scrapes.spawn(answer(stream, Arc::clone(metrics)));
                }
            }
        }
    })
}

/// One request of one connection.
async fn answer(stream: TcpStream, metrics: Arc<Metrics>) {
    let service =
        service_fn(|request: Request<Incoming>| std::future::ready(Ok::<_, Infallible>(respond(&request, &metrics))));
    let connection = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // Whoever asked may be gone, or say something else than HTTP.
    let _unanswered = tokio::time::timeout(SCRAPE_TIMEOUT, connection).await;
}

fn respond(request: &Request<Incoming>, metrics: &Metrics) -> Response<String> {
    let is_ours = request.method() == Method::GET && request.uri().path() == "/metrics";
    let (status, kind, text) = if is_ours {
        (StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.text())
    } else {
        (StatusCode::NOT_FOUND, "text/plain; charset=UTF-8", "figures are at /metrics\n".to_owned())
    };
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calltest::load::record::Received;

    #[test]
    fn names_follow_the_conventions_and_unknown_is_not_observed() {
        let metrics = Metrics::new();
        metrics.set_wanted(20);
        metrics.set_active(3);
        let received = Received { loss: Some(0.015), freezes: 2, ..Received::default() };
        let call = LoadCall {
            outcome: "done".into(),
            connected: true,
            setup_ms: Some(150.0),
            received,
            ..LoadCall::default()
        };
        metrics.add(&call);
        metrics.add(&LoadCall { outcome: "offline".into(), status: 13, ..LoadCall::default() });
        let text = metrics.text();
        for line in [
            "tring_load_calls_total{outcome=\"done\"} 1",
            "tring_load_calls_total{outcome=\"offline\"} 1",
            "tring_load_calls_connected_total 1",
            "tring_load_calls_active 3",
            "tring_load_calls_wanted 20",
            "tring_load_freezes_total 2",
            "tring_load_setup_seconds_bucket{le=\"0.2\"} 1",
            "tring_load_setup_seconds_bucket{le=\"0.1\"} 0",
            "tring_load_setup_seconds_count 1",
            "tring_load_loss_ratio_bucket{le=\"0.02\"} 1",
            "tring_load_round_trip_seconds_count 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|given| given == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn an_endpoint_ends_with_its_owner_and_gives_its_port_back() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let endpoint = Endpoint::start(any, Arc::new(Metrics::new())).unwrap();
        let address = endpoint.address;
        let taken = Endpoint::start(address, Arc::new(Metrics::new())).err().unwrap();
        assert!(taken.text.contains("--prometheus"), "{taken}");
        // Whoever connects and says nothing does not keep it.
        let _silent = std::net::TcpStream::connect(address).unwrap();
        drop(endpoint);
        TcpListener::bind(address).unwrap();
    }
}
