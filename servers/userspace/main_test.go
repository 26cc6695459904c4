package main

import (
	"os"
	"testing"

	"connbench/clients/stack/stacktest"
	"connbench/servers/internal/gate"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

func TestConformance(t *testing.T) {
	stacktest.Need(t)
	gate.Test(t, "")
}
