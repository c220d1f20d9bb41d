#!/usr/bin/env bash
# Puts newer releases of PgBouncer and Valkey than the system has into a folder of their own, with
# Prometheus' promtool, and installs what Debian itself has of RabbitMQ, HAProxy and Chromium where that is allowed (root).
#
#     tests/servers/fetch.sh [FOLDER]
#
# The packages are those of a later Debian, from the mirror that this machine uses. They are only
# unpacked, with all the libraries they need, so that nothing of the system changes. Tests look for
# the programs in the folder (~/.cache/enrollment-service-tests/servers) before PATH.
set -euo pipefail

SUITE=trixie
PACKAGES=(pgbouncer valkey-server promtool)
PROGRAMS=(usr/sbin/pgbouncer usr/bin/valkey-server usr/bin/valkey-check-rdb usr/bin/promtool)
folder="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/enrollment-service-tests/servers}"

apt_here() {
    apt-get -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache" \
        -o "Dir::State::Status=$folder/status" -o Debug::NoLocking=true \
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false "$@"
}

install_servers() {
    # nothing is started: tests start what they need themselves
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then policy=$(mktemp); else printf '#!/bin/sh\nexit 101\n' >"$policy"; fi
    chmod +x "$policy"
    apt-get -qq update || true
    for package in rabbitmq-server haproxy nginx-light chromium; do # each where there is one
        DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install -y --no-install-recommends "$package" >/dev/null || true
    done
    rm -f "$policy"
}

command -v apt-get dpkg-deb >/dev/null || { echo "this needs the programs of Debian" >&2; exit 1; }
[ "$(id -u)" = 0 ] && install_servers

mkdir -p "$folder"/{lists/partial,cache/archives/partial,root,bin}
: >"$folder/status"
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] $mirror $SUITE main" >"$folder/sources.list"
apt_here update
apt_here install -y --download-only "${PACKAGES[@]}"
for package in "$folder"/cache/archives/*.deb; do dpkg-deb -x "$package" "$folder/root"; done

libraries="$folder/root/usr/lib/$(uname -m)-linux-gnu"
loader=$(find "$libraries" -name 'ld-linux-*.so.*' | head -n 1)
for program in "${PROGRAMS[@]}"; do
    file="$folder/bin/$(basename "$program")"
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' \
        "$loader" "$libraries" "$folder/root/$program" >"$file"
    chmod +x "$file"
done
rm -rf "$folder"/{cache,lists,status,sources.list}
"$folder/bin/pgbouncer" --version | head -n 1
"$folder/bin/valkey-server" --version
"$folder/bin/promtool" --version | head -n 1
