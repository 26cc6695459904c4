package agent

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"connbench/harness/agent/children"
	"connbench/harness/probe"
)

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// Whatever an agent says, its client ends with it, and everything that waits.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(`{"id":1,"with":{"process":3,"pid":7}}` + "\n" + `{"process":3,"line":"x"}` + "\n" + `{"process":3,"exit":{"status":0}}`))
	f.Add([]byte(`{"process":1,"line":"x"}` + "\n" + `{"process":1,"exit":{"status":-1,"left":["sleep"]}}` + "\n" + `{"process":1,"line":"y"}`))
	f.Add([]byte("Welcome\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := &Client{
			name: "fuzz", silence: time.Hour, stdin: discard{io.Discard},
			stdout: io.NopCloser(bytes.NewReader(text)), stderr: io.NopCloser(strings.NewReader("")),
			requests: json.NewEncoder(io.Discard), waiting: map[int64]chan message{1: make(chan message, 1)},
			processes: map[int]*Process{}, orphans: map[int][]message{}, gone: make(chan struct{}),
		}
		p := &Process{id: 1, client: c, lines: make(chan string, mostLines), exited: make(chan struct{})}
		c.processes[1] = p
		waiting := c.waiting[1]
		c.receive()
		if c.Lost() == nil || !p.hasExited() {
			t.Fatalf("lost: %v, exited: %v", c.Lost(), p.hasExited())
		}
		<-waiting // its reply, or its end
	})
}

// Whatever a harness asks, it is answered. What starts processes, writes files or
// connects is left out.
func FuzzRequests(f *testing.F) {
	f.Add([]byte(`{"id":1,"do":"measure","with":{"processes":[1],"detail":true}}`))
	f.Add([]byte(`{"id":2,"do":"write","with":{"process":1,"line":"x"}}`))
	f.Add([]byte(`{"id":3,"do":"kill","with":{"process":-1,"fault":"x"}}`))
	f.Add([]byte(`{"id":4,"do":"host","with":{"name":"x"}}`))
	f.Add([]byte(`{"id":5,"do":"dance"}`))
	reader, err := probe.Open()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r request
		if json.Unmarshal(text, &r) != nil {
			return
		}
		switch r.Do {
		case starting.name, bringing.name, finding.name, listening.name, connecting.name, spinning.name, looking.name:
			return
		}
		var said bytes.Buffer
		s := &server{reader: reader, out: json.NewEncoder(&said), children: &children.Set{}, carried: map[string]bool{}}
		s.answer(r)
		var m message
		if err := json.Unmarshal(said.Bytes(), &m); err != nil || m.ID != r.ID {
			t.Fatalf("%s is answered by %s: %v", text, said.Bytes(), err)
		}
	})
}
