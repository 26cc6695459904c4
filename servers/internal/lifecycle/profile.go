//go:build connbench_profile

package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

func init() {
	var cpu *os.File // while a profile is taken
	profile = func(folder string) (err error) {
		create := func(kind string) (*os.File, error) {
			return os.Create(filepath.Join(folder, fmt.Sprintf("%s-%d.pprof", kind, os.Getpid())))
		}
		if cpu == nil {
			if cpu, err = create("cpu"); err != nil {
				return err
			}
			return pprof.StartCPUProfile(cpu)
		}
		pprof.StopCPUProfile()
		err = cpu.Close()
		cpu = nil
		heap, failed := create("heap")
		if failed != nil {
			return errors.Join(err, failed)
		}
		runtime.GC() // the heap as it is now
		return errors.Join(err, pprof.Lookup("heap").WriteTo(heap, 0), heap.Close())
	}
}
