package agent

import (
	"context"
	"net/netip"

	"connbench/harness/agent/observed"
	"connbench/harness/probe"
	"connbench/harness/probe/sockdiag"
	"connbench/harness/probe/target"
)

// Target says which processes of a host are a server that somebody else has started, and
// Watched is one of them.
type (
	Target  = target.Target
	Watched = observed.Watched
)

var selecting = defineSlow("select", func(_ *server, t Target) ([]Watched, error) { return observed.Find(t) })

// Find is [observed.Find] on the host.
func (c *Client) Find(ctx context.Context, t Target) ([]Watched, error) {
	return call(ctx, c, selecting, t)
}

type observeRequest struct {
	Target Target `json:"target"`
	Detail bool   `json:"detail"`
}

var observing = define("observe", func(s *server, r observeRequest) (m Measurement, err error) {
	if m.Processes, err = s.observed.Read(s.reader, r.Target, level(r.Detail)); err != nil {
		return m, err
	}
	m.System = s.reader.SystemOf(m.Processes[0].PID, level(r.Detail))
	return m, nil
})

// Observe is Measure for the processes of a target. Control groups are those of the first.
func (c *Client) Observe(ctx context.Context, t Target, detail bool) (Measurement, error) {
	return call(ctx, c, observing, observeRequest{t, detail})
}

func level(detail bool) probe.Level {
	if detail {
		return probe.Detail
	}
	return probe.Light
}

type acceptedRequest struct {
	PID       int              `json:"pid"`
	Addresses []netip.AddrPort `json:"addresses"`
}

var countingAccepted = defineSlow("accepted", func(_ *server, r acceptedRequest) (n int64, err error) {
	err = sockdiag.Inside(r.PID, func() (err error) {
		n, err = sockdiag.Established(r.Addresses)
		return err
	})
	return n, err
})

// Accepted is the number of connections that programs of the host have accepted on the
// addresses that they listen on, as the kernel counts them, in the network namespace of the
// process pid; 0 is the agent's own.
func (c *Client) Accepted(ctx context.Context, pid int, addresses []netip.AddrPort) (int64, error) {
	return call(ctx, c, countingAccepted, acceptedRequest{pid, addresses})
}
