abi <abi/3.0>,

include <tunables/global>

# attach_disconnected: files that were opened outside the container's root still have a path.
profile cluster-demo flags=(attach_disconnected,mediate_deleted) {
  include <abstractions/base>

  # As in the engines' default profiles: everything that is not denied below is left to the
  # container's capabilities, namespaces and seccomp filter.
  file,
  network,
  capability,
  umount,

  # For `stop` and `kill`: the runtime that sends the signal is unconfined, or, on newer
  # distributions, has its own profile.
  signal (receive) peer=unconfined,
  signal (receive) peer={,/usr/bin/,/usr/sbin/}{runc,crun,podman,conmon},
  signal (receive) peer=oci-apparmor-{runtime,hook},

  # Processes of the container, among each other.
  signal (send, receive) peer=cluster-demo,
  ptrace (trace, read, tracedby, readby) peer=cluster-demo,

  # Settings of the kernel, as in the engines' default profiles.
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny /sys/[^f]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny mount,

  # The only special rule. Without `audit`, the kernel would not log the denial.
  audit deny /data/** wl,
}
