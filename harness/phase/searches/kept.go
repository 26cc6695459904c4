package searches

import "connbench/harness/record"

// keptShare is the share of the offered messages that must come back if a load is to
// count as kept.
const keptShare = 0.99

// Reasons why a load does not count as kept, and why a search found no more.
const (
	KeptLatency  = "latency"     // the 99th percentile was above the bound
	KeptDelivery = "delivery"    // too few of the messages came back
	KeptClient   = "client"      // the swarm, not the server, was too slow
	KeptAll      = "connections" // there were no more connections
)

// swarmsLimit is said of a search that the swarm ended.
const swarmsLimit = "the swarm was too slow for more"

// notKept says why a load does not count as kept; "" if it does.
func notKept(l record.Load, p99LimitUS float64) string {
	late := l.P99US > p99LimitUS
	short := l.Offered != nil && float64(*l.Offered-l.CameBack()) > (1-keptShare)*float64(*l.Offered)
	switch {
	case (late || short) && l.ClientBound:
		return KeptClient
	case late:
		return KeptLatency
	case short:
		return KeptDelivery
	}
	return ""
}
