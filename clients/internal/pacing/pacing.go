// Package pacing distributes events over time: connects, or messages. A pacing is one
// small type that adds itself to [Pacings]; a ramp, a sine or bursts would be others.
package pacing

import (
	"encoding/json"
	"math"

	"connbench/clients/control"
	"connbench/clients/internal/options"
	"connbench/clients/internal/registry"
)

// Pacing says when events are due. At and Count are inverse to each other, and
// neither ever falls. Both take fractions, since several workers take turns.
type Pacing interface {
	// At returns when event n, counted from 0, is due, in nanoseconds after the start.
	At(n float64) float64
	// Count returns how many events are due in the first t nanoseconds.
	Count(t float64) float64
}

// Definition returns the pacing for a mean rate, in events a second. text is
// control.Pacing.Options; see [options.Decode].
type Definition func(rate float64, text json.RawMessage) (Pacing, error)

// Pacings holds every pacing.
var Pacings = registry.New[Definition]("pacing")

// Of returns the pacing that a command asks for.
func Of(c control.Command) (Pacing, error) {
	p := control.Pacing{Name: constant}
	if c.Pacing != nil {
		p = *c.Pacing
	}
	definition, err := Pacings.Find(p.Name)
	if err != nil {
		return nil, err
	}
	return definition(c.RatePerSecond, p.Options)
}

const constant = "constant"

func init() {
	Pacings.Add(constant, func(rate float64, text json.RawMessage) (Pacing, error) {
		_, err := options.Decode[struct{}](text)
		return NewConstant(rate), err
	})
}

// Constant is a constant rate.
type Constant struct {
	Interval float64 // nanoseconds from one event to the next; 0: all are due at once
}

// NewConstant returns the pacing for a rate, in events a second; 0 or less: all events
// are due at once.
func NewConstant(rate float64) Constant {
	if rate <= 0 {
		return Constant{}
	}
	return Constant{Interval: 1e9 / rate}
}

// At implements [Pacing].
func (c Constant) At(n float64) float64 { return n * c.Interval }

// Count implements [Pacing].
func (c Constant) Count(t float64) float64 {
	if c.Interval == 0 {
		return math.Inf(1)
	}
	return t / c.Interval
}
