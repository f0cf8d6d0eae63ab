# What the benches share. Sourced by each `run`, in the root of the repository: builds the issuer, makes $work, and stops
# whatever was started when the script ends.

bench=${0#"$PWD"/} bench=${bench%/run}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "$bench: install $program first" >&2; exit 1; }
    done
}

work=$(mktemp -d)
pids=()
stop() {
    # What was stopped hears of its end only once it goes on.
    [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
    [ ${#pids[@]} -eq 0 ] || kill -CONT "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

build_issuer() {
    cargo build --release --quiet -p machineauth-issuer
    issuer=${CARGO_TARGET_DIR:-$PWD/target}/release/machineauth-issuer
}
free_port() { # a port below the range that clients get theirs from
    local port
    while port=$((20000 + RANDOM % 10000)); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}
wait_for() { # URL
    for _ in $(seq 200); do curl -sf -o /dev/null "$1" && return; sleep 0.05; done
    echo "$bench: $1 does not answer" >&2
    exit 1
}
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }

start_redis() { # append-only file: yes or no → sets $redis_port
    redis_port=$(free_port)
    taskset -c 1 redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work" --save "" \
        --appendonly "$1" --appendfsync everysec --logfile "$work/redis.log" &
    pids+=($!)
    for _ in $(seq 200); do redis-cli -p "$redis_port" ping >/dev/null 2>&1 && return; sleep 0.05; done
    echo "$bench: Redis does not answer" >&2
    exit 1
}
start_issuer() { # DATABASE_URL [VARIABLE=VALUE …] → an issuer on core 0; sets $base, $issuer_pid
    local port url=$1; port=$(free_port); shift
    base=http://127.0.0.1:$port
    (cd "$work" && exec taskset -c 0 env -i PORT="$port" LOG=warn DATABASE_URL="$url" "$@" \
        SERVER_KEY=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff "$issuer" >/dev/null) &
    issuer_pid=$!
    pids+=("$issuer_pid")
    wait_for "$base/health/ready"
}
receivers=0
start_receiver() { # → sets $url, where it listens, and $arrived, the file of what arrives
    receivers=$((receivers + 1))
    local port=$work/port.$receivers
    arrived=$work/arrived.$receivers
    taskset -c 1 python3 bench/webhooks/receiver.py "$port" "$arrived" &
    pids+=($!)
    for _ in $(seq 200); do [ -s "$port" ] && break; sleep 0.05; done
    url=http://127.0.0.1:$(cat "$port")/hook
}
create_webhook() { # events, more members
    curl -sf -o /dev/null -u admin@example.com:changeme -H 'Content-Type: application/json' \
        -d "{\"name\":\"bench\",\"url\":\"$url\",\"events\":$1${2:-}}" "$base/api/webhooks"
}
waiting() { curl -sf -H 'Accept: text/plain' "$base/metrics" | awk '$1 == "machineauth_webhook_deliveries_waiting" { print $2 }'; }
create_agent() { # → sets $client to its id and secret
    client=$(curl -sf -u admin@example.com:changeme -H 'Content-Type: application/json' \
        -d '{"name":"bench","scopes":["read","write"]}' "$base/api/agents" |
        sed -E 's/.*"client_id":"([^"]+)","client_secret":"([^"]+)".*/\1 \2/')
}
wrk_on() { # seconds, connections, script, path → prints requests per second and the issuer's CPU microseconds per request
    local before after out requests
    before=$(cpu_ticks "$issuer_pid")
    out=$(taskset -c 1 wrk -t1 -c"$2" -d"$1" -s "$3" "$base$4")
    after=$(cpu_ticks "$issuer_pid")
    if grep -q 'Non-2xx' <<<"$out"; then echo "$out" >&2; exit 1; fi
    requests=$(awk '/requests in/ { print $1 }' <<<"$out")
    awk -v rate="$(awk '/Requests\/sec/ { print $2 }' <<<"$out")" -v ticks=$((after - before)) -v requests="$requests" \
        -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.0f %.1f\n", rate, ticks / hz / requests * 1e6 }'
}
result() { # "P1 what was measured", figure, unit, "≥ 0.85" → a line that bench/run finds
    printf '%-62s %8s %s   target %s\n' "$1" "$2" "$3" "$4"
}
