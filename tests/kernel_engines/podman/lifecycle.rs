//! A confined container from its creation to its end, with our programs replaced meanwhile.

use std::fs;
use std::path::PathBuf;

use super::*;

/// The wrapper as a file of its own, as it is installed, which an upgrade renames a new one over.
fn installed(runtime: &str) -> PathBuf {
    let directory = Path::new("/var/lib/oci-apparmor-tests/installed");
    fs::create_dir_all(directory).unwrap();
    let path = directory.join(runtime);
    let new = directory.join("new");
    fs::copy(wrapper(runtime), &new).unwrap();
    // Not the same file, and not the same bytes.
    let mut file = fs::OpenOptions::new().append(true).open(&new).unwrap();
    std::io::Write::write_all(&mut file, b"upgraded").unwrap();
    drop(file);
    fs::rename(&new, &path).unwrap();
    path
}

#[test]
fn a_container_is_confined_for_all_its_life() {
    let _node = node();
    let names = named("life");
    let _cleanup = Cleanup::of(&names);
    // The first process of each, and what is exec'ed into one or the other.
    let confined = |execs: &[String]| {
        for name in &names {
            assert_eq!(label_of(name), "life (enforce)", "{name}");
        }
        for name in execs {
            assert_eq!(exec_label(name), "life (enforce)", "{name}");
        }
    };
    profile("life");
    let options = [
        "--annotation",
        "oci-apparmor/profile=life",
        "--health-cmd",
        "cat /proc/self/attr/current",
        // Without a timer, which systemd would have to keep.
        "--health-interval=disable",
    ];
    for (runtime, name) in RUNTIMES.iter().zip(&names) {
        serve(&installed(runtime), &["create"], name, &options).ok();
    }
    assert_eq!((loaded("life"), records().len()), (None, 0));
    all(&["start"], &names).ok();
    confined(&[]);
    assert_eq!(records().len(), 2);
    for name in &names {
        let script = "cat /proc/self/attr/current; touch /data/x";
        let done = podman(&["exec", "--tty", name, "sh", "-c", script]);
        assert!(done.out.starts_with("life (enforce)\r\n"), "{done:?}");
        assert!(
            done.code == 1 && done.out.contains("Permission denied"),
            "{done:?}"
        );
    }
    podman(&["healthcheck", "run", &names[0]]).ok();
    // Limits are changed and use is measured, whatever the container may do.
    podman(&["update", "--memory=96m", &names[0]]).ok();
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", pid_of(&names[0]))).unwrap();
    let cgroup = cgroup.trim().strip_prefix("0::").unwrap();
    let limit = fs::read_to_string(format!("/sys/fs/cgroup{cgroup}/memory.max"));
    assert_eq!(limit.unwrap(), "100663296\n");
    let stats = [
        "stats",
        "--no-stream",
        "--format",
        "{{.Name}} {{.MemUsage}}",
    ];
    let used = podman(&[&stats[..], &[&names[0]]].concat()).ok();
    assert!(
        used.starts_with("life-runc ") && used.contains("B / "),
        "{used}"
    );
    let [own, other] = names.each_ref().map(String::as_str);
    let said = "{{.AppArmorProfile}}{{range .State.Health.Log}} {{.ExitCode}} {{.Output}}{{end}}";
    let said = inspect(said, &[own, other]);
    assert_eq!(said[0].trim(), "life 0 life (enforce)");
    assert_eq!(said.last().unwrap(), "life");

    // Our programs are replaced; the containers go on.
    for runtime in RUNTIMES {
        installed(runtime);
    }
    confined(&names);
    all(&["pause"], &names).ok();
    assert_eq!(podman(&["exec", &names[0], "true"]).code, 255);
    all(&["unpause"], &names).ok();
    all(&["kill", "--signal", "USR1"], &names).ok();
    assert_eq!(all(&["wait"], &names).ok(), "3\n3\n");
    for name in &names {
        assert_eq!(podman(&["logs", name]).ok(), "up\nusr1\n");
    }

    // podman makes its bundle anew for each start.
    unload("life");
    all(&["start"], &names).ok();
    confined(&names[..1]);
    all(&["restart", "--time", "5"], &names).ok();
    confined(&names[1..]);
    all(&["stop", "--time", "5"], &names).ok();
    assert_eq!(inspect("{{.State.ExitCode}}", &[own, other]), ["4", "4"]);
    all(&["rm"], &names).ok();
    assert_eq!(records(), Vec::<PathBuf>::new());
}
