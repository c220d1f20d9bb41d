#!/bin/bash
# Builds the image and runs docker-compose.yml for real, on a Debian machine without a registry of
# images: with a Docker engine in a network namespace of its own, and stand-ins for the base images.
#   sudo deploy/check_containers.sh [FOLDER]      5 to 10 minutes, 4 GB in FOLDER (a temporary one)
# The transcript is on stdout (docs/evidence/containers.txt is one); it ends with "All checks passed".
# A folder that is given stays, with its base system, and makes the next run faster.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(dirname "$here")
keeps=${1:-}
work=${1:-$(mktemp -d /var/tmp/enroll-containers.XXXXXX)}
mkdir -p "$work"
work=$(cd "$work" && pwd)
. "$here/stand_ins/engine.sh"
. "$here/stand_ins/images.sh"
. "$here/stand_ins/requests.sh"

[ "$(id -u)" = 0 ] || { echo "This starts a Docker engine: run it as root." >&2; exit 1; }
# the file alone, with nothing of a developer's shell or .env
for name in $(compgen -e | grep -E '^(ENROLL|POSTGRES|COMPOSE|PG)_?' || true); do unset "$name"; done
POSTGRES_PASSWORD='p@ss:w/ord%20#1$x'
SECONDS=0

clean_up() {
    local status=$?
    trap - EXIT
    [ $status = 0 ] || tail --lines 20 "$work"/{packages,images}.log >&2 || true
    if [ -S "$work/docker.sock" ] && [ -d "$source" ]; then
        [ $status = 0 ] || docker compose --project-directory "$source" logs --tail 20 >&2 || true
        docker compose --project-directory "$source" down --volumes --timeout 5 >/dev/null 2>&1 || true
    fi
    stop_engine
    if [ -z "$keeps" ]; then rm -rf "$work"; else rm -rf "$work"/{data,run,source,plugins} "$work"/*.pid; fi
    exit $status
}

step() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

run() { # a command of the transcript
    printf '$ %s\n' "$*" | sed 's/^\$ compose/$ docker compose/'
    "$@" 2>&1 | sed -E 's/(enr_[A-Za-z0-9]{4})[A-Za-z0-9_.-]+/\1…/'
}

compose() { POSTGRES_PASSWORD=$POSTGRES_PASSWORD docker compose --ansi never --progress quiet "$@"; }

built() { # TAG: hashes of everything in the image that we put there, with times and modes
    docker run --rm --entrypoint tar "enrollment-service:$1" --directory /opt/enroll --sort=name \
        --numeric-owner --create . | sha256sum | cut -c -64
}

source="$work/source"
trap clean_up EXIT
# no `|| …` behind these: in such a line bash does not end a function at its first error
install_programs >"$work/packages.log" 2>&1
start_engine
make_images >"$work/images.log" 2>&1
make_plugins
# what a clone has, so that no build cache or secret of this folder gets in
mkdir -p "$source"
(cd "$project" && git ls-files -z --cached --others --exclude-standard | xargs -0 tar --create) | tar --extract --directory "$source"
cd "$source"
export COMPOSE_PROJECT_NAME=enrollment-check REVISION=$(git -C "$project" rev-parse --short HEAD)

step "Versions, and what needs no password"
run docker version --format 'engine {{.Server.Version}}'
run docker compose version
run docker compose ps --quiet

step "Build: one image, once"
run compose build
run docker images enrollment-service --format '{{.Repository}}:{{.Tag}} {{.Size}}'
run docker inspect enrollment-service:local --format '{{json .Config.Labels}}'
first=$(built local)

step "Up: everything is healthy"
run compose up --detach --wait --wait-timeout 240
run compose ps --format 'table {{.Service}}\t{{.Status}}'
run compose exec -T gateway enroll doctor

step "First key, first enrollment"
key=$(compose exec -T gateway enroll keys create admin --scope admin | tail -1)
echo "$ docker compose exec gateway enroll keys create admin --scope admin"
echo "${key:0:8}…"
first_enrollment
send_file 20000

step "Four workers, two gateways"
run compose up --detach --wait --wait-timeout 240 --scale worker=4 --scale gateway=2
run compose ps --format 'table {{.Service}}\t{{.Status}}'
sent=()
for _ in 1 2 3 4 5 6; do
    send_file 5000 &
    sent+=($!)
done
for one in "${sent[@]}"; do wait "$one"; done # not for the engine
step "One of the two gateways stops, under requests"
requests_while docker stop --time 40 enrollment-check-gateway-1
run docker start enrollment-check-gateway-1
run compose exec -T worker enroll workers

step "Nothing is root, nothing is written outside /tmp"
run compose exec -T worker sh -c 'id -u; touch /x 2>&1; touch /opt/enroll/x 2>&1; grep -E "CapEff|NoNewPrivs|Seccomp:" /proc/1/status' || true
run docker stats --no-stream --format 'table {{.Name}}\t{{.MemUsage}}\t{{.PIDs}}'

step "Stop, and start again: records stay"
run compose stop
run docker ps --all --filter label=com.docker.compose.project=enrollment-check --format 'table {{.Names}}\t{{.Status}}'
run compose up --detach --wait --wait-timeout 240 --scale worker=4 --scale gateway=2
run compose exec -T gateway enroll verify

step "Upgrade: a second build, from nothing, has the same files"
export IMAGE_TAG=next
run compose build --no-cache
second=$(built next)
printf '%s  enrollment-service:local\n%s  enrollment-service:next\n' "$first" "$second"
[ "$first" = "$second" ] || { echo "The two builds differ." >&2; exit 1; }
run compose stop gateway worker beat
run compose up --detach --wait --wait-timeout 240 --scale worker=4 --scale gateway=2
run compose ps --format 'table {{.Service}}\t{{.Image}}\t{{.Status}}'
send_file 5000

step "Back to the release before"
export IMAGE_TAG=local
run compose stop gateway worker beat
run compose up --detach --wait --wait-timeout 240
send_file 5000
run compose exec -T gateway enroll verify
step "All checks passed"
