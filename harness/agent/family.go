package agent

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

// A process may start others and move them to sessions of their own, where its group
// does not reach them. Two things find them all the same: the agent is the reaper of
// its descendants (prctl(2), PR_SET_CHILD_SUBREAPER), so that whoever loses its parent
// becomes the agent's child; and a variable in the environment, which is inherited,
// says which process it comes from.

// markName is that variable. Its value is the agent's identity, a colon and the number
// of the process.
const markName = "CONNBENCH_STARTED_BY"

// identify names this agent among all that ever ran on this kernel: by its namespace
// of process numbers, its number there, and the time of its start.
func identify() (string, error) {
	namespace, err := ownNamespace()
	if err != nil {
		return "", err
	}
	pid, err := os.Readlink("/proc/self")
	if err != nil {
		return "", err
	}
	own, err := readStat(pid)
	return strings.Join([]string{namespace, pid, own.started}, "-"), err
}

func ownNamespace() (string, error) {
	link, err := os.Readlink("/proc/self/ns/pid") // pid:[4026531836]
	return strings.Trim(link, "pid:[]"), err
}

// isGone tells whether the agent of an identity has ended. Of those in other
// namespaces we cannot know.
func isGone(identity string) bool {
	parts := strings.Split(identity, "-")
	if namespace, err := ownNamespace(); err != nil || len(parts) != 3 || parts[0] != namespace {
		return false
	}
	agent, err := readStat(parts[1])
	return err != nil || agent.started != parts[2] || agent.state == zombie
}

// stat is what we need of /proc/PID/stat (proc_pid_stat(5)).
type stat struct {
	name                   string
	state                  byte
	parent, group, session string
	started                string // in clock ticks since the kernel was
}

const zombie = 'Z'

func readStat(pid string) (stat, error) {
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name stands in brackets, and may hold any itself.
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

// markOf is the mark of a process, "" if it has none, or we may not see it.
func markOf(pid string) string {
	environment, _ := os.ReadFile(filepath.Join("/proc", pid, "environ"))
	for setting := range bytes.SplitSeq(environment, []byte{0}) {
		if value, ok := bytes.CutPrefix(setting, []byte(markName+"=")); ok {
			return string(value)
		}
	}
	return ""
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
		if s, err := readStat(pid); err == nil && s.parent == own {
			pids = append(pids, pid)
		}
	}
	return pids
}

// strayPatience bounds how long we try to end what a process has left.
const strayPatience = 5 * time.Second

// endStrays ends whatever the process c, which has ended, has started and left behind.
// It returns their names.
func (s *server) endStrays(c *child) (names []string) {
	named := map[int]bool{}
	for deadline := time.Now().Add(strayPatience); ; time.Sleep(5 * time.Millisecond) {
		strays := s.strays(c)
		for pid, name := range strays {
			if !named[pid] {
				named[pid] = true
				names = append(names, name)
			}
			syscall.Kill(pid, syscall.SIGKILL)
		}
		c.kill()
		if len(strays) == 0 || time.Now().After(deadline) {
			slices.Sort(names)
			return names
		}
	}
}

// strays are the names, by number, of processes that have lost their parent and come
// from c. It reaps those that have ended.
func (s *server) strays(c *child) map[int]string {
	s.lock.Lock() // while a process is being started, nobody knows it yet
	defer s.lock.Unlock()
	own := map[int]bool{}
	alone := true // an unmarked one can come from no other process
	for _, other := range s.processes {
		own[other.pid()] = other != c
		alone = alone && (other == c || other.hasExited())
	}
	leader := strconv.Itoa(c.pid())
	found := map[int]string{}
	for _, text := range children() {
		pid, err := strconv.Atoi(text)
		if err != nil || own[pid] {
			continue
		}
		stray, err := readStat(text)
		if err != nil {
			continue
		}
		if stray.state == zombie {
			unix.Wait4(pid, nil, unix.WNOHANG, nil)
			continue
		}
		mark := markOf(text)
		if mark == c.mark || stray.group == leader || stray.session == leader || mark == "" && alone {
			found[pid] = stray.name
		}
	}
	return found
}

// sweep kills what agents that were killed have left behind on this host.
func sweep() {
	for _, pid := range everybody() {
		identity, _, marked := strings.Cut(markOf(pid), ":")
		if number, err := strconv.Atoi(pid); err == nil && marked && isGone(identity) {
			syscall.Kill(number, syscall.SIGKILL)
		}
	}
}
