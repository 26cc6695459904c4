package main

import (
	"testing"

	"connbench/servers/internal/gate"
)

func TestConformance(t *testing.T) {
	gate.Test(t, "nbio hands connections to its pollers by epoll_ctl alone, which the detector takes for a race")
}
