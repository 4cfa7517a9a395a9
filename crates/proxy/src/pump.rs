//! One byte pump for TCP, CONNECT and upgrades: both directions, half-close, an idle limit.
//!
//! A buffer is borrowed only while there is something to read, and grows with the traffic, so that an idle connection
//! holds none.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// Buffer sizes: the first reads are small; a read that fills its buffer is followed by one with a larger one.
const BUFFER_BYTES: [usize; 3] = [2 * 1024, 16 * 1024, 64 * 1024];

/// Bytes passed so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// From the client.
    pub(crate) up: Cell<u64>,
    /// To the client.
    pub(crate) down: Cell<u64>,
}

/// How a pump ended other than by both sides closing.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Both directions were silent for too long.
    Idle,
    Client(#[expect(dead_code, reason = "for Debug output")] io::Error),
    Upstream(#[expect(dead_code, reason = "for Debug output")] io::Error),
}

/// One direction.
struct Half {
    buffer: Box<[u8]>,
    size: usize,
    start: usize,
    end: usize,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Passing,
    Closing,
    Done,
}

enum Fault {
    Read(io::Error),
    Write(io::Error),
}

impl Half {
    fn new() -> Self {
        Self { buffer: Box::default(), size: 0, start: 0, end: 0, state: State::Passing }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut R, &mut W),
        count: &Cell<u64>,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Closing => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Fault::Write)?;
                    self.state = State::Done;
                }
                State::Passing if self.start < self.end => {
                    let pending = &self.buffer[self.start..self.end];
                    let n = ready!(Pin::new(&mut *to).poll_write(cx, pending)).map_err(Fault::Write)?;
                    if n == 0 {
                        return Poll::Ready(Err(Fault::Write(io::ErrorKind::WriteZero.into())));
                    }
                    self.start += n;
                    count.set(count.get() + n as u64);
                }
                State::Passing => match self.read(cx, from) {
                    Poll::Pending => {
                        ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Fault::Write)?;
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Read(error))),
                    Poll::Ready(Ok(0)) => self.state = State::Closing,
                    Poll::Ready(Ok(_)) => {}
                },
            }
        }
    }

    fn read<R: AsyncRead + Unpin>(&mut self, cx: &mut Context<'_>, from: &mut R) -> Poll<io::Result<usize>> {
        let wanted = BUFFER_BYTES[self.size];
        if self.buffer.len() != wanted {
            self.buffer = vec![0; wanted].into_boxed_slice();
        }
        let mut space = ReadBuf::new(&mut self.buffer);
        let polled = Pin::new(from).poll_read(cx, &mut space);
        let n = space.filled().len();
        match polled {
            Poll::Pending => {
                self.buffer = Box::default();
                self.size = self.size.saturating_sub(1);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => {
                self.start = 0;
                self.end = n;
                if n == wanted && self.size + 1 < BUFFER_BYTES.len() {
                    // Takes effect with the next read: what was read now is written from this buffer first.
                    self.size += 1;
                }
                Poll::Ready(Ok(n))
            }
        }
    }
}

/// Passes bytes both ways until both sides have closed; a side that closes lets the other go on.
pub(crate) async fn both_ways<A, B>(
    mut client: A,
    mut upstream: B,
    idle: Option<Duration>,
    counts: &Counts,
) -> Result<(), Broken>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Half::new(), Half::new());
    let mut timer: Option<Pin<Box<Sleep>>> = idle.map(|idle| Box::pin(tokio::time::sleep(idle)));
    let mut seen = 0;
    poll_fn(|cx| {
        let going_up = up.poll(cx, (&mut client, &mut upstream), &counts.up);
        let coming_down = down.poll(cx, (&mut upstream, &mut client), &counts.down);
        match (going_up, coming_down) {
            (Poll::Ready(Err(Fault::Read(e))), _) | (_, Poll::Ready(Err(Fault::Write(e)))) => {
                return Poll::Ready(Err(Broken::Client(e)));
            }
            (Poll::Ready(Err(Fault::Write(e))), _) | (_, Poll::Ready(Err(Fault::Read(e)))) => {
                return Poll::Ready(Err(Broken::Upstream(e)));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            _ => {}
        }
        if let (Some(timer), Some(idle)) = (&mut timer, idle) {
            let passed = counts.up.get() + counts.down.get();
            if timer.as_mut().poll(cx).is_ready() {
                if passed == seen {
                    return Poll::Ready(Err(Broken::Idle));
                }
                // Moved on only here, not with each byte: the limit is kept to within one idle time more.
                seen = passed;
                timer.as_mut().reset(Instant::now() + idle);
                let _ = timer.as_mut().poll(cx);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests;
