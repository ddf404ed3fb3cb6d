# Does everything that AppArmor mediates, once, and prints for each what came of it:
#
#     perl acts.pl DIRECTORY PID OTHER-PROFILE
#
# PID is a process outside of the profile, OTHER-PROFILE a profile that is loaded. perl-base is on each
# Debian, and reaches system calls that Rust has no safe function for.
use strict;
use warnings;
no warnings 'exec';
use Fcntl;
use POSIX ();
use Socket;

my ($directory, $pid, $other) = @ARGV;
my %number = (
    ptrace => 101, pivot_root => 155, setrlimit => 160, mount => 165, umount2 => 166,
    sethostname => 170, mq_open => 240, mq_unlink => 241, unshare => 272, mknod => 133, mlock => 149,
    msgget => 68, io_uring_setup => 425, open_tree => 428, move_mount => 429,
);
$| = 1;

sub call { my $name = shift; return syscall($number{$name}, @_) != -1 }

# Prints the name of an act, and `ok` or the error.
sub act {
    my ($name, $work) = @_;
    $! = 0;
    my $done = $work->();
    print "$name ", ($done ? "ok" : $! + 0 || "failed"), "\n";
}

# The same in a child, whose label or namespaces may change.
sub apart {
    my ($name, $work) = @_;
    act($name, sub {
        my $child = fork // die "fork: $!";
        POSIX::_exit($work->() ? 0 : $! + 0 || 255) unless $child;
        waitpid $child, 0;
        $! = $? >> 8;
        return $? == 0;
    });
}

sub open_as { my ($path, $flags) = @_; return sysopen my $file, $path, $flags, 0644 }

sub write_to {
    my ($path, $text) = @_;
    sysopen my $file, $path, O_WRONLY or return 0;
    return defined syswrite $file, $text;
}

chdir '/';
print "ready\n";
# Signals from outside come here.
$SIG{WINCH} = sub { };
<STDIN>;

my $d = $directory;
act('read', sub { open_as("$d/read", O_RDONLY) });
act('write', sub { open_as("$d/write", O_WRONLY) });
act('read-write', sub { open_as("$d/read-write", O_RDWR) });
act('append', sub { open_as("$d/append", O_WRONLY | O_APPEND) });
act('create', sub { open_as("$d/create", O_WRONLY | O_CREAT | O_EXCL) });
act('hostile', sub { open_as("$d/a b\"*[^x]{1,2}\@{PROC}\\\n\xe9#,?'\$(|)", O_RDWR | O_CREAT) });
act('truncate', sub { truncate "$d/truncate", 0 });
act('unlink', sub { unlink "$d/unlink" });
act('rename', sub { rename "$d/old", "$d/new" });
act('link', sub { link "$d/source", "$d/hard link" });
act('symlink', sub { symlink 'read', "$d/symlink" });
act('chmod', sub { chmod 0600, "$d/chmod" });
act('chown', sub { chown 0, 0, "$d/chown" });
act('utime', sub { utime 1, 1, "$d/utime" });
act('stat', sub { stat "$d/stat" });
act('list', sub { opendir my $list, "$d/list" });
act('mkdir', sub { mkdir "$d/mkdir" });
act('rmdir', sub { rmdir "$d/rmdir" });
act('fifo', sub { POSIX::mkfifo("$d/fifo", 0600) });
act('device', sub { my $path = "$d/device"; call('mknod', $path, 0020600, 0x103) });
act('lock', sub { open my $file, '<', "$d/lock" or return 0; flock $file, 2 });
act('of-another-user', sub { open_as("$d/of-another-user", O_RDONLY) });
apart('as-another-user', sub { $> = 1000; open_as("$d/of-another-user", O_RDWR) });
act('execute', sub { system("$d/true") == 0 });
act('proc-self', sub { open_as('/proc/self/limits', O_RDONLY) });
act('proc-sys', sub { open_as('/proc/sys/kernel/domainname', O_WRONLY) });

apart('change-owner', sub { chown 1000, 1000, "$d/chown" });
apart('set-user', sub { $! = 0; $) = '1000 1000'; !$! });
apart('set-host-name', sub { my $name = 'x'; call('sethostname', $name, 1) });
apart('nice', sub { $! = 0; POSIX::nice(-5); !$! });
apart('chroot', sub { chroot $d });
apart('lower-limit', sub { my $limit = pack 'QQ', 1000, 1000; call('setrlimit', 7, $limit) });
apart('raise-limit', sub { my $limit = pack 'QQ', 2 << 30, 2 << 30; call('setrlimit', 8, $limit) });

for my $family ([inet => AF_INET], [inet6 => AF_INET6]) {
    my ($name, $number) = @$family;
    my $address = $name eq 'inet'
        ? sub { pack_sockaddr_in($_[0], INADDR_LOOPBACK) }
        : sub { Socket::pack_sockaddr_in6($_[0], Socket::IN6ADDR_LOOPBACK()) };
    act("$name-stream", sub {
        socket my $server, $number, SOCK_STREAM, 0 or return 0;
        setsockopt $server, SOL_SOCKET, SO_REUSEADDR, 1 or return 0;
        bind $server, $address->(0) or return 0;
        listen $server, 1 or return 0;
        my $own = getsockname $server or return 0;
        socket my $client, $number, SOCK_STREAM, 0 or return 0;
        connect $client, $own or return 0;
        accept my $peer, $server or return 0;
        getsockopt $peer, SOL_SOCKET, SO_ERROR or return 0;
        getpeername $peer or return 0;
        defined send $peer, 'x', 0 or return 0;
        defined recv $client, my $text, 1, 0 or return 0;
        shutdown $client, 2;
    });
    act("$name-datagram", sub {
        socket my $socket, $number, SOCK_DGRAM, 0 or return 0;
        bind $socket, $address->(0) or return 0;
        defined send $socket, 'x', 0, getsockname $socket;
    });
    act("$name-raw", sub { socket my $socket, $number, SOCK_RAW, 1 });
}
act('packet', sub { socket my $socket, 17, SOCK_RAW, 0 });
act('packet-datagram', sub { socket my $socket, 17, SOCK_DGRAM, 0 });
act('netlink', sub { socket my $socket, 16, SOCK_RAW, 0 });
act('unix-path', sub {
    socket my $server, AF_UNIX, SOCK_STREAM, 0 or return 0;
    bind $server, pack_sockaddr_un("$d/socket") or return 0;
    listen $server, 1 or return 0;
    socket my $client, AF_UNIX, SOCK_STREAM, 0 or return 0;
    connect $client, pack_sockaddr_un("$d/socket") or return 0;
    accept my $peer, $server or return 0;
    defined send $peer, 'x', 0;
});
act('unix-abstract', sub {
    socket my $server, AF_UNIX, SOCK_SEQPACKET, 0 or return 0;
    bind $server, pack_sockaddr_un("\0provoked a,b") or return 0;
    listen $server, 1 or return 0;
    socket my $client, AF_UNIX, SOCK_SEQPACKET, 0 or return 0;
    connect $client, pack_sockaddr_un("\0provoked a,b");
});
act('unix-pair', sub { socketpair my $one, my $other, AF_UNIX, SOCK_DGRAM, 0 });

act('signal-nothing', sub { kill 0, $pid });
act('signal-continue', sub { kill 'CONT', $pid });
act('signal-window', sub { kill 'WINCH', $pid });
act('signal-own', sub { kill 'WINCH', $$ });
act('read-process', sub { open_as("/proc/$pid/environ", O_RDONLY) });
act('trace', sub {
    my $traced = call('ptrace', 16, $pid, 0, 0);
    my $error = $! + 0;
    if ($traced) { waitpid $pid, 0; call('ptrace', 17, $pid, 0, 0) }
    $! = $error;
    return $traced;
});
act('trace-own', sub {
    pipe my $read, my $write or die "pipe: $!";
    my $child = fork // die "fork: $!";
    unless ($child) {
        close $write;
        sysread $read, my $text, 1;
        POSIX::_exit(0);
    }
    my $traced = call('ptrace', 16, $child, 0, 0);
    my $error = $! + 0;
    if ($traced) { waitpid $child, 0; call('ptrace', 17, $child, 0, 0) }
    close $write;
    waitpid $child, 0;
    $! = $error;
    return $traced;
});

apart('userns', sub { call('unshare', 0x10000000) });
act('posix-queue', sub {
    my $name = 'provoked';
    my $queue = syscall $number{mq_open}, $name, O_RDWR | O_CREAT, 0600, 0;
    return $queue != -1 && call('mq_unlink', $name);
});
act('system-v-queue', sub { call('msgget', 4242, 01600) });
act('uring-poll', sub { my $params = pack 'LLLx108', 0, 0, 2; call('io_uring_setup', 4, $params) });

my $attr = '/proc/thread-self/attr/apparmor';
apart('change-profile', sub { write_to("$attr/current", "changeprofile $other") });
apart('change-on-exec', sub { write_to("$attr/exec", "exec $other") });
apart('stack', sub { write_to("$attr/current", "stack $other") });
apart('change-hat', sub { write_to("$attr/current", "changehat 0000000000000001^hat") });

sub mount_with {
    my ($source, $target, $type, $flags) = @_;
    return call('mount', $source, "$d/$target", $type, $flags, 0);
}
act('mount', sub { mount_with('none at all', 'mount', 'tmpfs', 2 | 4) });
act('mount-ro', sub { mount_with('none', 'mount-ro', 'tmpfs', 1) });
act('bind', sub { mount_with("$d/list", 'bind', 'none', 4096) });
act('bind-all', sub { mount_with("$d/list", 'bind-all', 'none', 4096 | 16384) });
act('remount', sub { mount_with('none', 'mount', 'none', 32 | 1) });
act('remount-bind', sub { mount_with('none', 'bind', 'none', 32 | 4096 | 1) });
act('private', sub { mount_with('none', 'mount', 'none', 1 << 18) });
act('slave-all', sub { mount_with('none', 'mount', 'none', 1 << 19 | 16384) });
act('shared', sub { mount_with('none', 'mount-ro', 'none', 1 << 20) });
act('unbindable', sub { mount_with('none', 'mount', 'none', 1 << 17) });
act('move', sub { mount_with("$d/bind-all", 'moved', 'none', 8192) });
act('move-detached', sub {
    my ($source, $target, $empty) = ("$d/list", "$d/detached", '');
    my $tree = syscall $number{open_tree}, -100, $source, 1;
    return $tree != -1 && call('move_mount', $tree, $empty, -100, $target, 4);
});
act('umount', sub { my $path = "$d/mount-ro"; call('umount2', $path, 0) });
act('detach', sub { my $path = "$d/bind"; call('umount2', $path, 2) });
act('pivot-root', sub {
    mount_with('none', 'root', 'tmpfs', 0);
    mkdir "$d/root/old";
    my ($new, $old) = ("$d/root", "$d/root/old");
    call('pivot_root', $new, $old);
});
