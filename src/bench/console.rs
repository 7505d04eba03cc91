//! The terminal while a run lasts: a line that says how far it is, and Ctrl-C, which ends the run with what there is so far.
use std::{
    future::poll_fn,
    io::{IsTerminal, Write},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

/// Between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Between two lines.
const LINE_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Console {
    pub stop: Arc<AtomicBool>,
    shows_progress: bool,
}

impl Console {
    /// Listens for Ctrl-C from now on. The second one ends the process at once.
    pub fn new() -> Console {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (listening, listens) = mpsc::channel();
        // without this thread Ctrl-C ends the process, as it always does
        let _ = thread::Builder::new()
            .name("bench-interrupt".to_owned())
            .spawn(move || interrupt(&stopped, &listening));
        let _ = listens.recv();
        Console {
            stop,
            shows_progress: std::io::stderr().is_terminal(),
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Waits until it is done, the time is over or the user interrupts; `line` says how far it is.
    pub fn wait(
        &self,
        until: Instant,
        line: impl Fn() -> String,
        mut is_done: impl FnMut() -> bool,
    ) {
        let mut next_line = Instant::now();
        loop {
            let now = Instant::now();
            if now >= until || self.is_stopped() || is_done() {
                break;
            }
            if now >= next_line {
                next_line = now + LINE_INTERVAL;
                self.show(&line());
            }
            thread::sleep(STEP.min(until - now));
        }
        self.show("");
    }

    fn show(&self, line: &str) {
        if self.shows_progress {
            let mut error = std::io::stderr().lock();
            // nobody needs to see it
            let _ = write!(error, "\r\x1b[K{line}");
            let _ = error.flush();
        }
    }
}

fn interrupt(stop: &AtomicBool, listening: &mpsc::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return;
    };
    runtime.block_on(async {
        let mut first = pin!(tokio::signal::ctrl_c());
        // it listens once it was polled
        let is_over = poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_ready()));
        let is_over = is_over.await;
        let _ = listening.send(());
        if !is_over && first.await.is_ok() {
            stop.store(true, Relaxed);
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}
