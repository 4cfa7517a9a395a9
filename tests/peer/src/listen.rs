//! Where the servers listen.

use std::{future::Future, io, net::IpAddr, time::Duration};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use crate::output;

/// Options of every server.
#[derive(clap::Args)]
pub(crate) struct Listen {
    /// Port; 0 takes a free one, which the first line of output tells.
    #[arg(long)]
    pub(crate) port: u16,
    /// Address; all of both families unless given.
    #[arg(long)]
    pub(crate) bind: Option<IpAddr>,
}

impl Listen {
    /// Binds, and says where.
    pub(crate) async fn bind(&self) -> io::Result<TcpListener> {
        let listener = match self.bind {
            Some(address) => TcpListener::bind((address, self.port)).await?,
            None => match TcpListener::bind(("::", self.port)).await {
                Ok(listener) => listener,
                // A machine without IPv6.
                Err(_) => TcpListener::bind(("0.0.0.0", self.port)).await?,
            },
        };
        output::line(&json!({"listening": listener.local_addr()?.to_string(), "port": listener.local_addr()?.port()}));
        Ok(listener)
    }

    /// Gives every connection to `serve` until SIGTERM.
    pub(crate) async fn serve<F>(&self, serve: impl Fn(TcpStream, u64) -> F) -> anyhow::Result<bool>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = self.bind().await?;
        let accept = async {
            for number in 1.. {
                match listener.accept().await {
                    Ok((socket, _)) => {
                        let _ = socket.set_nodelay(true);
                        tokio::spawn(serve(socket, number));
                    }
                    // Out of descriptors, mostly: let some connections end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        tokio::select! {
            () = accept => {}
            () = output::terminated() => {}
        }
        Ok(true)
    }
}
