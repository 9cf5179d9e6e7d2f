# The Swarm: of one node, if the engine is in none. Sourced by scripts/demo.

join_swarm() {
	local membership
	membership=$(docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}')
	case $membership in
	"active true") ;;
	"inactive "*) init_swarm ;;
	"active false") fail "this engine is a worker: run make demo on a manager of its Swarm" ;;
	"locked "*) fail "this engine's Swarm is locked: docker swarm unlock" ;;
	*) fail "this engine's Swarm is in state '$membership': see docker info" ;;
	esac
	refuse_loopback
	wait_for 30 has_leader || fail "the Swarm has no leader: see docker node ls on its managers"
}

# refuse_loopback: nodes of a Swarm made with --advertise-addr 127.0.0.1 give
# their containers an address at which each finds only itself.
refuse_loopback() {
	case $(docker info -f '{{.Swarm.NodeAddr}}') in
	127.* | ::1) fail "this node's address in its Swarm is loopback, which containers cannot reach:" \
		"make it anew with docker swarm init --advertise-addr ADDRESS, or leave it and make demo makes one" ;;
	esac
}

has_leader() { timeout 10 docker node ls >/dev/null 2>&1; }

init_swarm() {
	local address
	address=$(node_address)
	say "making a Swarm of this node, at $address"
	docker network inspect docker_gwbridge >/dev/null 2>&1 || remember network docker_gwbridge
	remember swarm here
	docker swarm init --advertise-addr "$address" --listen-addr "$address:2377" >/dev/null
}

# node_address prints an address that containers reach too, so never loopback:
# the one that the default route uses, or on a machine without a route the
# engine's own bridge.
node_address() {
	local address
	address=$(ip -4 route get 1.1.1.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
	if [ -z "$address" ]; then
		address=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' bridge)
	fi
	echo "$address"
}

# leave_swarm ends a Swarm that the demo made, unless others use it by now.
leave_swarm() {
	if ! made swarm here || ! docker node ls >/dev/null 2>&1; then
		return 0
	fi
	if [ -n "$(docker service ls -q)" ]; then
		say "the Swarm stays: it has other services"
		return 0
	fi
	if [ "$(docker node ls -q | wc -l)" -gt 1 ]; then
		say "the Swarm stays: other nodes have joined it"
		return 0
	fi
	say "leaving the Swarm"
	docker swarm leave --force >/dev/null
	if made network docker_gwbridge; then
		wait_for 10 remove_network docker_gwbridge || say "the network docker_gwbridge is in use and stays"
	fi
}

remove_network() { docker network rm "$1" >/dev/null 2>&1; }
