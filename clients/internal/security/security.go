// Package security defines the layer between an engine and a protocol, which may
// encrypt the bytes of each connection. A layer is an engine over another
// engine, so that nothing above can tell them apart.
package security

import (
	"net/netip"

	"connbench/clients/control"
	"connbench/clients/internal/engine"
	"connbench/clients/internal/registry"
)

// Layer returns an engine that sends and receives over another one. It reports a
// connection as opened when the peer may be sent bytes safely, names its own phase
// in the failures before ([engine.Failure], also from Overdue), and adds what it
// keeps for a connection to StateBytes.
type Layer func(Config) (engine.Engine, error)

// Config is what a layer is made with.
type Config struct {
	// Engine is the engine below.
	Engine engine.Engine
	// Capacity is its number of connections.
	Capacity int
	// Targets are the addresses that are connected to.
	Targets []netip.AddrPort
	// TLS is what only that layer knows.
	TLS *control.TLS
	// Count adds one to a count of the command: one of the names of control.Result.Counts.
	Count func(name string)
}

// None is the name of the layer that a configuration without one means.
const None = "none"

// Layers holds every layer. Each adds itself.
var Layers = registry.New[Layer]("security layer")
