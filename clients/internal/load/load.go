// Package load holds the loads: what connections are opened, which of them send what,
// and when. A load is one file, which registers itself; nothing else knows its name.
package load

import (
	"fmt"

	"connbench/clients/control"
	"connbench/clients/internal/connections"
	"connbench/clients/internal/options"
	"connbench/clients/internal/registry"
)

// Load is a load that a worker carries out.
type Load interface {
	connections.Events
	// Step does what is due at now, in nanoseconds of [clock.Now]. It returns when it
	// is to be called again at the latest, or that the load is done. stopped says that
	// the load is to end with what it has.
	Step(now int64, stopped bool) (next int64, done bool)
	// End is called once, after the last Step. stopped says that the load was stopped
	// before its time, so that what has no answer is nobody's fault.
	End(now int64, stopped bool)
}

// Base ignores what does not concern a load.
type Base struct{ connections.NoEvents }

// End implements [Load].
func (Base) End(int64, bool) {}

// Job is one worker's part of a command.
type Job struct {
	// Command has numbers for this worker alone. Where the connections that take part
	// were not limited, Connections is the number of those open.
	control.Command
	// Now is when the worker began with the job, and Start when the first message is
	// due, the same in all workers; both in nanoseconds of [clock.Now].
	Now   int64 `json:"-"`
	Start int64
	// Offset is where this worker's events lie between those of the others, in
	// intervals between two of its own, 0 to 1.
	Offset float64
	// Workers is the number of workers that have a part, and All the connections that
	// the command asks of them together.
	Workers, All int
	// First says that this worker is the one of all hosts that does what is done once, and
	// Hosts is their number.
	First bool
	Hosts int
}

// Traits are what has to be known of a load before it begins.
type Traits struct {
	// Checks are what a command has to satisfy.
	Checks []Check
	// Active says that Command.Connections is how many connections take part, and that
	// the rate is theirs. Otherwise it is the number to be open at the end.
	Active bool
	// Common says that all workers have one schedule, with the whole rate, since one connection
	// sends.
	Common bool
	// Scheduled says that the load records its lag itself, against its schedule.
	// Otherwise the lag is the time from one poll for events to the next.
	Scheduled bool
}

// Definition is a load that can be asked for.
type Definition struct {
	Traits
	// Begin begins a worker's part of the load.
	Begin func(*connections.Table, Job) (Load, error)
	check func(control.Command) error
}

// Loads holds every load.
var Loads = registry.New[Definition]("command")

// Register adds a load. Its options are decoded into an O, strictly: struct{} for a
// load that has none. begin returns the load of one worker.
func Register[O any](name string, traits Traits, begin func(t *connections.Table, job Job, o O) (Load, error)) {
	Loads.Add(name, Definition{
		Traits: traits,
		check: func(c control.Command) error {
			_, err := options.Decode[O](c.Options)
			return err
		},
		Begin: func(t *connections.Table, job Job) (Load, error) {
			o, err := options.Decode[O](job.Options)
			if err != nil {
				return nil, err
			}
			return begin(t, job, o)
		},
	})
}

// Check returns what is wrong with a command for a swarm.
func (d Definition) Check(c control.Command, s Swarm) error {
	for _, check := range d.Checks {
		if wrong := check(c, s); wrong != "" {
			return fmt.Errorf("%s: %s", c.Op, wrong)
		}
	}
	if err := d.check(c); err != nil {
		return fmt.Errorf("%s: %w", c.Op, err)
	}
	return nil
}

// burst is the largest number of connects, or of messages, between two looks
// at what has come in.
const burst = 64

// nanoseconds converts a time.
func nanoseconds(seconds float64) int64 { return int64(seconds * 1e9) }
