package reading

// Process is one reading of one process, the sum over its threads.
type Process struct {
	PID int `json:"pid"`
	// RSSBytes is resident memory. A detailed reading takes it from the memory map
	// and is exact. A light one takes it from counters that the kernel adds up
	// late: it may be off by some dozen pages a CPU (proc_pid_statm(5)).
	RSSBytes *int64 `json:"rss_bytes"`
	// CPUSeconds is user and system time of all threads, ended ones included, to
	// the nanosecond of the scheduler's clock.
	CPUSeconds *float64 `json:"cpu_seconds"`

	// Only detailed readings have the fields below.

	// Descriptors is the number of open file descriptors.
	Descriptors *int64 `json:"descriptors,omitempty"`
	// MostDescriptors is how many it may open: its soft RLIMIT_NOFILE.
	MostDescriptors *int64 `json:"most_descriptors,omitempty"`
	// PSSBytes is resident memory; shared pages are divided by their users.
	PSSBytes *int64 `json:"pss_bytes,omitempty"`
	// UserSeconds and SystemSeconds are the kernel's split of CPUSeconds, in ticks
	// of 10 ms.
	UserSeconds   *float64 `json:"user_seconds,omitempty"`
	SystemSeconds *float64 `json:"system_seconds,omitempty"`
	Threads       *int64   `json:"threads,omitempty"`
	// VoluntarySwitches and InvoluntarySwitches count context switches,
	// RunDelaySeconds is the time in which threads were runnable and did not run
	// (the second field of schedstat, scheduler/sched-stats.rst). All three are
	// cumulative. A thread that has ended counts with what the reading before its
	// end saw. The cost of a reading grows with the number of threads.
	VoluntarySwitches   *int64   `json:"voluntary_switches,omitempty"`
	InvoluntarySwitches *int64   `json:"involuntary_switches,omitempty"`
	RunDelaySeconds     *float64 `json:"run_delay_seconds,omitempty"`
	// UserInstructions counts the instructions that the process executed outside the
	// kernel since its first detailed reading, ended threads included.
	// NoInstructions says why it is nil: most virtual machines have no counters.
	UserInstructions *int64 `json:"user_instructions,omitempty"`
	NoInstructions   string `json:"no_instructions,omitempty"`

	Warnings []string `json:"warnings,omitempty"`
}
