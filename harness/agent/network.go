package agent

import (
	"context"

	"connbench/harness/agent/network"
)

type addressRequest struct {
	Address string `json:"address"`
}

type addressesRequest struct {
	Addresses []string `json:"addresses"`
}

type targetsRequest struct {
	Targets []string `json:"targets"`
}

var listening = define("listen", func(s *server, r addressesRequest) ([]string, error) {
	return s.listeners.Listen(r.Addresses)
})

// Listen has the host accept connections on addresses, each on a port of its own,
// and returns where; it ends with the next Listen.
func (c *Client) Listen(ctx context.Context, addresses []string) (targets []string, err error) {
	return call(ctx, c, listening, addressesRequest{addresses})
}

type connectRequest struct {
	Sources []string `json:"sources"`
	Targets []string `json:"targets"`
}

var connecting = defineSlow("connect", func(_ *server, r connectRequest) (network.Connects, error) {
	return network.Connect(r.Sources, r.Targets)
})

// Connect is [network.Connect] on the host.
func (c *Client) Connect(ctx context.Context, sources, targets []string) (network.Connects, error) {
	return call(ctx, c, connecting, connectRequest{sources, targets})
}

var owning = define("foreign", func(_ *server, r addressesRequest) ([]string, error) { return network.Foreign(r.Addresses) })

// Foreign is [network.Foreign] on the host.
func (c *Client) Foreign(ctx context.Context, list []string) ([]string, error) {
	return call(ctx, c, owning, addressesRequest{list})
}

var wayfinding = define("gateway", func(_ *server, r addressRequest) (string, error) { return network.Gateway(r.Address) })

// Gateway is [network.Gateway] on the host.
func (c *Client) Gateway(ctx context.Context, address string) (string, error) {
	return call(ctx, c, wayfinding, addressRequest{address})
}

var linking = define("link", func(_ *server, r addressRequest) (string, error) { return network.Link(r.Address) })

// Link is [network.Link] on the host.
func (c *Client) Link(ctx context.Context, address string) (string, error) {
	return call(ctx, c, linking, addressRequest{address})
}

var packets = define("packet", func(_ *server, r targetsRequest) ([]string, error) { return network.Packet(r.Targets) })

// Packet is [network.Packet] on the host.
func (c *Client) Packet(ctx context.Context, targets []string) (missing []string, err error) {
	return call(ctx, c, packets, targetsRequest{targets})
}
