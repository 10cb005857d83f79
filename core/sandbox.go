package core

import "os"

// Sandbox is a container's network as it should be while it runs.
type Sandbox struct {
	Container ContainerID
	Name      string
	Hostname  string
	Domain    string
	// Endpoints by network name; empty: a namespace with nothing but a loopback.
	Endpoints  map[string]*Endpoint
	Ports      map[Port][]PortBinding
	Exposed    []Port
	PublishAll bool
	// Published are the ports that an adopted sandbox holds: what Joined.Ports said at its start.
	Published []PublishedPort
	DNS       HostConfig // DNS, DNSOptions, DNSSearch, ExtraHosts of it are read
	Sysctls   map[string]string
	// Dir is the container's folder: the organ writes hosts, hostname and resolv.conf into it.
	Dir string
	// Host: no namespace of its own, only the files in Dir.
	Host bool
	// PID of the running first process, 0 at a start: where an adopted sandbox's namespace is.
	PID int
}

// Joined is the answer to opening a sandbox.
type Joined struct {
	NS        *os.File             // the namespace; nil for Host. The engine closes it after the start.
	Endpoints map[string]*Endpoint // filled in
	Ports     []PublishedPort
}
