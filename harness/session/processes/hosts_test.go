package processes

import (
	"errors"
	"slices"
	"testing"

	"connbench/harness/agent"
	"connbench/harness/reading"
)

// The processes of all hosts are one server's, and one kernel counts once. A host that cannot
// be read is an error.
func TestHostsOfAServerTogether(t *testing.T) {
	read := func(i int) (agent.Measurement, error) {
		return agent.Measurement{
			System:    reading.System{Sockets: reading.Sockets{Allocated: new(int64(10 * (i + 1)))}},
			Processes: []reading.Process{{PID: i + 1}},
		}, nil
	}
	places := []reading.Place{{Kernel: "a"}, {Kernel: "a"}, {Kernel: "b"}}
	m, err := together(places, read)
	var pids []int
	for _, p := range m.Processes {
		pids = append(pids, p.PID)
	}
	if err != nil || !slices.Equal(pids, []int{1, 2, 3}) || *m.System.Sockets.Allocated != 10+30 {
		t.Errorf("processes %v, %d sockets, error %v", pids, *m.System.Sockets.Allocated, err)
	}
	gone := errors.New("host server-chat-2: gone")
	_, err = together(places, func(i int) (agent.Measurement, error) {
		if i == 1 {
			return agent.Measurement{}, gone
		}
		return read(i)
	})
	if !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
}
