//! The network between one agent and the API server, which can be cut.

use std::io::copy;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::spawn;

#[derive(Default)]
struct Streams {
    cut: bool,
    open: Vec<TcpStream>,
}

pub(crate) struct Proxy {
    pub port: u16,
    streams: Arc<Mutex<Streams>>,
}

impl Proxy {
    pub(crate) fn new(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let streams = Arc::new(Mutex::new(Streams::default()));
        let of_thread = Arc::clone(&streams);
        // It ends with the test program.
        spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), false) = (client, of_thread.lock().unwrap().cut) else {
                    continue;
                };
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else {
                    continue;
                };
                let pair = [&client, &server].map(|stream| stream.try_clone().unwrap());
                of_thread.lock().unwrap().open.extend(pair);
                forward(client.try_clone().unwrap(), server.try_clone().unwrap());
                forward(server, client);
            }
        });
        Self { port, streams }
    }

    /// Ends all connections, and refuses new ones until [`Self::restore`].
    pub(crate) fn cut(&self) {
        let mut streams = self.streams.lock().unwrap();
        streams.cut = true;
        for stream in streams.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn restore(&self) {
        self.streams.lock().unwrap().cut = false;
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}
