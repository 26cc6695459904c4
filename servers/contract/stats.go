package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// Stats is the answer to a question. A figure that a server has no notion of
// (goroutines, in C) is left out and so null, never 0. Those that grow count since
// the start of the process, and so never fall.
type Stats struct {
	// Connections is the number of connections that are open: counted from the moment
	// that the handshake, the first request or the first byte was answered, or from the
	// accept on where no WebSocket is spoken, until the socket is closed.
	Connections int64 `json:"connections"`
	// HeapInUseBytes is heap memory that holds objects or garbage.
	HeapInUseBytes *int64 `json:"heap_in_use_bytes,omitempty"`
	// HeapLiveBytes is what the last collection found alive.
	HeapLiveBytes *int64 `json:"heap_live_bytes,omitempty"`
	// StackBytes is memory used for the stacks of goroutines (or of whatever
	// each connection has).
	StackBytes *int64 `json:"stack_bytes,omitempty"`
	// Goroutines is the number of goroutines, or of their equivalent.
	Goroutines *int64 `json:"goroutines,omitempty"`
	// GCCycles counts garbage collections.
	GCCycles *int64 `json:"gc_cycles,omitempty" grows:"true"`
	// GCPauseSeconds is the time during which a collection had stopped the program.
	GCPauseSeconds *float64 `json:"gc_pause_seconds,omitempty" grows:"true"`
	// GCCPUSeconds is the CPU time that went into collections; it is part of
	// UserSeconds and SystemSeconds.
	GCCPUSeconds *float64 `json:"gc_cpu_seconds,omitempty" grows:"true"`
	// UserSeconds and SystemSeconds are the CPU time of the process, from
	// getrusage(2).
	UserSeconds   *float64 `json:"user_seconds,omitempty" grows:"true"`
	SystemSeconds *float64 `json:"system_seconds,omitempty" grows:"true"`
}

// mostOfAnything is more than any server has of bytes, connections or seconds.
const mostOfAnything = 1e15

// ParseStats reads the line that answers a question, or returns an error that says what
// is wrong with it.
func ParseStats(line string) (Stats, error) {
	var s Stats
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		return s, fmt.Errorf("not the JSON of the contract: %w", err)
	}
	var given struct{ Connections *json.RawMessage }
	if json.Unmarshal([]byte(line), &given) != nil || given.Connections == nil {
		return s, errors.New("connections is missing")
	}
	for _, f := range s.figures() {
		switch {
		case f.value < 0:
			return s, fmt.Errorf("%s is %g: no figure is negative", f.name, f.value)
		case f.value > mostOfAnything:
			return s, fmt.Errorf("%s is %g: no server has so much", f.name, f.value)
		}
	}
	return s, nil
}

// Follows says what shows that s is no later answer of the process that has answered
// before; nil if nothing does.
func (s Stats) Follows(before Stats) error {
	earlier := map[string]float64{}
	for _, f := range before.figures() {
		earlier[f.name] = f.value
	}
	for _, f := range s.figures() {
		if then, known := earlier[f.name]; known && f.grows && f.value < then {
			return fmt.Errorf("%s fell from %g to %g: it counts since the start", f.name, then, f.value)
		}
	}
	return nil
}

// figure is one that a server has given.
type figure struct {
	name  string
	value float64
	grows bool
}

func (s Stats) figures() (list []figure) {
	value := reflect.ValueOf(s)
	for i := range value.NumField() {
		field := value.Type().Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		number := math.NaN()
		switch v := value.Field(i).Interface().(type) {
		case int64:
			number = float64(v)
		case *int64:
			if v != nil {
				number = float64(*v)
			}
		case *float64:
			if v != nil {
				number = *v
			}
		}
		if !math.IsNaN(number) {
			list = append(list, figure{name, number, field.Tag.Get("grows") != ""})
		}
	}
	return list
}
