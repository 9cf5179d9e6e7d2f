# Interlock, its extension and proxy, and the demo app. Sourced by scripts/demo.

readonly core=interlock extension=interlock-ext proxy=interlock-proxy app=demo
readonly services=("$core" "$extension" "$proxy" "$app")
readonly config=service.interlock.conf
# The core marks what it makes itself, and its secrets and configs, with this label.
readonly role_label=com.docker.interlock.role
readonly start_wait=60 # seconds for a service, or an answer; a few are normal

created=no # whether this run has created anything

choose_ports() {
	port=${DEMO_PORT:-80}
	tls_port=${DEMO_TLS_PORT:-$((port + 443 - 80))} # 8443 beside 8080
	port_suffix=
	[ "$port" = 80 ] || port_suffix=:$port
}

service_exists() { docker service inspect "$1" >/dev/null 2>&1; }
config_exists() { docker config inspect "$config" >/dev/null 2>&1; }

# refuse_foreign_services stops before a service of somebody else's is touched.
refuse_foreign_services() {
	local name
	for name in "${services[@]}"; do
		if service_exists "$name" && ! ours "$name"; then
			fail "a service named $name exists and is not the demo's: rename or remove it first"
		fi
	done
	if config_exists && ! made config "$config"; then
		fail "a config named $config exists and is not the demo's: remove it first"
	fi
}

# ours says whether the demo made the service, or the demo's core did.
ours() {
	case $1 in
	"$extension" | "$proxy") made service "$core" ;;
	*) made service "$1" ;;
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
		remember ports "$port $tls_port"
		remember_what_was_there
	fi
	config_exists || create config "$config" create_config
	service_exists "$core" || create service "$core" create_core
	service_exists "$app" || create service "$app" create_app
	[ "$created" = no ] || remember_images
}

# remember_what_was_there notes objects that look like the core's but are not.
remember_what_was_there() {
	local name
	for name in $(labelled secret) $(labelled config) $(docker volume ls -q); do
		remember kept "$name"
	done
}

labelled() { docker "$1" ls -q --filter "label=$role_label"; }

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

create_config() { interlock_config | docker config create "$config" -; }

# The commands of the host-mode walkthrough. --no-resolve-image: the images are
# local, and asking a registry for them only costs time.
create_core() {
	docker service create --detach --no-resolve-image --name "$core" \
		--mount src=/var/run/docker.sock,dst=/var/run/docker.sock,type=bind \
		--constraint node.role==manager --publish mode=host,target=8080 \
		--config src="$config",target=/config.toml \
		"${IMAGE_PREFIX}interlock:$VERSION" -D run -c /config.toml
}

create_app() {
	docker service create --detach --no-resolve-image --name "$app" \
		--label com.docker.lb.hosts=demo.local --label com.docker.lb.port=8080 \
		--publish mode=host,target=8080 --env METADATA="demo" "${IMAGE_PREFIX}interlock-demo:$VERSION"
}

interlock_config() {
	cat <<-END
		ListenAddr = ":8080"
		DockerURL = "unix:///var/run/docker.sock"
		PollInterval = "3s"

		[Extensions]
		  [Extensions.default]
		    Image = "${IMAGE_PREFIX}interlock-extension:$VERSION"
		    Args = []
		    ServiceName = "$extension"
		    ProxyImage = "${IMAGE_PREFIX}interlock-proxy:$VERSION"
		    ProxyArgs = []
		    ProxyServiceName = "$proxy"
		    ProxyConfigPath = "/etc/nginx/nginx.conf"
		    ProxyReplicas = 1
		    PublishMode = "host"
		    PublishedPort = $port
		    TargetPort = 80
		    PublishedSSLPort = $tls_port
		    TargetSSLPort = 443
		    [Extensions.default.Config]
		      User = "nginx"
		      PidPath = "/var/run/proxy.pid"
		      WorkerProcesses = 1
		      RlimitNoFile = 65535
		      MaxConnections = 2048
	END
}

image_ids() {
	local name
	for name in interlock interlock-extension interlock-proxy interlock-demo; do
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

# explain SERVICE FAULT ends the demo with what Swarm and the core know of it.
explain() {
	{
		echo
		timeout 10 docker service ps --no-trunc "$1" || true
		timeout 10 docker service logs --tail 5 "$1" 2>&1 || true
		if [ "$1" != "$core" ]; then
			echo "--- the core's last lines:"
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
		explain "$proxy" "does not answer for demo.local: $(ask --show-error --output /dev/null 2>&1 --write-out 'status %{http_code}')"
	echo
	echo "\$ curl -i -H 'Host: demo.local' $proxy_url/ping"
	ask --include
}

# ask asks the demo app through the proxy, with more options for curl.
ask() {
	curl --silent --max-time 5 --noproxy '*' --header 'Host: demo.local' "$@" "$proxy_url/ping"
}

# remove_services removes the demo's own services first, so that no core is left
# that would make its services anew.
remove_services() {
	local volumes name
	volumes=$(used_volumes)
	for name in "$core" "$app" "$extension" "$proxy"; do
		if service_exists "$name" && ours "$name"; then
			say "removing the service $name"
			docker service rm "$name" >/dev/null
			wait_for 60 has_no_container "$name" || fail "the tasks of $name do not end: see docker ps"
		fi
	done
	if made service "$core"; then
		remove_unless_kept secret "$(labelled secret)"
		remove_unless_kept config "$(labelled config)"
		remove_unless_kept volume "$volumes"
	fi
	if made config "$config" && config_exists; then
		docker config rm "$config" >/dev/null
	fi
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
