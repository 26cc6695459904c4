// Package gnetreuseport is a variant without code of its own: variant.toml builds ../gnet.
package gnetreuseport

import (
	"testing"

	"connbench/servers/internal/gate"
)

func TestConformance(t *testing.T) { gate.Test(t, "") }
