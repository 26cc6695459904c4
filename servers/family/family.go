// Package family finds the processes that a process has started, whichever group and
// session they moved to.
//
// Two things find them. Whoever starts a process puts a mark into its environment, which
// is inherited. And it is the reaper of its descendants (prctl(2),
// PR_SET_CHILD_SUBREAPER), so that a process that loses its parent becomes its child.
package family

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Adopt makes this process the parent of every descendant that loses its own.
func Adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// variable is that of the marks.
const variable = "CONNBENCH_STARTED_BY"

// Founder is a process that starts others, among all that ever ran on this kernel: its
// namespace of process numbers, its number there, and the time of its start.
type Founder string

// Self is this process.
func Self() (Founder, error) {
	namespace, err := ownNamespace()
	if err != nil {
		return "", err
	}
	pid, err := os.Readlink("/proc/self")
	if err != nil {
		return "", err
	}
	own, err := read(pid)
	return Founder(strings.Join([]string{namespace, pid, own.started}, "-")), err
}

func ownNamespace() (string, error) {
	link, err := os.Readlink("/proc/self/ns/pid") // pid:[4026531836]
	return strings.Trim(link, "pid:[]"), err
}

// gone tells whether the founder has ended. Of those in other namespaces nobody knows.
func (f Founder) gone() bool {
	parts := strings.Split(string(f), "-")
	if namespace, err := ownNamespace(); err != nil || len(parts) != 3 || parts[0] != namespace {
		return false
	}
	own, err := read(parts[1])
	return err != nil || own.started != parts[2] || own.state == zombie
}

// Mark is that of a founder's process number n, and of all that come from it.
func (f Founder) Mark(n int) Mark { return Mark(fmt.Sprintf("%s:%d", f, n)) }

// Mark marks a process and those that come from it.
type Mark string

// Setting is what the environment of the process must hold.
func (m Mark) Setting() string { return variable + "=" + string(m) }

// markOf is the mark of a process, "" if it has none, or we may not see it.
func markOf(pid string) Mark {
	environment, _ := os.ReadFile(filepath.Join("/proc", pid, "environ"))
	for setting := range bytes.SplitSeq(environment, []byte{0}) {
		if value, ok := bytes.CutPrefix(setting, []byte(variable+"=")); ok {
			return Mark(value)
		}
	}
	return ""
}

// stat is what we need of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	name                   string
	state                  byte
	parent, group, session string
	started                string // in clock ticks since the kernel was
}

const zombie = 'Z'

func read(pid string) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name is in brackets, and may hold any itself.
	begin, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if begin < 0 || len(fields) < 20 {
		return stat{}, fmt.Errorf("/proc/%s/stat: %q", pid, text)
	}
	return stat{
		name: string(text[begin+1 : end]), state: fields[0][0],
		parent: fields[1], group: fields[2], session: fields[3], started: fields[19],
	}, nil
}

// everybody lists the processes of the host.
func everybody() (pids []string) {
	paths, _ := filepath.Glob("/proc/[0-9]*") // the pattern is sound
	for _, path := range paths {
		pids = append(pids, filepath.Base(path))
	}
	return pids
}

// children lists the processes whose parent this one is.
func children() (pids []string) {
	lists, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is sound
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		pids = append(pids, strings.Fields(string(text))...)
	}
	if len(lists) > 0 {
		return pids
	}
	// The kernel does not list them (CONFIG_PROC_CHILDREN).
	own, _ := os.Readlink("/proc/self")
	for _, pid := range everybody() {
		if s, err := read(pid); err == nil && s.parent == own {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Tree is the children of each process of the host, at one moment.
type Tree map[string][]string

// Snapshot reads a file of every process of the host.
func Snapshot() Tree {
	t := Tree{}
	for _, child := range everybody() {
		if s, err := read(child); err == nil { // or it has ended
			t[s.parent] = append(t[s.parent], child)
		}
	}
	return t
}

// Descendants lists the processes that pid started, and those that they started, in no
// particular order.
func (t Tree) Descendants(pid int) (found []int) {
	for next := t[strconv.Itoa(pid)]; len(next) > 0; next = next[1:] {
		if number, err := strconv.Atoi(next[0]); err == nil {
			found = append(found, number)
		}
		next = append(next, t[next[0]]...)
	}
	return found
}

// Descendants lists those of a [Snapshot].
func Descendants(pid int) []int { return Snapshot().Descendants(pid) }

// Stray is a process that has lost its parent.
type Stray struct {
	PID  int
	Name string
	// Ended is true where it waits to be reaped.
	Ended bool
	// Marked says by its mark whom it comes from; "" where it has none.
	Marked Mark

	group, session int
}

// From tells whether the stray comes from a process with a mark, which led a group.
func (s Stray) From(m Mark, leader int) bool {
	return m != "" && s.Marked == m || s.group == leader || s.session == leader
}

// Strays lists the children of this process that known does not know.
func Strays(known func(pid int) bool) (list []Stray) {
	for _, text := range children() {
		pid, err := strconv.Atoi(text)
		if err != nil || known(pid) {
			continue
		}
		own, err := read(text)
		if err != nil {
			continue
		}
		s := Stray{PID: pid, Name: own.name, Ended: own.state == zombie, Marked: markOf(text)}
		s.group, _ = strconv.Atoi(own.group)
		s.session, _ = strconv.Atoi(own.session)
		list = append(list, s)
	}
	return list
}

// patience bounds how long End tries.
const patience = 5 * time.Second

// End kills what find finds, and reaps it, until it finds nothing: whoever is killed
// may leave others. It returns the names of those that ran.
func End(find func() []Stray) (names []string) {
	named := map[int]bool{}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		strays := find()
		for _, s := range strays {
			if !s.Ended && !named[s.PID] {
				named[s.PID] = true
				names = append(names, s.Name)
			}
			syscall.Kill(s.PID, syscall.SIGKILL)
			unix.Wait4(s.PID, nil, unix.WNOHANG, nil)
		}
		if len(strays) == 0 || time.Now().After(deadline) {
			slices.Sort(names)
			return names
		}
	}
}

// Sweep kills the processes on this host whose founder has ended without them.
func Sweep() {
	for _, pid := range everybody() {
		founder, _, marked := strings.Cut(string(markOf(pid)), ":")
		if number, err := strconv.Atoi(pid); err == nil && marked && Founder(founder).gone() {
			syscall.Kill(number, syscall.SIGKILL)
		}
	}
}
