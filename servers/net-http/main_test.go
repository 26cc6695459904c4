package main

import (
	"testing"

	"connbench/servers/internal/gate"
)

func TestConformance(t *testing.T) { gate.Test(t, "") }
