package namespaces

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"connbench/harness/agent"
	"connbench/harness/explain"
)

// Running is a network that has been made, with an agent on each host.
type Running struct {
	// Agents are in the order of [Network.Hosts].
	Agents []*agent.Client

	maker *exec.Cmd
	said  bytes.Buffer // on its standard error
}

const (
	// ready is what the maker says when the network is there.
	ready = "ready\n"
	// hintMark begins the line in which it says what to do about its error.
	hintMark = "hint: "
)

// Start makes the network n. command must run [Serve]: that process, the maker,
// may do what takes root even where this one may not, in a user namespace.
func Start(command []string, n Network) (*Running, error) {
	r := &Running{}
	ends, err := r.attach(n.Hosts())
	var output io.Reader
	if err == nil {
		output, err = r.startMaker(command, n, ends)
	}
	for _, end := range ends {
		end.Close()
	}
	if err == nil {
		err = r.awaitReady(output)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// attach makes three pipes for each host's agent. It returns the agents' ends of
// them, standard input, output and error one host after the other.
func (r *Running) attach(hosts []Host) (theirs []*os.File, err error) {
	for _, host := range hosts {
		var read, write [3]*os.File
		for i := range read {
			if read[i], write[i], err = os.Pipe(); err != nil {
				return theirs, err
			}
		}
		theirs = append(theirs, read[0], write[1], write[2])
		r.Agents = append(r.Agents, agent.Attach(host.Name, write[0], read[1], read[2]))
	}
	return theirs, nil
}

// startMaker starts the maker in a network namespace of its own, and where this
// process may not make one, in a user namespace in which it may.
func (r *Running) startMaker(command []string, n Network, ends []*os.File) (output io.Reader, err error) {
	plan, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	attributes := &syscall.SysProcAttr{
		Setpgid:    true, // Ctrl-C is not for the agents either
		Cloneflags: syscall.CLONE_NEWNET,
	}
	output, err = r.startWith(attributes, command, plan, ends)
	if errors.Is(err, syscall.EPERM) {
		attributes.Cloneflags |= syscall.CLONE_NEWUSER
		attributes.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attributes.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		output, err = r.startWith(attributes, command, plan, ends)
	}
	if err != nil {
		return nil, advise("no namespace can be made", err)
	}
	return output, nil
}

func (r *Running) startWith(attributes *syscall.SysProcAttr, command []string, plan []byte, ends []*os.File) (io.Reader, error) {
	maker := exec.Command(command[0], command[1:]...)
	maker.Stdin = bytes.NewReader(plan)
	maker.Stderr = &r.said
	maker.ExtraFiles = ends
	maker.SysProcAttr = attributes
	output, err := maker.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := maker.Start(); err != nil {
		return nil, err
	}
	r.maker = maker
	return output, nil
}

// awaitReady reads the maker's only line.
func (r *Running) awaitReady(output io.Reader) error {
	if line, _ := bufio.NewReader(output).ReadString('\n'); line == ready {
		return nil
	}
	err := r.maker.Wait() // it has ended: said is complete
	r.maker = nil
	lines := strings.Split(strings.TrimSpace(r.said.String()), "\n")
	last := len(lines) - 1
	hint, hinted := strings.CutPrefix(lines[last], hintMark)
	if hinted && last > 0 {
		last--
	}
	if lines[last] != "" {
		err := errors.New(lines[last])
		if hinted {
			err = explain.Hint(err, "%s", hint)
		}
		return err
	}
	return fmt.Errorf("the maker of the network ended early: %w", err)
}

// Close ends the agents, and with the last of them the maker and the network.
func (r *Running) Close() {
	var all sync.WaitGroup
	for _, a := range r.Agents {
		all.Go(func() { a.Close() })
	}
	all.Wait()
	if r.maker == nil {
		return
	}
	// It ends by itself, unless an agent hangs: that dies with it.
	kill := time.AfterFunc(10*time.Second, func() { r.maker.Process.Kill() })
	r.maker.Wait()
	kill.Stop()
}

// advise adds to what the kernel said of an attempt what to do about it.
func advise(attempt string, err error) error {
	err = fmt.Errorf("lab netns: %s: %w", attempt, err)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC): // the latter beyond user.max_user_namespaces
		return explain.Hint(err, "run it as root, or allow user namespaces to everybody (sysctl user.max_user_namespaces, and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0); LAB=local with ENGINE=socket needs neither")
	case errors.Is(err, syscall.EOPNOTSUPP):
		return explain.Hint(err, "the kernel lacks something: modprobe veth bridge; LAB=local with ENGINE=socket needs neither")
	case errors.Is(err, syscall.EROFS):
		return explain.Hint(err, "mount /proc so that it can be written to, or use LAB=local with ENGINE=socket")
	}
	return err
}
