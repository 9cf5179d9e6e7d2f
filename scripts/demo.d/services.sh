# Interlock with whatever proxy, and the demo app. Sourced by scripts/demo.

readonly core=interlock app=demo
# What native.sh and nginx.sh say of themselves: the services and images that
# they need, the service that clients talk to, and what the log of Interlock tells.
services=() images=() front='' log_tells=''
readonly start_wait=60 # seconds for a service, or an answer; a few are normal

created=no # whether this run has created anything
proxy_kind='' # native or nginx

# choose_proxy settles who serves the clients: one for as long as the demo is there.
choose_proxy() {
	local wanted=${PROXY:-native} before
	case $wanted in
	native | nginx) ;;
	*) fail "PROXY=$wanted: there are native, which it is without a word, and nginx" ;;
	esac
	before=$(proxy_before)
	[ "${before:-$wanted}" = "$wanted" ] ||
		fail "the demo is there with PROXY=$before: make demo-down first, or PROXY=$before make demo"
	proxy_kind=$wanted
	"use_$wanted"
}

# recall_proxy is for who removes what is there.
recall_proxy() {
	proxy_kind=$(proxy_before)
	"use_${proxy_kind:=native}"
}

proxy_before() {
	local before
	before=$(recall proxy)
	# Demos from before there was a choice have not written it down.
	if [ -z "$before" ] && made service "$core"; then
		before=nginx
	fi
	echo "$before"
}

choose_ports() {
	port=${DEMO_PORT:-80}
	tls_port=${DEMO_TLS_PORT:-$((port + 443 - 80))} # 8443 beside 8080
	port_suffix=
	[ "$port" = 80 ] || port_suffix=:$port
}

service_exists() { docker service inspect "$1" >/dev/null 2>&1; }

# refuse_foreign_services stops before a service of somebody else's is touched.
refuse_foreign_services() {
	local name
	for name in "${services[@]}"; do
		if service_exists "$name" && ! ours "$name"; then
			fail "a service named $name exists and is not the demo's: rename or remove it first"
		fi
	done
	"refuse_foreign_$proxy_kind"
}

# ours says whether the demo made the service, or the demo's core did. It is asked
# for what this kind of demo consists of only.
ours() {
	case $1 in
	"$app") made service "$app" ;;
	*) made service "$core" ;;
	esac
}

refuse_taken_ports() {
	local taken before
	before=$(recall ports)
	if [ -n "$before" ]; then
		[ "$before" = "$port $tls_port" ] ||
			fail "the demo is there on ports $before: make demo-down first, or DEMO_PORT=${before% *} make demo"
		return 0
	fi
	for taken in "$port" "$tls_port"; do
		if [ -n "$(ss -Hltn "sport = :$taken")" ]; then
			fail "port $taken is taken on this machine: choose another one, for example DEMO_PORT=8080 make demo" \
				"(TLS is then on 8443, or on DEMO_TLS_PORT)"
		fi
	done
}

deploy() {
	if ! made service "$core"; then
		remember proxy "$proxy_kind"
		remember ports "$port $tls_port"
		remember_what_was_there
	fi
	"deploy_$proxy_kind"
	service_exists "$app" || create service "$app" create_app
	[ "$created" = no ] || remember_images
}

# remember_what_was_there notes objects that look like the demo's but are not.
remember_what_was_there() {
	local name
	for name in $("marked_$proxy_kind" secret) $("marked_$proxy_kind" config) $(docker volume ls -q); do
		remember kept "$name"
	done
}

# create KIND NAME COMMAND... makes one thing and writes it down.
create() {
	local kind=$1 name=$2
	shift 2
	say "creating the $kind $name"
	remember "$kind" "$name"
	created=yes
	if ! "$@" >/dev/null; then
		forget "$kind" "$name"
		fail "the engine refused to create the $kind $name"
	fi
}

create_app() {
	docker service create --detach --no-resolve-image --name "$app" \
		--label com.docker.lb.hosts=demo.local --label com.docker.lb.port=8080 \
		--publish mode=host,target=8080 --env METADATA="demo" "${IMAGE_PREFIX}interlock-demo:$VERSION"
}

image_ids() {
	local name
	for name in "${images[@]}"; do
		docker image inspect -f "$name {{.Id}}" "$IMAGE_PREFIX$name:$VERSION"
	done
}

remember_images() {
	local line
	image_ids | while read -r line; do
		remember image "$line"
	done
}

# report_new_images names what was built anew since the services were created.
# They are left alone: a second run changes nothing.
report_new_images() {
	local name id
	image_ids | while read -r name id; do
		made image "$name $id" || say "$name was built anew since: make demo-down demo runs the new one"
	done
}

wait_until_running() {
	local name
	for name in "${services[@]}"; do
		[ "$created" = no ] || say "waiting for $name"
		wait_for "$start_wait" is_running "$name" || explain "$name" "has no running task"
	done
	if [ "$created" = no ]; then
		say "already running: nothing changed"
		report_new_images
	fi
}

is_running() {
	docker service ps --filter desired-state=running --format '{{.CurrentState}}' "$1" 2>/dev/null | grep -q '^Running'
}

# explain SERVICE FAULT ends the demo with what Swarm and Interlock know of it.
explain() {
	{
		echo
		timeout 10 docker service ps --no-trunc "$1" || true
		timeout 10 docker service logs --tail 5 "$1" 2>&1 || true
		if [ "$1" != "$core" ]; then
			echo "--- the last lines of $core:"
			timeout 10 docker service logs --raw --tail 20 "$core" 2>&1 || true
		fi
		echo
	} >&2
	fail "$1 $2; what is known stands above. make demo-down removes everything"
}

show_answer() {
	node=$(docker info -f '{{.Swarm.NodeAddr}}')
	proxy_url=http://$node$port_suffix
	wait_for "$start_wait" ask --fail --output /dev/null ||
		explain "$front" "does not answer for demo.local: $(ask --show-error --output /dev/null 2>&1 --write-out 'status %{http_code}')"
	echo
	echo "\$ curl -i -H 'Host: demo.local' $proxy_url/ping"
	ask --include
}

# ask asks the demo app through the proxy, with more options for curl.
ask() {
	curl --silent --max-time 5 --noproxy '*' --header 'Host: demo.local' "$@" "$proxy_url/ping"
}

# remove_services removes Interlock first: a core would make its services anew.
remove_services() {
	local volumes name
	volumes=$(used_volumes)
	for name in "${services[@]}"; do
		if service_exists "$name" && ours "$name"; then
			say "removing the service $name"
			docker service rm "$name" >/dev/null
			wait_for 60 has_no_container "$name" || fail "the tasks of $name do not end: see docker ps"
		fi
	done
	if made service "$core"; then
		remove_unless_kept secret "$("marked_$proxy_kind" secret)"
		remove_unless_kept config "$("marked_$proxy_kind" config)"
		remove_unless_kept volume "$volumes"
	fi
	"remove_rest_$proxy_kind"
}

used_volumes() {
	local name
	for name in "${services[@]}"; do
		if service_exists "$name" && ours "$name"; then
			docker service inspect -f \
				'{{range .Spec.TaskTemplate.ContainerSpec.Mounts}}{{if eq (print .Type) "volume"}}{{println .Source}}{{end}}{{end}}' \
				"$name"
		fi
	done
}

has_no_container() {
	[ -z "$(docker ps -aq --filter "label=com.docker.swarm.service.name=$1")" ]
}

# remove_unless_kept KIND NAMES removes what was not there before the demo.
remove_unless_kept() {
	local kind=$1 name
	for name in $2; do
		made kept "$name" || wait_for 10 remove "$kind" "$name" || say "the $kind $name is in use and stays"
	done
}

remove() { docker "$1" rm "$2" >/dev/null 2>&1; }
