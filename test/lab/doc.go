// Package lab brings up real Docker engines as one real Swarm on this machine,
// so that tests can deploy to it, cut its cables and pull its plugs.
//
// Every node is a process of its own namespaces (PID, mount, network, host
// name) in which a dockerd runs that has a folder for all of its state. A
// further machine of that kind, the switch, holds the bridge that joins the
// nodes and a registry for their images. One cable leads from the switch to the
// host, which so reaches every node by its address. Nothing else of the host is
// touched: no bridge, no firewall rule, no named network namespace, and not the
// engine that the host may be running itself. When the first process of a
// machine dies, its engine, containers, mounts and links die with it.
//
// A lab belongs to the process that brought it up and goes down with it,
// however that ends; its folder is cleared by the next Up or by [Sweep]. Only
// a lab with [Options.Detached] outlives its owner.
//
// The package does not know Interlock: it neither builds its images nor deploys
// it, and it makes no assertions. The engines' limits are the machine's: where
// the kernel has no IPVS, virtual IPs and ingress publishing carry no traffic.
package lab
