package limits

import (
	"math"
	"strconv"
	"strings"
)

// Unlimited is a limit that bounds nothing.
const Unlimited = math.MaxInt64

// Facts are what is known of one host, before anything is started there. What could
// not be read is nil.
type Facts struct {
	Name string
	// Sysctls are the kernel's settings, by name.
	Sysctls map[string]string

	// OpenFiles is the hard RLIMIT_NOFILE that processes get, SoftOpenFiles the soft
	// one; Processes is their RLIMIT_NPROC.
	OpenFiles, SoftOpenFiles, Processes *int64
	// Admin is true where processes have CAP_SYS_ADMIN.
	Admin bool
	// Tracks says whether a firewall rule has connections tracked.
	Tracks *bool

	// AvailableBytes is MemAvailable. The others are what is in use: descriptors,
	// threads and tracked connections.
	AvailableBytes                        *int64
	UsedFiles, UsedTasks, UsedConnections *int64

	// MemoryGroup and TaskGroup are the control groups that leave least. Their Limit is
	// Unlimited where no group has a limit.
	MemoryGroup, TaskGroup *Group
}

// Group is a control group: its folder, what it allows, what of that is in use, and
// what must stay free.
type Group struct {
	Folder               string
	Limit, Used, Reserve int64
}

// withOpenFiles are facts in which processes may have so many descriptors; 0: as
// many as on the host.
func (f Facts) withOpenFiles(n int) Facts {
	if most := int64(n); n > 0 && (f.OpenFiles == nil || most < *f.OpenFiles) {
		f.OpenFiles, f.SoftOpenFiles = &most, &most
	}
	return f
}

// sysctl is a setting of one number.
func (f Facts) sysctl(name string) *int64 { return f.sysctlField(name, 0) }

// sysctlField is one of a setting's numbers, counted from 0.
func (f Facts) sysctlField(name string, i int) *int64 {
	fields := strings.Fields(f.Sysctls[name])
	if i >= len(fields) {
		return nil
	}
	value, err := strconv.ParseInt(fields[i], 10, 64)
	if err != nil {
		return nil
	}
	return &value
}
