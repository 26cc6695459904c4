package load

// The load "listen" keeps the connections, sends nothing, and counts what the peers send of
// their own accord.
func init() {
	Register("listen", Traits{Checks: []Check{Seconds}}, beginHold)
}
