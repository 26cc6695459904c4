// Package none is the security layer that leaves the bytes as they are.
package none

import (
	"connbench/clients/internal/engine"
	"connbench/clients/internal/security"
)

func init() {
	security.Layers.Add(security.None, func(c security.Config) (engine.Engine, error) { return c.Engine, nil })
}
