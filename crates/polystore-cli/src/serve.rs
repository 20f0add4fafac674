//! `serve`: a store on the network.

use std::net::SocketAddr;

use polystore_kv::Store;
use polystore_server::Server;
use tokio::net::TcpListener;

use crate::exit::{Answer, Failure, Outcome, say};

pub(crate) async fn serve(store: &Store, listen: SocketAddr) -> Outcome {
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| Failure::io("listen", &error))?;
    let address = listener.local_addr();
    let address = address.map_err(|error| Failure::io("listen", &error))?;
    say(&format!("serving on http://{address}/"));
    let served = Server::new(store.clone())
        .serve(listener, std::future::pending())
        .await;
    served.map_err(|error| Failure::io("serve", &error))?;
    Ok(Answer::Yes)
}
