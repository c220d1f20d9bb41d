# Sourced by check_containers.sh: what callers do. Reads $key, $work; uses in_engine.

root_url=http://127.0.0.1:8000
api=$root_url/api/enrollment/v1
course=course-v1:DemoX+GEO+2027

call() { in_engine curl --silent --show-error --fail-with-body --header "Authorization: Bearer $key" "$@"; }

first_enrollment() {
    echo "\$ curl $root_url/readyz; curl -X PUT …/courses/$course; curl -X POST …/enrollment"
    in_engine curl --silent --fail "$root_url/readyz"
    echo
    call --request PUT "$api/courses/$course" --json '{"course_name": "Geometry"}'
    echo
    call "$api/enrollment" --header 'Prefer: wait=30' --json \
        '{"user": "ada", "mode": "audit", "course_details": {"course_id": "'$course'"}}'
    echo
}

send_file() { # ROWS: a file of new learners goes through, with every row done
    local rows=$1 name=$RANDOM$RANDOM id state
    id=$(awk -v rows="$rows" -v course="$course" -v name="$name" 'BEGIN {
            print "user,course_id,mode"
            for (i = 0; i < rows; i++) print "u" name "x" i "," course ",audit" }' |
        call "$api/submissions" --header 'Content-Type: text/csv' --data-binary @- |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["submission_id"])')
    for _ in $(seq 60); do
        state=$(call "$api/submissions/$id" --header 'Prefer: wait=5')
        if [[ $state == *'"state":"done"'* ]]; then break; fi
    done
    python3 -c 'import json, sys
state = json.loads(sys.argv[1])
print(f"a file of {sys.argv[2]} rows:", state["state"], {name: n for name, n in state["counts"].items() if n})
sys.exit(state["state"] != "done")' "$state" "$rows"
}

requests_while() { # COMMAND…: requests go on while it runs; none may fail
    local good=0 bad=0 running
    printf '$ %s\n' "$*"
    "$@" >/dev/null &
    running=$!
    while kill -0 $running 2>/dev/null; do
        if call "$api/courses/$course" >/dev/null; then good=$((good + 1)); else bad=$((bad + 1)); fi
    done
    wait $running
    echo "$good requests were answered, $bad were not"
    [ "$good" -gt 0 ] && [ "$bad" = 0 ]
}
