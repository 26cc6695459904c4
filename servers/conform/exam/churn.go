package exam

import (
	"fmt"
	"strings"
	"time"

	"connbench/servers/contract"
)

// Way is a way of dropping a connection.
type Way struct {
	Name string
	Drop func(*Conn)
}

// churnConns is how many connections are opened and dropped, as many in each way.
const churnConns = 1000

// Churn opens connections, drops them, and fails unless the server is rid of them. Some have been
// dropped in each way before, for what a server sets up on its first ones.
func (e *Exam) Churn(ways []Way) {
	s := e.Start()
	for _, way := range ways {
		c := s.Open()
		c.RoundTrip()
		way.Drop(c)
	}
	s.AwaitConnections(0)
	before := s.holds()

	conns := s.OpenSome(churnConns)
	for _, c := range conns {
		c.RoundTrip()
	}
	s.AwaitConnections(churnConns)
	for i, c := range conns {
		ways[i%len(ways)].Drop(c)
	}
	s.AwaitConnections(0)

	var names []string
	for _, way := range ways {
		names = append(names, way.Name)
	}
	e.Situation = fmt.Sprintf("%d connections are gone, %d each: %s", churnConns, churnConns/len(ways), strings.Join(names, "; "))
	s.awaitNoMore(before)
}

// Slack for what a server sets up on its first connections and keeps: pollers,
// pools of workers. A leak still shows: many connections are dropped in each way.
const (
	slackFiles     = 16
	slackGoroutine = 64
)

// poolPatience is how long a pool of goroutines may keep those that have nothing to do:
// fasthttp's ends them after 10 to 20 seconds (workerpool.go of v1.78.0).
const poolPatience = 30 * time.Second

// holdings are what a server has besides memory.
type holdings struct {
	files      int
	goroutines *int64 // nil: not every language has them
}

// holds has the server settle, and says what it has then.
func (s *Server) holds() holdings {
	return holdings{goroutines: s.Ask(contract.QuestionSettle).Goroutines, files: s.OpenFiles()}
}

// awaitNoMore waits until the server has about what it had before.
func (s *Server) awaitNoMore(before holdings) {
	var files int
	s.e.Await(func() bool {
		files = s.OpenFiles()
		return files <= before.files+slackFiles
	}, fmt.Sprintf("the server to have about the %d descriptors that it had before", before.files), func() string { return fmt.Sprint(files) })
	if before.goroutines == nil {
		return
	}
	var goroutines int64
	s.e.awaitFor(poolPatience, func() bool {
		goroutines = *s.Ask(contract.QuestionStats).Goroutines
		return goroutines <= *before.goroutines+slackGoroutine
	}, fmt.Sprintf("stats to count about the %d goroutines that there were before", *before.goroutines), func() string { return fmt.Sprint(goroutines) })
}
