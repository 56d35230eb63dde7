//! The cost of running a command.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The interval at which a command's memory is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The cost of a command that was run to its end.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    /// CPU time of all its threads, user and system, seconds.
    pub(crate) cpu: f64,
    /// Time by the clock, seconds.
    pub(crate) wall: f64,
    /// Most memory that was resident, MiB.
    pub(crate) memory: f64,
}

pub(crate) fn cost(command: &mut Command) -> anyhow::Result<Cost> {
    let program = command.get_program().to_owned();
    let before = children_cpu()?;
    let start = Instant::now();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {program:?}"))?;
    let mut memory: f64 = 0.0;
    let status = loop {
        // The peak as the kernel kept it, up to the last look.
        memory = memory.max(peak_memory(child.id()).unwrap_or_default());
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{program:?} ended with {status}");
    }
    Ok(Cost {
        cpu: children_cpu()? - before,
        wall,
        memory,
    })
}

/// Runs a command that takes milliseconds: its memory is not looked at, which would take as long.
pub(crate) fn brief_cost(command: &mut Command) -> anyhow::Result<Cost> {
    let before = children_cpu()?;
    let start = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot run {:?}", command.get_program()))?;
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        bail!("{:?} ended with {status}", command.get_program());
    }
    Ok(Cost {
        cpu: children_cpu()? - before,
        wall,
        memory: 0.0,
    })
}

fn children_cpu() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn peak_memory(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
