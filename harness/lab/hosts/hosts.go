// Package hosts is the lab of any machines that a command reaches: ssh above all. A
// file lists them.
package hosts

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"connbench/clients/control"
	"connbench/harness/explain"
	"connbench/harness/lab"
	"connbench/harness/lab/hosts/ssh"
	"connbench/harness/lab/shell"
	"connbench/harness/record"
)

//go:embed README.md
var doc string

func init() {
	lab.Register(lab.Kind{
		Name: "hosts", File: "hosts that ssh reaches", About: "any machines that ssh, or another command, reaches",
		Doc: doc, Paper: onPaper, Open: func(_ context.Context, o lab.Options) (lab.Site, error) {
			f, err := Read(o.File)
			if err != nil {
				return nil, explain.Usage(err)
			}
			return Open(f, o)
		},
	})
}

// site is a lab whose hosts a [File] lists.
type site struct {
	options lab.Options
	// folder is ours alone, and holds the sockets of ssh's connections.
	folder string
	claim  *os.File
	hosts  []*host
}

type host struct {
	Host
	ssh        ssh.Host
	connection *ssh.Connection // nil where ssh has not reached it, or is not used
}

// Open opens the lab of a file, which must do for the engine.
func Open(f File, o lab.Options) (lab.Site, error) {
	if err := f.fits(o.Engine); err != nil {
		return nil, explain.Usage(err)
	}
	s := &site{options: o}
	if err := s.makeFolder(); err != nil {
		return nil, err
	}
	if f.SSHConfigText != nil {
		f.SSHConfig = filepath.Join(s.folder, "ssh-config")
		if err := os.WriteFile(f.SSHConfig, f.SSHConfigText, 0o600); err != nil {
			s.Close()
			return nil, err
		}
	}
	for _, h := range f.Hosts {
		s.hosts = append(s.hosts, &host{Host: h, ssh: ssh.Host{Name: h.Name, Target: h.SSH, Config: f.SSHConfig, Sudo: h.Sudo}})
	}
	return s, nil
}

// Hosts implements [lab.Site].
func (s *site) Hosts() []lab.Spec {
	var specs []lab.Spec
	for _, h := range s.hosts {
		spec := lab.Spec{Name: h.Name, Roles: []string{h.Role}, CPUs: h.CPUs}
		if h.Role == record.RoleServer {
			spec.Addresses = h.Addresses
		} else {
			spec.Sources = h.sources(s.options.Engine)
		}
		specs = append(specs, spec)
	}
	return specs
}

// Dial implements [lab.Site].
func (s *site) Dial(ctx context.Context, i int) (*lab.Host, error) {
	h := s.hosts[i]
	way, err := s.reach(ctx, h)
	if err != nil {
		return nil, err
	}
	reached, err := way.Meet(ctx, s.options, s.Hosts(), i)
	if err == nil {
		reached.Facts.Addresses = slices.Concat(h.Addresses, h.Packet) // also those that the engine does not use
	}
	return reached, err
}

// reach makes the way to a host.
func (s *site) reach(ctx context.Context, h *host) (shell.Host, error) {
	if len(h.Via) > 0 {
		return shell.Host{Name: h.Name, Via: h.Via, Sudo: h.Sudo}, nil
	}
	h.disconnect()
	connection, err := ssh.Connect(ctx, s.folder, h.ssh)
	if err != nil {
		return shell.Host{}, err
	}
	h.connection = connection
	return connection.Shell(), nil
}

func (h *host) disconnect() {
	if h.connection != nil {
		h.connection.Close()
		h.connection = nil
	}
}

// Close implements [lab.Site].
func (s *site) Close() {
	for _, h := range s.hosts {
		h.disconnect()
	}
	os.RemoveAll(s.folder)
	s.claim.Close()
}

// sources are what the engine's connections come from.
func (h Host) sources(engine string) []string {
	if engine == control.EnginePacket {
		return h.Packet
	}
	return h.Addresses
}

// folderName is how the folders of labs begin.
const folderName = "connbench-ssh-"

func (s *site) makeFolder() (err error) {
	sweep()
	if s.folder, err = os.MkdirTemp("", folderName); err != nil {
		return err
	}
	if s.claim, err = claim(s.folder); err == nil && s.claim == nil {
		err = errors.New(s.folder + ": another process has claimed it")
	}
	if err != nil {
		os.RemoveAll(s.folder)
	}
	return err
}

// claim locks a folder for as long as this process has it open; nil if another has.
func claim(folder string) (*os.File, error) {
	file, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	file.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, err
}

// sweep removes the folders of labs whose process was killed.
func sweep() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderName+"*")) // the pattern is sound
	for _, folder := range folders {
		// One that was made this moment may not be claimed yet.
		if info, err := os.Stat(folder); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		if claimed, err := claim(folder); err == nil && claimed != nil {
			os.RemoveAll(folder)
			claimed.Close()
		}
	}
}
