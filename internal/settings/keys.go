package settings

import (
	"time"

	"github.com/interlock-lb/interlock/internal/snapshot"
)

// The values of keys that are absent.
const (
	defaultListenAddr    = ":8080"
	defaultDockerURL     = "unix:///var/run/docker.sock"
	defaultPollInterval  = 3 * time.Second
	defaultPublishMode   = snapshot.PublishIngress
	defaultReplicas      = 1
	defaultTargetPort    = 80
	defaultTargetSSLPort = 443
	defaultNginxPath     = "/etc/nginx/nginx.conf"
	defaultHAProxyPath   = "/etc/haproxy/haproxy.cfg"
)

// The keys whose values are tables with keys of their own.
const (
	extensionsKey = "Extensions"
	configKey     = "Config"
)

// coreKeys are the keys of the file's top, but for Extensions.
var coreKeys = []key[Settings]{
	field("ListenAddr", address, func(s *Settings) *string { return &s.ListenAddr },
		"`:8080`", "Where the core serves its gRPC API."),
	field("DockerURL", dockerURL, func(s *Settings) *string { return &s.DockerURL },
		"`unix:///var/run/docker.sock`", "The Docker API: a socket or a TCP address. `https://` is TLS, `http://` is not, and `tcp://` is TLS where one of the keys below is given."),
	field("TLSCACert", filePath, func(s *Settings) *string { return &s.TLSCACert },
		"", "The authority that signed the certificate of a Docker API behind TLS."),
	field("TLSCert", filePath, func(s *Settings) *string { return &s.TLSCert },
		"", "The core's own certificate for that API; needs `TLSKey`."),
	field("TLSKey", filePath, func(s *Settings) *string { return &s.TLSKey },
		"", "The key of `TLSCert`."),
	field("AllowInsecure", boolean, func(s *Settings) *bool { return &s.AllowInsecure },
		"`false`", "Do not verify the certificate of the Docker API."),
	field("PollInterval", duration("3s", 100*time.Millisecond, time.Hour), func(s *Settings) *time.Duration { return &s.PollInterval },
		"`3s`", "How often the Docker API is read when nothing announces a change."),
	field("EndpointOverride", endpoint, func(s *Settings) *string { return &s.EndpointOverride },
		"found through Swarm", "The address under which extensions reach the core."),
}

type ext = Extension

const maxGrace = 24 * time.Hour

// extensionKeys are the keys of [Extensions.NAME], but for Config.
var extensionKeys = []key[Extension]{
	required(field("Image", image, func(e *ext) *string { return &e.Image },
		"**required**", "The image of the extension service.")),
	field("Args", texts, func(e *ext) *[]string { return &e.Args },
		"the image's own", "The arguments of the extension's process. `haproxy` among them, or in the name of `Image`, makes this a HAProxy extension, `native` one for Interlock's own [native proxy](native.md); any other is one for nginx."),
	field("Labels", labels, func(e *ext) *map[string]string { return &e.Labels },
		"", "Labels of the extension service."),
	field("ContainerLabels", labels, func(e *ext) *map[string]string { return &e.ContainerLabels },
		"", "Labels of the extension service's containers."),
	field("Constraints", constraints, func(e *ext) *[]string { return &e.Constraints },
		"", "Which nodes the extension may run on, in Swarm's notation."),
	field("PlacementPreferences", preferences, func(e *ext) *[]string { return &e.PlacementPreferences },
		"", "Which label of the nodes the extension's tasks are spread over: `spread=node.labels.zone`, or `node.labels.zone` for short."),
	field("ServiceName", serviceName, func(e *ext) *string { return &e.ServiceName },
		"Swarm picks one", "The name of the extension service."),
	field("Networks", networks, func(e *ext) *[]string { return &e.Networks },
		"every network that an app needs", "The only networks that the proxy may be attached to, each once an app needs it; `[]` is none. A name is what `docker network ls` shows; of the core's own stack it may be without the stack's prefix."),
	required(field("ProxyImage", proxyImage, func(e *ext) *string { return &e.ProxyImage },
		"**required**", "The image of the proxy service.")),
	field("ProxyArgs", texts, func(e *ext) *[]string { return &e.ProxyArgs },
		"the image's own", "The arguments of the proxy's process."),
	field("ProxyLabels", labels, func(e *ext) *map[string]string { return &e.ProxyLabels },
		"", "Labels of the proxy service."),
	field("ProxyContainerLabels", labels, func(e *ext) *map[string]string { return &e.ProxyContainerLabels },
		"", "Labels of the proxy service's containers."),
	field("ProxyServiceName", serviceName, func(e *ext) *string { return &e.ProxyServiceName },
		"Swarm picks one", "The name of the proxy service."),
	field("ProxyConstraints", constraints, func(e *ext) *[]string { return &e.ProxyConstraints },
		"", "Which nodes the proxy may run on, such as `[\"node.labels.nodetype==loadbalancer\"]`."),
	field("ProxyPlacementPreferences", preferences, func(e *ext) *[]string { return &e.ProxyPlacementPreferences },
		"", "As `PlacementPreferences`, for the proxy."),
	field("ProxyConfigPath", configPath, func(e *ext) *string { return &e.ProxyConfigPath },
		"`/etc/nginx/nginx.conf`; for HAProxy `/etc/haproxy/haproxy.cfg`", "Where the rendered configuration stands in the proxy's container. What belongs to it goes into the same folder, which so cannot be `/`. The native proxy needs no such file."),
	field("ProxyReplicas", as(number("a number from 0 to 10000", "1", 0, 10000), toCount), func(e *ext) *uint64 { return &e.ProxyReplicas },
		"`1`", "How many tasks the proxy service has."),
	field("ProxyStopSignal", stopSignal, func(e *ext) *string { return &e.ProxyStopSignal },
		"the image's own", "The signal that stops a proxy, with or without `SIG`, or its number: `SIGQUIT` lets nginx end its requests first."),
	field("ProxyStopGracePeriod", as(duration("5s", 0, maxGrace), pointer), func(e *ext) **time.Duration { return &e.ProxyStopGracePeriod },
		"Docker's: `10s`", "How long a proxy may take to stop before it is killed."),
	field("ProxyUpdateDelay", as(duration("10s", 0, maxGrace), pointer), func(e *ext) **time.Duration { return &e.ProxyUpdateDelay },
		"Docker's: `0s`; without hitless updates `5s`", "The time between two tasks of the proxy in a rolling update."),
	field("ServiceCluster", cluster, func(e *ext) *string { return &e.ServiceCluster },
		"the default cluster", "The service cluster that this extension serves; no two extensions serve the same."),
	field("PublishMode", publishMode, func(e *ext) *snapshot.PublishMode { return &e.PublishMode },
		"`ingress`", "How the proxy publishes its ports: through Swarm's routing mesh, or on the nodes that run it."),
	field("PublishedPort", publishedPort, func(e *ext) *uint16 { return &e.PublishedPort },
		"not published", "The port for plain HTTP, outside. Two extensions may publish the same one if both do so in mode `host`."),
	field("TargetPort", targetPort, func(e *ext) *uint16 { return &e.TargetPort },
		"`80`", "The port for plain HTTP, inside the proxy's container."),
	field("PublishedSSLPort", publishedPort, func(e *ext) *uint16 { return &e.PublishedSSLPort },
		"not published", "The port for TLS, outside; as `PublishedPort`. Services with `ssl_only` redirect to it."),
	field("TargetSSLPort", targetPort, func(e *ext) *uint16 { return &e.TargetSSLPort },
		"`443`", "The port for TLS, inside the proxy's container."),
	pending(haproxy|native, field("Template", configName, func(e *ext) *string { return &e.Template },
		"", "The name of a Docker config with a [custom template](custom-template.md) for the extension; one that stands at `/etc/docker/extension-template.conf` in its container without this key is used too.")),
	field("HitlessServiceUpdate", as(boolean, pointer), func(e *ext) **bool { return &e.HitlessServiceUpdate },
		"`true` where the last part of `ProxyImage`'s name contains `interlock`, else `false`", "The proxy takes new configuration without a new container, by the agent in Interlock's own image. `false`, or a stock image such as `nginx:alpine`: it gets it as a Docker config, by a rolling update of its service; see [delivery.md](delivery.md)."),
	void(field("ConfigImage", image, func(e *ext) *string { return &e.ConfigImage },
		"", "The image of the service that used to stand behind hitless updates."), noHelper),
	void(field("ConfigServiceName", serviceName, func(e *ext) *string { return &e.ConfigServiceName },
		"", "The name of that service."), noHelper),
}

const noHelper = "hitless updates need no service of their own any more"
