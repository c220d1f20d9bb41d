# Sourced by check_containers.sh: a Docker engine in a network namespace of its own.
# Reads $work; defines start_engine, stop_engine, in_engine.

in_engine() { nsenter --target "$(cat "$work/engine.pid")" --net -- "$@"; }

start_engine() {
    mkdir -p "$work"/{run,data}
    rm -f "$work"/*.pid
    # the machine's own firewall, bridges and forwarding stay as they are; mounts end with the engine
    unshare --net --mount --propagation slave bash -c '
        ip link set lo up
        echo $$ >"$0/engine.pid"
        until ip link show tap0 >/dev/null 2>&1; do sleep 0.1; done
        echo "nameserver 10.0.2.3" >"$0/resolv.conf"
        mount --bind "$0/resolv.conf" /etc/resolv.conf
        exec dockerd --data-root "$0/data" --exec-root "$0/run/exec" --pidfile "$0/run/docker.pid" \
            --host "unix://$0/docker.sock"' "$work" >"$work/engine.log" 2>&1 &
    until [ -s "$work/engine.pid" ]; do sleep 0.1; done
    slirp4netns --configure --mtu=65520 --disable-host-loopback "$(cat "$work/engine.pid")" tap0 \
        >"$work/network.log" 2>&1 &
    echo $! >"$work/network.pid"
    export DOCKER_HOST="unix://$work/docker.sock" DOCKER_CONFIG="$work/config"
    for _ in $(seq 300); do
        if docker version >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    tail --lines 20 "$work/engine.log" >&2
    return 1
}

stop_engine() {
    local name
    for name in engine network; do
        [ -s "$work/$name.pid" ] || continue
        kill "$(cat "$work/$name.pid")" 2>/dev/null || continue
        while kill -0 "$(cat "$work/$name.pid")" 2>/dev/null; do sleep 0.1; done
    done
}
