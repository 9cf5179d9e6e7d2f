# The Docker Engine: started if none answers. Sourced by scripts/demo.

readonly engine_log=$state_folder/dockerd.log
readonly engine_wait=60 # seconds; the first start on a slow disk

engine_answers() { timeout 10 docker version >/dev/null 2>&1; }

start_engine() {
	if engine_answers; then
		return 0
	fi
	[ -z "${DOCKER_HOST:-}" ] || fail "no engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST"
	if [ -d /run/systemd/system ]; then
		say "starting the engine with systemd"
		remember engine systemd
		systemctl start docker || fail "systemd does not start docker: see journalctl -u docker"
	else
		start_dockerd
	fi
	if ! wait_for "$engine_wait" engine_answers; then
		tail -n 20 "$engine_log" >&2 2>/dev/null || true
		fail "the engine does not answer; its log ends above, or see journalctl -u docker"
	fi
}

# start_dockerd starts it in a session of its own: it outlives this script and
# the terminal.
start_dockerd() {
	say "starting dockerd, which logs to $engine_log"
	remember engine dockerd
	setsid dockerd >"$engine_log" 2>&1 </dev/null 8>&- &
}

# stop_engine stops an engine that the demo started, unless others use it by now.
stop_engine() {
	local kind
	kind=$(recall engine)
	if [ -z "$kind" ]; then
		return 0
	fi
	if [ -n "$(docker ps -q)" ]; then
		say "the engine stays: it runs other containers"
		return 0
	fi
	say "stopping the engine"
	case $kind in
	*systemd*) systemctl stop docker.socket docker.service ;;
	*) stop_dockerd ;;
	esac
}

stop_dockerd() {
	local pid
	pid=$(cat /var/run/docker.pid 2>/dev/null) || return 0
	[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 0
	kill "$pid"
	wait_for 30 has_ended "$pid" || fail "dockerd, process $pid, does not stop; see $engine_log"
}

has_ended() { [ ! -e "/proc/$1" ]; }
