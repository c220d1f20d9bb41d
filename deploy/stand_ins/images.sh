# Sourced by check_containers.sh: images under the names that Dockerfile and docker-compose.yml use,
# made of Debian's packages. Reads $work, $here; defines install_programs, make_images, make_plugins.

# The programs that this needs itself; no service is started by their installation.
install_programs() {
    local missing=() policy=/usr/sbin/policy-rc.d ours=
    command -v dockerd >/dev/null || missing+=(docker.io iptables)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v slirp4netns >/dev/null || missing+=(slirp4netns)
    [ ${#missing[@]} -gt 0 ] || return 0
    [ -e $policy ] || { ours=1; install -m 755 /dev/stdin $policy <<<$'#!/bin/sh\nexit 101'; }
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
    [ -z "$ours" ] || rm $policy
}

install_in() { # ROOT PACKAGE…: without prompts, services and documentation
    local root=$1
    shift
    DEBIAN_FRONTEND=noninteractive chroot "$root" \
        apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@"
    chroot "$root" apt-get clean
}

import() { # NAME CHANGE…: the folder as an image
    local name=$1 changes=()
    shift
    for change in "$@"; do changes+=(--change "$change"); done
    tar --directory "$root" --numeric-owner --exclude='./var/lib/apt/lists/*' --create . |
        docker import "${changes[@]}" - "$name" >/dev/null
}

make_images() {
    local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    [ -d "$work/root" ] || make_base
    root="$work/root" import python:3.12-slim 'CMD ["python3"]' "ENV PATH=$path LANG=C.UTF-8"
    [ -d "$work/servers" ] || make_servers
    local root="$work/servers"
    import postgres:17 'ENTRYPOINT ["postgres.sh"]' 'CMD ["postgres"]' \
        "ENV PATH=/usr/lib/postgresql/17/bin:$path PGDATA=/var/lib/postgresql/data LANG=C.UTF-8"
    import redis:7 'ENTRYPOINT ["redis.sh"]' 'CMD ["redis-server"]' 'WORKDIR /data' "ENV PATH=$path"
    import haproxy:3.0 'CMD ["haproxy"]' "ENV PATH=$path"
}

make_base() { # Debian with Python
    local root="$work/root.part" mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' \
        'Component: main' | head -1)
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates trixie "$root" "$mirror"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    # what this machine trusts and asks for packages, as a builder behind a proxy has to
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
    install_in "$root" python3 python3-venv python3-pip python-is-python3
    rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
    mv "$root" "$work/root"
}

make_servers() { # the same with PostgreSQL, Redis and HAProxy, and the users of their images
    local root="$work/servers.part"
    rm -rf "$root"
    cp --archive "$work/root" "$root"
    install_in "$root" postgresql-common
    sed -ri 's/#?(create_main_cluster) .*/\1 = false/' "$root/etc/postgresql-common/createcluster.conf"
    install_in "$root" postgresql-17 redis-server haproxy
    chroot "$root" usermod --uid 999 postgres
    install --directory --owner 999 --group 999 "$root/var/lib/postgresql/data" "$root/data"
    install --directory --owner 999 --group 999 --mode 3777 "$root/run/postgresql"
    install -m 755 "$here/stand_ins/postgres.sh" "$here/stand_ins/redis.sh" "$root/usr/local/bin/"
    mv "$root" "$work/servers"
}

# Docker's plugins `compose` and `buildx`, unless the machine has them: Debian 12 has older ones.
make_plugins() {
    docker compose version >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1 && return 0
    mkdir -p "$work/plugins" "$DOCKER_CONFIG/cli-plugins"
    (cd "$work/root" && chroot . sh -c 'cd /tmp && apt-get -qq download docker-compose docker-buildx')
    for package in "$work"/root/tmp/*.deb; do dpkg -x "$package" "$work/plugins"; done
    rm "$work"/root/tmp/*.deb
    cp "$work"/plugins/usr/libexec/docker/cli-plugins/* "$DOCKER_CONFIG/cli-plugins/"
}
