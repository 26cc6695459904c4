package suite

import (
	"context"
	"fmt"
	"math"
	"time"

	"connbench/harness/lab"
)

// recovery is the state of the server's host between the trials of a run: what one trial
// leaves behind that disturbs the next. The zero value is the state before the first.
type recovery struct {
	// availableBytes is the largest MemAvailable at the beginning of a trial. orphans is the
	// number of TCP sockets without a process before the first.
	availableBytes, orphans int64
}

const (
	// recoveryPatience is how long the kernel may take to clean up after an earlier
	// trial. It retries an unacknowledged FIN eight times, which takes 102 s with a first
	// timeout of 200 ms (tcp_orphan_retries in ip-sysctl.rst). If nothing changes for
	// recoveryStuck, the trial starts anyway.
	recoveryPatience = 3 * time.Minute
	recoveryStuck    = 15 * time.Second
	// recoveryShare is the share of the largest available memory that must be free again.
	recoveryShare = 0.98
)

// await waits until the host has recovered from the previous trial: its memory is free
// again, and the sockets of a killed swarm are gone. Otherwise memory would be given back
// during the ramp, which would then seem to take less. It returns a warning if the host
// did not recover, and "" if it did.
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
			warning = fmt.Sprintf("the host was still busy with the previous trial after %.0f s: %d orphaned TCP sockets (idle: %d), %d bytes of memory available (idle: %d)",
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

// recovered reports whether what is left is negligible next to the target.
func (r *recovery) recovered(orphans, available int64, target int) bool {
	return orphans <= r.orphans+int64(target/1000+10) &&
		float64(available) >= recoveryShare*float64(r.availableBytes)
}
