// Package ssh reaches a host by the system's ssh client: jump hosts, keys, ports
// and host keys are as the user's configuration of ssh has them. Each host has
// one connection that all commands there share; it lives no longer than the
// process that made it.
package ssh

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"connbench/harness/lab/shell"
	"connbench/harness/subprocess"
	"connbench/harness/tail"
)

// Host says how a host is reached.
type Host struct {
	Name string
	// Target is [USER@]HOST or a name in ssh's configuration.
	Target string
	// Config is a file that ssh reads instead of the user's configuration; "" is
	// that.
	Config string
	// Sudo runs every command as root, by `sudo -n`.
	Sudo bool
}

// Connection is a host that has been reached.
type Connection struct {
	host   Host
	socket string // where the commands find the connection

	master *exec.Cmd
	said   tail.Tail       // by the master, on its standard error
	ended  <-chan struct{} // closed when the master has; why it ended, it has said
}

const (
	// connectTimeout bounds the way to the host, jump hosts and keys included.
	connectTimeout = time.Minute
	// A host that is silent for aliveSeconds × aliveCount is given up; one that
	// is merely busy, even an emulated one, answers within that.
	aliveSeconds, aliveCount = 5, 18
)

// connected is what the master says when it is ready: ssh runs LocalCommand once
// it has logged in, and after it has opened the socket for those who share.
const connected = "connected"

// Connect reaches a host. folder is private and has a short name, since the path
// of a socket has room for 108 bytes (unix(7)).
func Connect(ctx context.Context, folder string, host Host) (*Connection, error) {
	c := &Connection{host: host, socket: filepath.Join(folder, socketName(host.Name))}
	args := append(c.options(),
		"-M", "-N", "-n",
		"-o", "ControlPersist=no",
		"-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo "+connected,
		"-o", "ExitOnForwardFailure=no", "-o", "ClearAllForwardings=yes",
		"-o", fmt.Sprint("ConnectTimeout=", int(connectTimeout.Seconds())),
		"-o", fmt.Sprint("ServerAliveInterval=", aliveSeconds), "-o", fmt.Sprint("ServerAliveCountMax=", aliveCount),
		"--", host.Target)
	c.master = exec.Command("ssh", args...)
	c.master.Stderr = &c.said
	output, err := c.master.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Without a terminal, nothing on the way can ask for anything there.
	if c.ended, err = subprocess.Start(c.master, syscall.SIGTERM); err != nil {
		return nil, fmt.Errorf("host %s: %w: install OpenSSH's client", host.Name, err)
	}
	ready := make(chan bool, 1)
	go func() {
		// The user's shell runs the command, and may have something to say before.
		said := bufio.NewScanner(output)
		for said.Scan() {
			if strings.TrimSpace(said.Text()) == connected {
				ready <- true
				return
			}
		}
		ready <- false
	}()
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	select {
	case ok := <-ready:
		if ok {
			return c, nil
		}
		<-c.ended
		return nil, c.explain()
	case <-timeout.C:
		c.Close()
		return nil, fmt.Errorf("host %s: no connection within %s%s", host.Name, connectTimeout, c.tryByHand())
	case <-ctx.Done():
		c.Close()
		return nil, ctx.Err()
	}
}

// socketName is short and of plain letters, whatever the host is called.
func socketName(host string) string {
	sum := sha256.Sum256([]byte(host))
	return hex.EncodeToString(sum[:8])
}

// options are those of every ssh process.
func (c *Connection) options() []string {
	options := []string{"-S", c.socket, "-o", "BatchMode=yes", "-o", "LogLevel=INFO", "-o", "RemoteCommand=none", "-T", "-x", "-a"}
	if c.host.Config != "" {
		options = append(options, "-F", c.host.Config)
	}
	return options
}

// Shell is the way to the host over the shared connection.
func (c *Connection) Shell() shell.Host {
	via := append([]string{"ssh"}, c.options()...)
	// Where the shared connection has gone, no other may take its place.
	via = append(via, "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "--", c.host.Target)
	return shell.Host{
		Name: c.host.Name, Via: via, Joined: true, Sudo: c.host.Sudo,
		Explain: func(err error) error {
			select {
			case <-c.ended:
				return c.explain()
			default:
				return err
			}
		},
	}
}

// Close ends the connection, and with it every command that runs over it.
func (c *Connection) Close() {
	c.master.Process.Signal(syscall.SIGTERM) // it removes its socket then
	select {
	case <-c.ended:
	case <-time.After(5 * time.Second):
		c.master.Process.Kill()
		<-c.ended
	}
	os.Remove(c.socket)
}

// explain says why the connection was not made, or has ended.
func (c *Connection) explain() error {
	said := c.said.String()
	why := "its connection ended"
	if last := c.said.Line(); last != "" {
		why = last
	}
	switch {
	case strings.Contains(said, "HOST IDENTIFICATION HAS CHANGED"):
		why = "its host key is not the one that ssh knows of it: find out why before you trust the new one"
	case strings.Contains(said, "Host key verification failed"):
		why = "ssh does not know its host key, and does not ask: connect by hand once"
	case strings.Contains(said, "Permission denied"):
		why = "it refuses our key: " + c.said.Line()
	}
	return fmt.Errorf("host %s: %s%s", c.host.Name, why, c.tryByHand())
}

// tryByHand is the command that must work for all else to.
func (c *Connection) tryByHand() string {
	command := "ssh "
	if c.host.Config != "" {
		command += "-F " + c.host.Config + " "
	}
	return fmt.Sprintf(" (this must work: %s%s true)", command, c.host.Target)
}
