// Package paper describes labs on paper: what a lab file says of its hosts, before any of
// them is reached.
package paper

// Lab is a lab on paper. What its file leaves open is 0 or "".
type Lab struct {
	// Name is the lab's, Kind that of its kind.
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Clients is the number of client hosts.
	Clients int `json:"clients"`
	// Sources is the number of addresses that connections come from, of all client hosts
	// together, Targets the number of addresses that the server listens on.
	Sources int `json:"sources"`
	Targets int `json:"targets"`
	// PortRange is net.ipv4.ip_local_port_range of the client hosts.
	PortRange string `json:"port_range,omitempty"`
	// Server is what the server host may use, Client what each client host may.
	Server Resources `json:"server"`
	Client Resources `json:"client"`
}

// Resources are what a host may use.
type Resources struct {
	MemoryBytes int64   `json:"memory_bytes,omitempty"`
	Cores       float64 `json:"cores,omitempty"`
}
