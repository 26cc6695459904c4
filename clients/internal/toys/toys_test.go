// Package toys shows what it takes to add a load, a pacing, a protocol or a security
// layer to the swarm: one small type each, here in a file of a test.
package toys

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"connbench/clients/control"
	"connbench/clients/internal/coordinator"
	"connbench/clients/internal/peer"
	"connbench/clients/internal/swarmtest"
	"connbench/clients/internal/worker"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == swarmtest.Argument:
		err = coordinator.Coordinate(os.Stdin, os.Stdout)
	case len(os.Args) == 2 && os.Args[1] == worker.Argument:
		err = worker.Main()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A swarm of several processes opens its connections by the toy protocol, over the
// toy security layer, and its connections greet as the toy load says, at the toy
// pacing. What the peer saw is what comes back.
func TestToys(t *testing.T) {
	const connections, rounds = 12, 3
	var opened, greeted atomic.Int64
	server := peer.Start(t, "127.0.0.1", func(_ int, c *peer.Conn) {
		lines := bufio.NewScanner(secret{c})
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "HELLO":
				opened.Add(1)
				fmt.Fprintln(secret{c}, "WELCOME")
			case line == "BYE":
				fmt.Fprintln(secret{c}, "BYE")
			default:
				greeted.Add(1)
				if p, err := hex.DecodeString(line); err != nil || len(p) != 9 {
					t.Errorf("message %q", line)
				}
				fmt.Fprintln(secret{c}, line)
			}
		}
	})
	s := swarmtest.Start(t)
	config := swarmtest.Configuration(connections, server.Address)
	config.Protocol, config.Security, config.Processes = "lines", "reversed bits", 3
	s.Do(control.Command{Op: control.OpConfigure, Config: config})
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "ramp", Connections: connections, RatePerSecond: 1000, Pacing: bursts(5)}),
		control.Result{Open: connections, Opened: connections})

	got := s.Do(control.Command{
		Op: "greet", PayloadBytes: 9, RatePerSecond: 1000, Pacing: bursts(4), Options: json.RawMessage(fmt.Sprintf(`{"rounds":%d}`, rounds)),
	})
	const all = connections * rounds
	swarmtest.ExpectCounts(t, got, control.Result{
		Open: connections, Offered: all, Sent: all, Delivered: all,
		Counts: map[string]int64{"greetings": all, "greeters": connections},
	})
	if opened.Load() != connections || greeted.Load() != all {
		t.Errorf("the peer saw %d connections and %d greetings", opened.Load(), greeted.Load())
	}
	// The built-in loads work over the toys, too.
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "census", PayloadBytes: 9}),
		control.Result{Open: connections, Offered: connections, Sent: connections, Delivered: connections})
	swarmtest.ExpectCounts(t, s.Do(control.Command{Op: "close"}), control.Result{Closed: connections})
}

func bursts(size int) *control.Pacing {
	return &control.Pacing{Name: "bursts", Options: json.RawMessage(fmt.Sprintf(`{"size":%d}`, size))}
}

// What is wrong with the options of a load or pacing, or with what a protocol cannot
// do, is said before anything is done.
func TestToysAreChecked(t *testing.T) {
	s := swarmtest.Start(t)
	config := swarmtest.Configuration(4, "127.0.0.1:9")
	for _, c := range []struct{ protocol, security, want string }{
		{"smoke", "none", `configure: unknown protocol "smoke"; there are: http, lines, tcp, websocket`},
		{"lines", "smoke", `configure: unknown security layer "smoke"; there are: none, reversed bits, tls`},
		{"lines", "", ""},
	} {
		config.Protocol, config.Security = c.protocol, c.security
		s.Send(control.Command{Op: control.OpConfigure, Config: config})
		if event := s.Last(); event.Error != c.want {
			t.Errorf("%+v: %+v", c, event)
		}
	}
	greet := control.Command{Op: "greet", RatePerSecond: 1, TimeoutSeconds: 1}
	for _, c := range []struct {
		change func(*control.Command)
		want   string
	}{
		{func(c *control.Command) { c.Options = json.RawMessage(`{"round":3}`) }, `greet: options {"round":3}: json: unknown field "round"`},
		{func(c *control.Command) { c.Pacing = &control.Pacing{Name: "random"} }, `greet: pacing: unknown pacing "random"; there are: bursts, constant`},
		{func(c *control.Command) { c.Pacing = bursts(0) }, `greet: pacing: size must be positive`},
		{func(c *control.Command) { c.Op, c.Seconds = "ping", 1 }, "ping: the protocol has no pings"},
	} {
		command := greet
		c.change(&command)
		s.Send(command)
		if event := s.Last(); event.Kind != control.KindError || !strings.Contains(event.Error, c.want) {
			t.Errorf("%+v: %+v; want %s", command, event, c.want)
		}
	}
}
