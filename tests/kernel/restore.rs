//! Checkpoint and restore: CRIU restores the label that was dumped, and nothing else.

use std::path::Path;

use crate::support::*;

const RESTORED: &str = "/var/lib/oci-apparmor-tests/image";

fn restore(bundle: &Bundle, more: &[&str]) -> Done {
    let words = [
        "restore", "--image-path", RESTORED, "--bundle", bundle.path.to_str().unwrap(),
    ];
    run_detached(&wrapper("runc"), [&words, more, &["again"]].concat())
}

#[test]
fn a_confined_image_is_restored_confined_and_an_unconfined_one_not_at_all() {
    let _world = world();
    let detached = ["--detach", "--pid-file", "/run/again.pid"];
    for confined in [true, false] {
        profile("criu");
        let _ = std::fs::remove_dir_all(RESTORED);
        std::fs::create_dir_all(RESTORED).unwrap();
        let asks = [("oci-apparmor/profile", "criu")];
        let bundle = Bundle::annotated("again", &["/bin/sleep", "1000"], &asks[..usize::from(confined)]);
        let container = Container::started("runc", &bundle, "again");
        assert_eq!(container.label(), if confined { "criu (enforce)" } else { "unconfined" });
        let dump = run("runc", ["checkpoint", "--image-path", RESTORED, "--work-path", "/run", "again"]);
        if dump.code != 0 {
            println!("{}", std::fs::read_to_string("/run/dump.log").unwrap_or_default());
        }
        dump.ok();
        run(wrapper("runc"), ["delete", "--force", "again"]).ok();
        assert_eq!(record_of("again"), None);
        unload("criu");

        let bundle = Bundle::annotated("again", &["/bin/sleep", "1000"], &asks);
        restore(&bundle, &[]).refused(&["--detach", "restore of container"]);
        let done = restore(&bundle, &detached);
        if confined {
            done.ok();
            assert_eq!(container.label(), "criu (enforce)");
            let exec = container.exec(&["/bin/cat", "/proc/self/attr/current"]);
            assert_eq!(exec.ok(), "criu (enforce)\n");
        } else {
            done.refused(&["unconfined", "criu", "killed"]);
            assert_ne!(run("runc", ["state", "again"]).code, 0);
            assert!(!Path::new("/run/runc/again").exists());
            assert_eq!(record_of("again"), None);
        }
    }
}
