package suite

import (
	"context"
	"fmt"
	"math"
	"time"

	"connbench/harness/lab"
)

// recovery is how the server's host is between the trials of a run, as far as trials
// disturb each other. The zero value is the state before the first.
type recovery struct {
	// availableBytes is the most MemAvailable at the beginning of a trial, orphans how
	// many TCP sockets without a process there are anyway.
	availableBytes, orphans int64
}

const (
	// recoveryPatience is how long the kernel may take to clean up after an earlier
	// trial: it gives up a FIN that nobody acknowledges after eight retries, 102 s from
	// a timeout of 200 ms (tcp_orphan_retries in ip-sysctl.rst). recoveryStuck is how
	// long nothing may change before the host is taken as it is.
	recoveryPatience = 3 * time.Minute
	recoveryStuck    = 15 * time.Second
	// recoveryShare of the most available memory must be there again.
	recoveryShare = 0.98
)

// await waits until the host has recovered from the trial before: until its memory is
// free again, and the sockets that a killed swarm left have ended. Both give memory
// back while the ramp takes it, which then seems to take less, or finds less to take.
// It returns a warning where the host did not recover, "" otherwise.
func (r *recovery) await(ctx context.Context, host *lab.Host, target int, waiting func()) (warning string) {
	start := time.Now()
	changed, announced := start, false
	least, most := int64(math.MaxInt64), int64(0)
	for {
		measured, err := host.Agent.Measure(ctx, nil, false)
		orphans, available := measured.System.Sockets.Orphans, measured.System.Memory.Available
		if err != nil || orphans == nil || available == nil {
			return ""
		}
		if r.recovered(*orphans, *available, target) {
			r.availableBytes = max(r.availableBytes, *available)
			return ""
		}
		if *orphans < least || *available > most+1<<20 {
			changed = time.Now()
		}
		least, most = min(least, *orphans), max(most, *available)
		if time.Since(changed) > recoveryStuck || time.Since(start) > recoveryPatience {
			warning = fmt.Sprintf("the host was still busy with what came before after %.0f s: %d TCP sockets have no process (at rest %d), and %d bytes of memory are available (at rest %d)",
				time.Since(start).Seconds(), *orphans, r.orphans, *available, max(*available, r.availableBytes))
			*r = recovery{availableBytes: *available, orphans: *orphans}
			return warning
		}
		if !announced {
			waiting()
			announced = true
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ""
		}
	}
}

// recovered reports whether what is left is too little to show next to the target.
func (r *recovery) recovered(orphans, available int64, target int) bool {
	return orphans <= r.orphans+int64(target/1000+10) &&
		float64(available) >= recoveryShare*float64(r.availableBytes)
}
