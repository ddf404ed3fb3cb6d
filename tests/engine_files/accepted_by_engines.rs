//! Every file that `configure` makes is accepted by the engine itself, which sees in it what we
//! meant: our runtime with its program, the patterns of our annotations, its default.
//!
//! No engine is started as a service: each only reads its configuration.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use toml_edit::{DocumentMut, Item};

use crate::golden_files::{Case, Image, PROGRAMS};
use crate::support::root_trees::programs;

#[track_caller]
fn said(output: Output, what: &str) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn version_of(program: &Path) -> u32 {
    let text = said(
        Command::new(program).arg("--version").output().unwrap(),
        "--version",
    );
    // "containerd github.com/containerd/containerd/v2 2.1.9…"
    let word = text.split_whitespace().nth(2).unwrap();
    word.trim_start_matches('v')
        .split('.')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn containerd_sees_what_was_meant() {
    for containerd in programs(&["usr/bin/containerd"], "containerd", |_| true) {
        let major = version_of(&containerd);
        for case in Case::all()
            .into_iter()
            .filter(|c| c.name.starts_with("containerd"))
        {
            // What a version of containerd does not read cannot be accepted by it.
            let v3 = case.name.contains("v3");
            let v1 = case.name.contains("v1") || case.name.contains("disabled");
            if (v3 && major < 2) || (v1 && major >= 2) {
                continue;
            }
            let what = format!("{} with {}", case.name, containerd.display());
            let image = case.before();
            let main = image.path("/etc/containerd/config.toml");
            let before = main.exists().then(|| dump(&containerd, &image, &what));
            image.done("configure", &case.words());
            let after = dump(&containerd, &image, &what);

            // Where the plugin is disabled, containerd does not show what it would be told.
            let Some(after) = cri(&after) else {
                assert!(case.name.contains("disabled"), "{what}");
                continue;
            };
            let name = match case.words.iter().position(|w| w == "--runtime-name") {
                Some(at) => &case.words[at + 1],
                None => "oci-apparmor",
            };
            let ours = &after["runtimes"][name];
            let program = ours["options"]["BinaryName"].as_str().unwrap();
            assert!(program.starts_with(PROGRAMS), "{what}: {program}");
            let patterns = ours["pod_annotations"].as_array().unwrap();
            for pattern in [
                "container.apparmor.security.beta.kubernetes.io/*",
                "oci-apparmor/*",
                "container.oci-apparmor/*",
            ] {
                assert!(
                    patterns.iter().any(|p| p.as_str() == Some(pattern)),
                    "{what}"
                );
            }
            let default = after["default_runtime_name"].as_str().unwrap();
            let set = case.words.iter().any(|w| w == "--set-default");
            assert_eq!(default == name, set, "{what}");
            let runtimes = after["runtimes"].as_table_like().unwrap();
            assert!(runtimes.contains_key(default), "{what}: {default} is gone");

            // Nothing that was there is gone, and the cgroup driver is that of the others.
            let before = before.as_ref().and_then(|document| cri(document));
            let Some(before) = before else { continue };
            for (other, item) in before["runtimes"].as_table_like().unwrap().iter() {
                // Modes that are left empty are given their defaults later.
                let says = |item: &Item| {
                    let program = item
                        .get("options")
                        .and_then(|o| o.get("BinaryName")?.as_str());
                    (
                        item["runtime_type"].as_str().map(str::to_owned),
                        program.unwrap_or_default().to_owned(),
                    )
                };
                assert_eq!(
                    says(runtimes.get(other).unwrap()),
                    says(item),
                    "{what}: {other}"
                );
            }
            let wrapped = before["default_runtime_name"].as_str().unwrap();
            let driver = |item: &Item| item.get("options")?.get("SystemdCgroup")?.as_bool();
            let had = runtimes.get(wrapped).and_then(driver).unwrap_or_default();
            assert_eq!(driver(ours).unwrap_or_default(), had, "{what}");
        }
    }
}

/// What distributions make of their templates, as their sources do it, and a drop-in of theirs.
#[test]
fn containerd_sees_what_distributions_make_of_it() {
    for containerd in programs(&["usr/bin/containerd"], "containerd", |_| true) {
        let major = version_of(&containerd);
        let mut seen = 0;
        for case in Case::all() {
            let rendered = |image: &Image| match case.name.as_str() {
                "k3s-v2" | "k3s-v3" => {
                    let beside = "/var/lib/rancher/k3s/agent/etc/containerd";
                    let (name, made) = match case.name.as_str() {
                        "k3s-v3" => ("config-v3.toml.tmpl", "config.toml"),
                        _ => ("config.toml.tmpl", "config.toml"),
                    };
                    let base = image.text(&format!("{beside}/{made}"));
                    let text = image.text(&format!("{beside}/{name}"));
                    text.replace("{{ template \"base\" . }}", &base)
                        .replace("{{ .SystemdCgroup }}", "true")
                        .replace("{{ if not .NodeConfig.DefaultRuntime }}", "")
                        .replace("{{ end }}", "")
                }
                "microk8s" => image
                    .text("/var/snap/microk8s/current/args/containerd-template.toml")
                    .replace("${RUNTIME}", "runc")
                    .replace("${RUNTIME_TYPE}", "io.containerd.runc.v2"),
                _ => image.text("/etc/k0s/containerd.d/99-oci-apparmor.toml"),
            };
            let version = match case.name.as_str() {
                "k3s-v2" | "microk8s" | "k0s-v2" => 2,
                "k3s-v3" | "k0s-v3" => 3,
                _ => continue,
            };
            if version > 2 && major < 2 {
                continue;
            }
            let what = format!("{} with {}", case.name, containerd.display());
            let image = case.before();
            image.done("configure", &case.words());
            image.write("/etc/containerd/config.toml", &rendered(&image));
            let after = dump(&containerd, &image, &what);
            let after = cri(&after).expect(&what);
            let ours = &after["runtimes"]["oci-apparmor"];
            let program = ours["options"]["BinaryName"].as_str().unwrap();
            assert!(program.starts_with(PROGRAMS), "{what}: {program}");
            let set = case.words.iter().any(|w| w == "--set-default");
            let default = after["default_runtime_name"].as_str().unwrap();
            assert_eq!(default == "oci-apparmor", set, "{what}: {default}");
            if case.name.starts_with("k3s") {
                let systemd = ours["options"]["SystemdCgroup"].as_bool();
                assert_eq!(systemd, Some(true), "{what}");
                assert!(after["runtimes"].get("runc").is_some(), "{what}");
            }
            seen += 1;
        }
        assert!(seen >= 3, "{}", containerd.display());
    }
}

/// What containerd makes of the image's configuration.
fn dump(containerd: &Path, image: &Image, what: &str) -> DocumentMut {
    let main = image.path("/etc/containerd/config.toml");
    let root = image.0.path().display();
    // Its own name for the directory of drop-ins, which are not in this machine's.
    let text = fs::read_to_string(&main).unwrap();
    let here = text.replace("\"/etc/containerd", &format!("\"{root}/etc/containerd"));
    let copy = image.path("/copy.toml");
    fs::write(&copy, here).unwrap();
    let mut call = Command::new(containerd);
    let output = call
        .arg("--config")
        .arg(&copy)
        .args(["config", "dump"])
        .output();
    fs::remove_file(copy).unwrap();
    said(output.unwrap(), what).parse().unwrap()
}

/// The CRI plugin's section about runtimes.
fn cri(document: &DocumentMut) -> Option<&Item> {
    let plugins = document.get("plugins")?;
    let sections = ["io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"];
    let mut found = sections
        .iter()
        .filter_map(|s| plugins.get(s)?.get("containerd"));
    found.find(|item| item.get("runtimes").is_some())
}

/// In a mount namespace: the image's drop-ins and its /mnt in the place of the tree's.
const IN_THE_TREE: &str = r#"set -e
root=$1 image=$2
shift 2
mount --bind "$image/etc/containers" "$root/etc/containers"
mount --bind "$image/mnt" "$root/mnt"
for name in proc sys dev; do
    [ "$root" = / ] || mount --rbind "/$name" "$root/$name"
done
exec chroot "$root" "$@""#;

#[test]
fn podman_takes_the_runtime_by_its_name() {
    for podman in programs(&["usr/bin/podman"], "podman", |_| true) {
        let what = podman.display().to_string();
        let root = podman.ancestors().nth(3).unwrap();
        let ask = |image: &Image, words: &[&str]| {
            let mut call = Command::new("unshare");
            call.args([
                "-m",
                "--propagation",
                "private",
                "sh",
                "-c",
                IN_THE_TREE,
                "sh",
            ])
            .args([root, image.0.path()])
            .args(["/usr/bin/podman", "--root=/mnt/r", "--runroot=/mnt/n"])
            .args(["--storage-driver=vfs"])
            .args(words)
            .args(["info", "--format"])
            .arg("{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Path}}");
            said(call.output().unwrap(), &what).trim().to_owned()
        };
        for (words, name) in [
            (&["--set-default"][..], "oci-apparmor"),
            (&["--set-default", "--runtime-name", "other"], "other"),
            (&[], "oci-apparmor"),
        ] {
            let image = Image::new();
            // podman wants a program that is there.
            image.write(
                "/mnt/programs/crun",
                "#!/bin/sh\nexec /usr/bin/crun \"$@\"\n",
            );
            set_executable(&image.path("/mnt/programs/crun"));
            let call = [
                "podman",
                "--programs",
                "/mnt/programs",
                "--low-level",
                "crun",
            ];
            image.done("configure", &[&call[..], words].concat());
            let ours = format!("{name} /mnt/programs/crun");
            assert_eq!(ask(&image, &["--runtime", name]), ours, "{what}");
            // Its own runtimes are still there.
            assert_eq!(
                ask(&image, &["--runtime", "crun"]),
                "crun /usr/bin/crun",
                "{what}"
            );
            let default = ask(&image, &[]);
            assert_eq!(
                default == ours,
                words.contains(&"--set-default"),
                "{what}: {default}"
            );
        }
    }
}

fn set_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn docker_validates_it() {
    let validates = |dockerd: &Path| {
        let help = Command::new(dockerd).arg("--help").output();
        help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--validate"))
    };
    let names = ["usr/sbin/dockerd", "usr/bin/dockerd"];
    for dockerd in programs(
        &names,
        "dockerd that knows --validate (23.0 and later)",
        validates,
    ) {
        for case in Case::all().into_iter().filter(|c| c.words[0] == "docker") {
            let image = case.before();
            image.done("configure", &case.words());
            let validate = |file: &Path| {
                let mut call = Command::new(&dockerd);
                // The proxy is looked for in $PATH otherwise, and has nothing to do with this.
                call.args([
                    "--validate",
                    "--userland-proxy-path=/bin/true",
                    "--config-file",
                ]);
                call.arg(file).output().unwrap()
            };
            let file = image.path("/etc/docker/daemon.json");
            let what = format!("{} with {}", case.name, dockerd.display());
            said(validate(&file), &what);
            // It would have said so.
            fs::write(
                &file,
                image
                    .text("/etc/docker/daemon.json")
                    .replace("runtimes", "runtime"),
            )
            .unwrap();
            assert!(!validate(&file).status.success(), "{what}");
        }
    }
}
