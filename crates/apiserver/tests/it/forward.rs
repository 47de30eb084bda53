//! Ports, logs and commands of pods over a plain WebSocket, as Python's and Rust's clients open them.

use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
    time::{Duration, timeout},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tower::ServiceExt;
use trust::Subject;

use crate::server::{self, ask};

/// A connection to a fresh server with a pod, and what serves it.
async fn connected() -> (DuplexStream, JoinHandle<Result<(), hyper::Error>>) {
    let server = server::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    ask("POST", "/api/v1/namespaces/default/pods").json(&pod).send(&server).await.expect(201);

    let (near, far) = tokio::io::duplex(64 * 1024);
    let router = server.router.clone();
    let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Subject::admin("tester"));
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    (near, tokio::spawn(serving.with_upgrades()))
}

#[tokio::test]
async fn a_log_comes_as_bytes_and_then_ends() {
    let (near, serving) = connected().await;
    let mut request = "ws://server/api/v1/namespaces/default/pods/p/log".into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "binary.k8s.io".parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::client_async(request, near).await.unwrap();
    let mut log = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Binary(data) => log.extend_from_slice(&data),
            Message::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(String::from_utf8(log).unwrap(), "one\ntwo\n");
    drop(socket);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn each_port_has_a_channel_for_data_and_one_for_errors() {
    let (near, serving) = connected().await;
    let address = "ws://server/api/v1/namespaces/default/pods/p/portforward?ports=7&ports=1";
    let mut request = address.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "v4.channel.k8s.io".parse().unwrap());
    let (mut socket, response) = tokio_tungstenite::client_async(request, near).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "v4.channel.k8s.io");

    socket.send(Message::Binary(b"\x00hello".as_slice().into())).await.unwrap();
    let mut channels = [const { Vec::new() }; 4];
    let expected: [&[u8]; 4] =
        [b"\x07\0hello", b"\x07\0", b"\x01\0", b"\x01\0cannot connect to port 1 of pod default/p: nobody listens"];
    while channels != expected {
        let Some(Ok(Message::Binary(frame))) = socket.next().await else { panic!("ended with {channels:?}") };
        channels[usize::from(frame[0])].extend_from_slice(&frame[1..]);
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    drop(socket);
    serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_output_of_a_command_waits_until_the_client_reads() {
    const PING: [u8; 2] = [0x89, 0];
    const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];
    const OUTPUT: &[u8] = b"\x82\x05\x01out\n";
    for answers in [true, false] {
        let (mut near, _serving) = connected().await;
        let request = "GET /api/v1/namespaces/default/pods/p/exec?command=a&stdout=1 HTTP/1.1\r\nhost: server\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: bmFub2Nsb3VkLWV4ZWMtLQ==\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n\r\n";
        near.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(near.read_u8().await.unwrap());
        }
        let mut ping = [0; 2];
        near.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping, PING);
        assert!(timeout(Duration::from_millis(1), near.read_u8()).await.is_err(), "nothing comes before the pong");
        if answers {
            near.write_all(&PONG).await.unwrap();
        }
        let mut output = [0; OUTPUT.len()];
        near.read_exact(&mut output).await.unwrap();
        assert_eq!(output, OUTPUT, "answers: {answers}");
    }
}
