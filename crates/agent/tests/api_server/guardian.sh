# The two programs of one cluster. They end with standard input, and so with the program that started
# this, however that ends. `start` and `stop` there are for the API server alone.
#
# Arguments: the directory, which is removed at the end; the two programs; the server's arguments.
# Settings of etcd are in the environment.
directory=$1 etcd=$2 server=$3
shift 3

"$etcd" >"$directory/etcd.log" 2>&1 &
etcd=$!
running=
# Where nothing reads the answer any more, this goes on to the end.
trap '' PIPE
while read -r word; do
    case $word in
        start)
            "$server" "$@" >>"$directory/kube-apiserver.log" 2>&1 &
            running=$!
            ;;
        stop)
            kill "$running"
            # Not for long: it waits for requests that other programs keep open.
            (sleep 10 && kill -9 "$running") 2>/dev/null &
            timer=$!
            wait "$running"
            kill "$timer"
            running=
            echo stopped
            ;;
    esac
done
# Nothing of it is needed any more. The server first: without etcd it would log until it ends.
kill -9 ${running:+"$running"} "$etcd" 2>/dev/null
wait
rm -rf "$directory"
