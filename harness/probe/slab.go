package probe

import (
	"errors"
	"io/fs"
	"os"

	"connbench/harness/reading"
)

func (r *Reader) slab(system *reading.System, missing *warnings) {
	info, err := r.proc.SlabInfo()
	if errors.Is(err, fs.ErrPermission) {
		missing.add("kernel memory by cache", errors.New("/proc/slabinfo is for root; only the sum of all caches is known"))
		return
	}
	if err != nil {
		missing.add("kernel memory by cache", err)
		return
	}
	system.Slab = make(map[string]reading.Cache, len(info.Slabs))
	for _, cache := range info.Slabs {
		slabBytes := cache.PagesPerSlab * int64(os.Getpagesize())
		system.Slab[cache.Name] = reading.Cache{
			Bytes:       cache.SlabNum * slabBytes,
			Active:      cache.ObjActive,
			ObjectBytes: cache.ObjSize,
			ShareBytes:  float64(slabBytes) / float64(max(1, cache.ObjPerSlab)),
		}
	}
	negative, err := r.negativeDentries()
	system.NegativeDentries = figure(missing, "negative directory entries", negative, err)
}

// negativeDentries is the number of directory entries that remember that a file
// does not exist: the fifth field of fs.dentry-state, 0 before Linux 5.0
// (admin-guide/sysctl/fs.rst).
func (r *Reader) negativeDentries() (int64, error) {
	fields, err := r.proc.SysctlInts("fs.dentry-state")
	if err != nil {
		return 0, err
	}
	const negative = 4
	if len(fields) <= negative {
		return 0, errors.New("/proc/sys/fs/dentry-state has fewer fields than proc_sys_fs(5) says")
	}
	return int64(fields[negative]), nil
}
