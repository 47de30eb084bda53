//! Every limit of the harness.
//!
//! Durations are those of hardware virtualisation; [`crate::Accelerator::scale`] stretches them for emulation.

use std::time::Duration;

/// Payload of one frame between harness and agent, in bytes.
pub const FRAME_BYTES_MAX: usize = 32 << 10;
/// Input of one command in a guest, in bytes. Larger things travel on a disk.
pub const STDIN_BYTES_MAX: usize = 16 << 20;
/// Output kept of one command in a guest, in bytes, for each of the two streams.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Lines of the serial console that an error repeats.
pub const CONSOLE_TAIL_LINES: usize = 30;
/// Longest line of the serial console, in bytes; longer ones are split.
pub const CONSOLE_LINE_BYTES_MAX: usize = 4 << 10;
/// Frames that wait for one port of the switch; more are lost, as in a real switch.
pub const SWITCH_QUEUE_MAX: usize = 1024;
/// Largest Ethernet frame that the switch carries, in bytes.
pub const ETHERNET_BYTES_MAX: usize = 64 << 10;
/// How long the switch waits for a guest that takes no frame.
pub const SWITCH_SEND: Duration = Duration::from_millis(50);
/// From power on until the agent answers.
pub const BOOT: Duration = Duration::from_secs(30);
/// Until the emulator has opened its control sockets.
pub const EMULATOR_START: Duration = Duration::from_secs(15);
/// One command of the machine protocol.
pub const QMP: Duration = Duration::from_secs(10);
/// Writing memory to a file, or reading it.
pub const MIGRATE: Duration = Duration::from_secs(30);
/// Between two greetings to an agent that has not answered.
pub const HELLO_INTERVAL: Duration = Duration::from_millis(250);
/// How long a killed emulator may take to end.
pub const EMULATOR_END: Duration = Duration::from_secs(10);
/// After a command ended: how long output of what it left behind is waited for.
pub const OUTPUT_LINGER: Duration = Duration::from_secs(1);
/// How long the guest's clock is compared with the harness's.
pub const CLOCK_WINDOW: Duration = Duration::from_secs(2);
/// Largest deviation of the guest's clock rate from one.
pub const CLOCK_DEVIATION_MAX: f64 = 0.1;
/// A guest that proves hardware virtualisation must have answered by then.
pub const ACCELERATOR_PROBE: Duration = Duration::from_secs(10);
/// Requests of a script that run at the same time.
pub const REQUESTS_MAX: usize = 64;
/// Length of one request of a script, in bytes.
pub const REQUEST_BYTES_MAX: u64 = 32 << 20;
