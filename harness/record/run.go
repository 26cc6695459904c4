package record

import "slices"

// Run is a run that was read from disk.
type Run struct {
	// Dir is the folder, or the trials file, that was opened.
	Dir string
	// Manifest is zero, its Schema too, when only a trials file was opened.
	Manifest Manifest
	Trials   []Trial
	// Warnings say what is odd about the files and was ignored, such as the incomplete last
	// line of a run that was killed.
	Warnings []string
}

// EnginePacket is the swarm's engine that speaks TCP itself: its ends of the
// connections take no memory of the kernel.
const EnginePacket = "packet"

// OneKernel reports whether all hosts were on one kernel. Old runs do not say so, but have
// a host that was both server and client.
func (m Manifest) OneKernel() bool {
	return m.SharedKernel || slices.ContainsFunc(m.Hosts, func(h Host) bool {
		return slices.Contains(h.Roles, RoleServer) && slices.Contains(h.Roles, RoleClient)
	})
}

// BothEnds reports whether the kernel's memory holds both ends of each connection.
func (r *Run) BothEnds() bool {
	return r.Manifest.OneKernel() && !slices.ContainsFunc(r.Trials, func(t Trial) bool { return t.Engine == EnginePacket })
}

// Emulated reports whether the CPUs of a host were emulated in software.
func (m Manifest) Emulated() bool {
	return slices.ContainsFunc(m.Hosts, func(h Host) bool { return h.Emulated })
}

// Server is the host that the server ran on, the first of several; the zero Host where none is
// recorded.
func (m Manifest) Server() Host {
	i := slices.IndexFunc(m.Hosts, func(h Host) bool { return slices.Contains(h.Roles, RoleServer) })
	if i < 0 {
		return Host{}
	}
	return m.Hosts[i]
}
