package coordinator

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// usableCPUs are those given, or all that this process may use.
func usableCPUs(given []int) ([]int, error) {
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var all []int
	for cpu := range len(allowed) * strconv.IntSize {
		if allowed.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	for _, cpu := range given {
		if !slices.Contains(all, cpu) {
			return nil, fmt.Errorf("cpus: %d is not among those that this process may use: %v", cpu, all)
		}
	}
	if len(given) > 0 {
		return given, nil
	}
	return all, nil
}

// bindAll binds all threads of this process, and with them those still to come.
func bindAll(cpus []int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := bind(id, cpus); err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended
			return err
		}
	}
	return nil
}

// bind binds a thread, 0 for the calling one, to CPUs.
func bind(thread int, cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	if err := unix.SchedSetaffinity(thread, &set); err != nil {
		return fmt.Errorf("sched_setaffinity to %v: %w", cpus, err)
	}
	return nil
}
