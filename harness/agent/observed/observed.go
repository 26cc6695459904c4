// Package observed reads the processes of a server that somebody else has started, over time.
package observed

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/procfs"

	"connbench/harness/explain"
	"connbench/harness/probe"
	"connbench/harness/probe/sockdiag"
	"connbench/harness/probe/target"
	"connbench/harness/reading"
	"connbench/servers/family"
)

// Watched is one process of a target.
type Watched struct {
	PID    int `json:"pid"`
	Parent int `json:"parent"`
	// Name is the command's name, Command its command line, shortened.
	Name    string `json:"name"`
	Command string `json:"command"`
	// OpenFilesSoft and OpenFilesHard are its RLIMIT_NOFILE, [math.MaxInt64] for no limit;
	// Descriptors is how many it has open. They are nil where they may not be read.
	OpenFilesSoft *int64 `json:"open_files_soft"`
	OpenFilesHard *int64 `json:"open_files_hard"`
	Descriptors   *int64 `json:"descriptors"`
	// Group is its control group, Unit the systemd unit that it belongs to, "" for none.
	Group string `json:"group"`
	Unit  string `json:"unit"`
	// Listens are the addresses that it listens on, Backlogs the lengths of their accept
	// queues.
	Listens  []netip.AddrPort `json:"listens"`
	Backlogs []int64          `json:"backlogs"`
}

// Set is what is kept of the targets that are observed. The zero value is an empty set.
type Set struct {
	lock    sync.Mutex
	targets map[string]*observation
}

// observation is one target over time.
type observation struct {
	// listening are the processes that a target of listeners has been resolved to: to look
	// for them takes long.
	listening []int
	// family are a started process and its descendants, as of the last detailed reading.
	family []int
	// last is the last reading of each process. Of those that have ended, ended is the sum.
	last  map[int]reading.Process
	ended *reading.Process
}

// Find returns the processes of a target, those that the others descend from first. The error
// says if there is none.
func Find(t target.Target) ([]Watched, error) {
	proc, pids, err := processesOf(t)
	if err != nil {
		return nil, err
	}
	var found []Watched
	for _, pid := range pids {
		if w, err := watched(proc, pid); err == nil { // or it has ended
			found = append(found, w)
		}
	}
	return found, listenersOf(proc, found)
}

// Read reads the processes of a target. What ended processes have used stays in the sums:
// they are one entry, with PID 0. The first process is the one whose control groups matter.
func (s *Set) Read(reader *probe.Reader, t target.Target, level probe.Level) ([]reading.Process, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	o := s.observation(t.String())
	pids, err := o.resolve(t)
	if err != nil {
		return nil, err
	}
	return o.read(reader, pids, level)
}

// ReadFamily reads the process pid, which the agent has started as number, and then its
// descendants, as Read does. A light reading takes those of the detailed one before it, since
// a snapshot takes long.
func (s *Set) ReadFamily(reader *probe.Reader, number, pid int, snapshot func() family.Tree, level probe.Level) ([]reading.Process, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	o := s.observation(fmt.Sprintf("started process %d", number))
	if level == probe.Detail || o.family == nil {
		o.family = append([]int{pid}, snapshot().Descendants(pid)...)
	}
	list, err := o.read(reader, o.family, level)
	if err == nil && list[0].PID != pid {
		err = fmt.Errorf("process %d: %w", pid, probe.ErrEnded)
	}
	return list, err
}

// observation returns what is kept of a target, given by its name. s.lock is held.
func (s *Set) observation(name string) *observation {
	if s.targets == nil {
		s.targets = map[string]*observation{}
	}
	o := s.targets[name]
	if o == nil {
		o = &observation{last: map[int]reading.Process{}}
		s.targets[name] = o
	}
	return o
}

// processesOf resolves a target.
func processesOf(t target.Target) (procfs.FS, []int, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return proc, nil, err
	}
	table, err := target.Read(proc, os.Getpid())
	if err != nil {
		return proc, nil, err
	}
	pids, err := table.Select(t, func(addresses []netip.AddrPort) ([]int, error) {
		listeners, err := sockdiag.Listeners()
		if err != nil {
			return nil, err
		}
		var inodes []uint32
		for _, l := range listeners {
			if slices.ContainsFunc(addresses, func(a netip.AddrPort) bool { return accepts(l.Address, a) }) {
				inodes = append(inodes, l.Inode)
			}
		}
		if len(inodes) == 0 {
			return nil, explain.Hint(fmt.Errorf("nothing listens on %s", addresses[0]), "start the server first")
		}
		return table.Owners(inodes)
	})
	return proc, pids, err
}

// accepts says whether a listener takes connections to an address. One on all addresses of
// IPv6 usually takes those to IPv4 as well.
func accepts(listener, address netip.AddrPort) bool {
	return listener.Port() == address.Port() && (listener.Addr() == address.Addr() || listener.Addr().IsUnspecified() &&
		(listener.Addr().Is6() || address.Addr().Is4()))
}

// watched reads what a process is and may.
func watched(proc procfs.FS, pid int) (w Watched, err error) {
	process, err := proc.Proc(pid)
	if err != nil {
		return w, err
	}
	stat, err := process.Stat()
	if err != nil {
		return w, err
	}
	w.PID, w.Parent, w.Name = pid, stat.PPID, stat.Comm
	const longest = 200
	words, _ := process.CmdLine() // a kernel thread has none
	if w.Command = strings.Join(words, " "); len(w.Command) > longest {
		w.Command = strings.ToValidUTF8(w.Command[:longest], "") + "…"
	}
	if soft, hard, err := openFiles(pid); err == nil {
		w.OpenFilesSoft, w.OpenFilesHard = &soft, &hard
	}
	if n, err := process.FileDescriptorsLen(); err == nil {
		w.Descriptors = new(int64(n))
	}
	groups, _ := process.Cgroups() // a kernel without them has none
	for _, group := range groups {
		if group.HierarchyID == 0 || slices.Contains(group.Controllers, "memory") || w.Group == "" {
			w.Group = group.Path
		}
		if last := path.Base(group.Path); strings.HasSuffix(last, ".service") {
			w.Unit = last
		}
	}
	return w, nil
}

// openFiles reads the RLIMIT_NOFILE of a process (proc_pid_limits(5)).
func openFiles(pid int) (soft, hard int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		rest, is := strings.CutPrefix(line, "Max open files")
		if fields := strings.Fields(rest); is && len(fields) >= 2 {
			return limitOf(fields[0]), limitOf(fields[1]), nil
		}
	}
	return 0, 0, errors.New("no limit of open files")
}

func limitOf(text string) int64 {
	var n int64
	if _, err := fmt.Sscan(text, &n); err != nil {
		return math.MaxInt64 // "unlimited"
	}
	return n
}

// listenersOf adds the addresses that processes listen on, each in its own network namespace.
func listenersOf(proc procfs.FS, found []Watched) error {
	for i := range found {
		w := &found[i]
		process, err := proc.Proc(w.PID)
		if err != nil {
			continue
		}
		files, err := process.FileDescriptorTargets()
		if err != nil {
			continue
		}
		var listeners []sockdiag.Listener
		err = sockdiag.Inside(w.PID, func() (err error) {
			listeners, err = sockdiag.Listeners()
			return err
		})
		if err != nil {
			return fmt.Errorf("the listeners of process %d: %w", w.PID, err)
		}
		for _, l := range listeners {
			if slices.Contains(files, fmt.Sprintf("socket:[%d]", l.Inode)) {
				w.Listens, w.Backlogs = append(w.Listens, l.Address), append(w.Backlogs, l.Backlog)
			}
		}
	}
	return nil
}

// resolve returns the processes of a target now.
func (o *observation) resolve(t target.Target) ([]int, error) {
	if len(t.Listeners) > 0 && len(o.listening) > 0 {
		if _, pids, err := processesOf(target.Target{PIDs: o.listening}); err == nil {
			return pids, nil
		}
	}
	_, pids, err := processesOf(t)
	if len(t.Listeners) > 0 && err == nil {
		o.listening = pids[:1]
	}
	return pids, err
}

// read reads processes, and adds what those of the last reading had used that have ended.
func (o *observation) read(reader *probe.Reader, pids []int, level probe.Level) (list []reading.Process, err error) {
	now := map[int]reading.Process{}
	for _, pid := range pids {
		p, err := reader.Process(pid, level)
		if errors.Is(err, probe.ErrEnded) {
			continue
		}
		if err != nil {
			return nil, err
		}
		now[pid] = p
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, probe.ErrEnded
	}
	for pid, p := range o.last {
		if _, lives := now[pid]; !lives {
			o.ended = used(o.ended, p)
		}
	}
	for pid, p := range now {
		if level == probe.Light { // which does not know all
			if before, known := o.last[pid]; known {
				before.CPUSeconds = p.CPUSeconds
				p = before
			}
		}
		o.last[pid] = p
	}
	for pid := range o.last {
		if _, lives := now[pid]; !lives {
			delete(o.last, pid)
		}
	}
	if o.ended != nil {
		list = append(list, *o.ended)
	}
	return list, nil
}

// used adds what an ended process has used to sum, which is nil at first. It holds nothing
// any more.
func used(sum *reading.Process, p reading.Process) *reading.Process {
	none := new(int64(0))
	if sum == nil {
		sum = &reading.Process{
			RSSBytes: none, PSSBytes: none, Threads: none, Descriptors: none,
			CPUSeconds: new(0.0), UserSeconds: new(0.0), SystemSeconds: new(0.0), RunDelaySeconds: new(0.0),
			VoluntarySwitches: none, InvoluntarySwitches: none, UserInstructions: none,
		}
	}
	sum.CPUSeconds = more(sum.CPUSeconds, p.CPUSeconds)
	sum.UserSeconds = more(sum.UserSeconds, p.UserSeconds)
	sum.SystemSeconds = more(sum.SystemSeconds, p.SystemSeconds)
	sum.RunDelaySeconds = more(sum.RunDelaySeconds, p.RunDelaySeconds)
	sum.VoluntarySwitches = more(sum.VoluntarySwitches, p.VoluntarySwitches)
	sum.InvoluntarySwitches = more(sum.InvoluntarySwitches, p.InvoluntarySwitches)
	sum.UserInstructions = more(sum.UserInstructions, p.UserInstructions)
	return sum
}

// more adds what is known.
func more[T int64 | float64](sum, next *T) *T {
	if next == nil {
		return sum
	}
	return new(*sum + *next)
}
