//! The peak of a call's resident memory.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::contenders::Contender;

/// The peak in KiB until the process ends or becomes the runtime. strace holds it at that point, so the
/// last look is at the peak. It detaches itself (`-D`): what was started is the process itself.
pub(crate) fn peak(contender: &Contender) -> Option<u64> {
    let program = contender.program()?;
    let own = fs::canonicalize(&program.path).unwrap();
    let strace = [
        "strace",
        "-D",
        "-qq",
        "-o/run/held",
        "-eexecve,exit_group",
        "-einject=execve,exit_group:delay_enter=150000",
    ];
    contender.prepared(|| {
        let mut command = program.command(&strace);
        command.stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let process = Path::new("/proc").join(child.id().to_string());
        let began = Instant::now();
        let mut peak = None;
        while child.try_wait().unwrap().is_none() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{}",
                contender.name
            );
            // Before its start, the process executes strace; it is looked at twice, since it may
            // become the runtime in between.
            let is_own = || fs::read_link(process.join("exe")).is_ok_and(|exe| exe == own);
            if is_own()
                && let Some(seen) = high_water(&process)
                && is_own()
            {
                peak = Some(seen);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        peak
    })
}

fn high_water(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
