//! What the machine can do at most, measured in the same run.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;

const TIME: Duration = Duration::from_secs(2);

/// How often a small record can be made durable, one after the other.
pub fn syncs_per_second(dir: &Path) -> Result<f64, Failure> {
    let path = dir.join("fdatasync");
    let mut file = File::create(&path)?;
    let (began, mut syncs) = (Instant::now(), 0u32);
    while began.elapsed() < TIME {
        file.write_all(&[0; 256])?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = f64::from(syncs) / began.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// How often one byte goes over loopback and back.
pub fn round_trips_per_second() -> Result<f64, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    let (began, mut trips, mut byte) = (Instant::now(), 0u32, [0]);
    while began.elapsed() < TIME {
        near.write_all(&byte)?;
        near.read_exact(&mut byte)?;
        trips += 1;
    }
    let rate = f64::from(trips) / began.elapsed().as_secs_f64();
    drop(near);
    echo.join().map_err(|_| "the echo panicked")?;
    Ok(rate)
}
