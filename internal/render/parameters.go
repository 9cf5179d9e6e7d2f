package render

// Parameters is what the operator configured for the proxies of a cluster.
type Parameters struct {
	Port    uint16 // plain HTTP, inside the proxy's container
	SSLPort uint16 // TLS, inside the proxy's container
	// PublishedSSLPort is TLS, outside: where clients are redirected to. 0:
	// nowhere known, so 443.
	PublishedSSLPort uint16
	// MountedCredentials says that the proxies have the credentials that the
	// table names at MountedDir themselves. Else the bundle has their content.
	MountedCredentials bool
	// ConfigPath is where the main configuration file stands in the proxy's
	// container.
	ConfigPath string
	// Agentless: the proxy is a stock image without Interlock's agent. Nothing
	// asks it which bundle it serves, and it has no files and users but its own.
	Agentless bool
	// Config holds the keys of [Extensions.NAME.Config] as the reference spells
	// them; only those that were given. Values are strings, bools, int64 or
	// float64 (numbers travel as float64) and []any of strings.
	Config map[string]any
}
