package attach

import (
	"net/netip"
	"testing"

	"connbench/harness/agent"
	"connbench/harness/limits"
)

// The limits of a server are those of its processes that accept: not of a master that only
// hands its listener on, nor of what they have started.
func TestRunningOf(t *testing.T) {
	listens := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:80")}
	process := func(pid, parent int, accepts bool, soft, used int64) agent.Watched {
		w := agent.Watched{PID: pid, Parent: parent, OpenFilesSoft: &soft, OpenFilesHard: new(int64(9999)), Descriptors: &used, Unit: "chat.service"}
		if accepts {
			w.Listens, w.Backlogs = listens, []int64{511}
		}
		return w
	}
	for name, test := range map[string]struct {
		watched []agent.Watched
		want    limits.Running
	}{
		"one": {
			[]agent.Watched{process(7, 1, true, 1024, 12)},
			limits.Running{PID: 7, Processes: 1, OpenFiles: 1024, HardOpenFiles: 9999, Descriptors: 12, Unit: "chat.service", Backlog: 511},
		},
		"a master and its workers, one nearly full": {
			[]agent.Watched{process(7, 1, true, 1024, 1023), process(8, 7, true, 1024, 12), process(9, 7, true, 1024, 900), process(10, 9, false, 1024, 1020)},
			limits.Running{PID: 9, Processes: 2, OpenFiles: 1024, HardOpenFiles: 9999, Descriptors: 900, Unit: "chat.service", Backlog: 511},
		},
		"none is known to accept": {
			[]agent.Watched{process(7, 1, false, 100, 12)},
			limits.Running{PID: 7, Processes: 1, OpenFiles: 100, HardOpenFiles: 9999, Descriptors: 12, Unit: "chat.service"},
		},
	} {
		if got := runningOf(test.watched); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
