# Interlock in host mode: a core that keeps an extension and nginx. Sourced by
# scripts/demo; services.sh calls what ends in _nginx.

readonly extension=interlock-ext proxy=interlock-proxy
readonly config=service.interlock.conf
# The core marks what it makes itself, and its secrets and configs, with this label.
readonly role_label=com.docker.interlock.role

use_nginx() {
	services=("$core" "$extension" "$proxy" "$app")
	images=(interlock interlock-extension interlock-proxy interlock-demo)
	front=$proxy log_tells="what the core does"
}

config_exists() { docker config inspect "$config" >/dev/null 2>&1; }

refuse_foreign_nginx() {
	if config_exists && ! made config "$config"; then
		fail "a config named $config exists and is not the demo's: remove it first"
	fi
}

deploy_nginx() {
	config_exists || create config "$config" create_config
	service_exists "$core" || create service "$core" create_core
}

# marked_nginx KIND prints the names of the secrets, or configs, that look like a core's.
marked_nginx() { docker "$1" ls -q --filter "label=$role_label"; }

remove_rest_nginx() {
	if made config "$config" && config_exists; then
		docker config rm "$config" >/dev/null
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
