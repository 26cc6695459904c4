package connections

import (
	"context"
	"fmt"

	"connbench/clients/control"
	"connbench/harness/phase"
	"connbench/harness/record"
)

// censusPayload is the size of the census's messages in bytes.
const censusPayload = 16

// censusPatience is how long every connection may take to answer the census, in seconds,
// unless the plan's timeout is longer.
const censusPatience = 30

var _ = phase.Add(phase.Phase{
	Name:    "census",
	Order:   30,
	About:   "Has every connection answer one message, and counts the connections three times: by the swarm, the server and the kernel.",
	Planned: phase.Always,
	Run: func(ctx context.Context, t *phase.Trial) error {
		result, _, err := t.Session.Metered(ctx, "census", control.Command{
			Op: "census", PayloadBytes: censusPayload, TimeoutSeconds: max(censusPatience, RampPlan.Of(t.Plan).TimeoutSeconds),
		}, func(r control.Result) int64 { return r.Delivered })
		if err != nil {
			return err
		}
		t.SwarmMemory(result.Usage) // plans without a load have a census
		last := t.Session.Meter.Last
		c := &t.Record.Connections
		c.Reached = int(result.Delivered)
		c.Census = record.Census{Swarm: &result.Delivered, Server: &last.Stats.Connections}
		if n, err := t.Session.Server.Established(ctx); err == nil {
			c.Census.Kernel = &n
		} else {
			t.Warn("the kernel did not count the server's connections: %v", err)
		}
		judgeCensus(t, c.Census, result.Corrupt)
		return nil
	},
})

// judgeCensus invalidates a trial whose three counts differ.
func judgeCensus(t *phase.Trial, c record.Census, corrupt int64) {
	if *c.Server != *c.Swarm || c.Kernel != nil && *c.Kernel != *c.Swarm {
		kernel := "unknown"
		if c.Kernel != nil {
			kernel = fmt.Sprint(*c.Kernel)
		}
		t.Invalidate("census: %d connections answered the swarm, the server counts %d, the kernel %s", *c.Swarm, *c.Server, kernel)
	}
	if corrupt > 0 {
		t.Invalidate("census: %d answers were not what had been sent", corrupt)
	}
}
