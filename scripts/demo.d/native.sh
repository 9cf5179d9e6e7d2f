# Interlock as a standalone: one service that reads Swarm and serves clients.
# Sourced by scripts/demo; services.sh calls what ends in _native.

readonly standalone_volume=interlock-standalone

use_native() {
	services=("$core" "$app") images=(interlock interlock-demo)
	front=$core log_tells="what it reads, and each request"
}

refuse_foreign_native() { :; }

deploy_native() { service_exists "$core" || create service "$core" create_standalone; }

# The command of the README's first page, with the ports at hand.
create_standalone() {
	docker service create --detach --no-resolve-image --name "$core" \
		--constraint node.role==manager \
		--mount type=bind,src=/var/run/docker.sock,dst=/var/run/docker.sock \
		--mount type=volume,src="$standalone_volume",dst=/var/lib/interlock \
		--publish mode=host,target=80,published="$port" \
		--publish mode=host,target=443,published="$tls_port" \
		"${IMAGE_PREFIX}interlock:$VERSION" standalone --redirect-port "$tls_port"
}

# marked_native: a standalone makes neither secrets nor configs.
marked_native() { :; }

remove_rest_native() { :; }
