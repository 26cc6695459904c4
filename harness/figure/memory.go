package figure

import (
	"connbench/harness/environment"
	"connbench/harness/record"
)

// asItRuns is what memory depends on that has the server's garbage in it: a share of
// what the server keeps, but not in proportion, since the collector has a least heap.
var asItRuns = []environment.Fact{environment.Plan("connections")}

// Figures of memory per connection that others refer to: the server's as it runs and
// without its garbage, and the kernel's.
var RSS, SettledRSS, Kernel Figure

func init() {
	RSS = Add(PlaceMemory, slope(Figure{
		Name: "per_connection.rss_bytes", Title: "RSS", Unit: UnitBytes,
		Means: "Resident memory of the server per connection: slope over the steps of the ramp, so the memory of an empty server does not count.",
		Slope: &Slope{
			Key: "rss_bytes", Of: func(s record.Step) *int64 { return s.RSSBytes },
			In:    func(p *record.PerConnection) **float64 { return &p.RSSBytes },
			Chart: &Points{Name: "rss", Title: "Resident memory of the server"},
		},
		Depends: asItRuns, Tolerance: 0.15, OverFloor: true,
		Tables:  []Table{TableCost, TableTrials, TableRepeatability, TableComparison, TableProgress},
		Says:    &Sentence{"Each connection cost the server ", " bytes of resident memory"},
		Settled: "per_connection.rss_settled_bytes", Remainder: "other of the server",
	}))
	SettledRSS = Add(PlaceMemory, slope(Figure{
		Name: "per_connection.rss_settled_bytes", Title: "settled RSS", Unit: UnitBytes,
		Means: "The same slope over a second ramp, in which the server collects its garbage and gives free memory back before each point.",
		Slope: &Slope{
			Key: "rss_settled_bytes", Settled: true, Of: func(s record.Step) *int64 { return s.RSSBytes },
			In: func(p *record.PerConnection) **float64 { return &p.RSSSettledBytes },
		},
		Tolerance: 0.1,
		Tables:    []Table{TableCost, TableRepeatability, TableComparison}, Optional: true,
		Says: &Sentence{"Garbage aside, each connection keeps ", " bytes of the server's resident memory"},
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.pss_bytes", Title: "PSS", Unit: UnitBytes,
		Means: "Proportional set size of the server per connection: as RSS, but pages shared by processes are divided among them.",
		Slope: &Slope{
			Key: "pss_bytes", Of: func(s record.Step) *int64 { return s.PSSBytes },
			In: func(p *record.PerConnection) **float64 { return &p.PSSBytes },
		},
		Depends: asItRuns,
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.pss_settled_bytes", Title: "settled PSS", Unit: UnitBytes,
		Means: "PSS per connection over the second, settled ramp.",
		Slope: &Slope{
			Key: "pss_settled_bytes", Settled: true, Of: func(s record.Step) *int64 { return s.PSSBytes },
			In: func(p *record.PerConnection) **float64 { return &p.PSSSettledBytes },
		},
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.heap_in_use_bytes", Title: "heap in use", Unit: UnitBytes,
		Means: "Heap memory of the server that holds objects or garbage, per connection, as it reports.",
		Slope: &Slope{
			Key: "heap_in_use_bytes", Of: func(s record.Step) *int64 { return s.HeapInUseBytes },
			In:       func(p *record.PerConnection) **float64 { return &p.HeapInUseBytes },
			Reported: true,
		},
		Depends: asItRuns, PartOf: "per_connection.rss_bytes", Remainder: "heap, not live",
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.live_heap_bytes", Title: "live heap", Unit: UnitBytes,
		Means: "Heap memory of the server that its last garbage collection found alive, per connection, as it reports.",
		Slope: &Slope{
			Key: "live_heap_bytes", Settled: true, Of: func(s record.Step) *int64 { return s.LiveHeapBytes },
			In:       func(p *record.PerConnection) **float64 { return &p.LiveHeapBytes },
			Reported: true,
		},
		Tolerance: 0.02, Tables: []Table{TableCost, TableComparison}, Optional: true,
		PartOf: "per_connection.heap_in_use_bytes",
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.stack_bytes", Title: "stack", Unit: UnitBytes,
		Means: "Memory of the server's goroutine stacks per connection, as it reports.",
		Slope: &Slope{
			Key: "stack_bytes", Of: func(s record.Step) *int64 { return s.StackBytes },
			In:       func(p *record.PerConnection) **float64 { return &p.StackBytes },
			Reported: true,
		},
		Tolerance: 0.1, Tables: []Table{TableCost, TableComparison},
		PartOf: "per_connection.rss_bytes",
	}))
	Kernel = Add(PlaceMemory, slope(Figure{
		Name: "per_connection.kernel_bytes", Title: "kernel", Unit: UnitBytes,
		Means: "Kernel memory of the host per connection: slab, TCP buffers and page tables. Where server and clients share a kernel it holds both ends, unless the clients speak TCP themselves (engine packet).",
		Slope: &Slope{
			Key: "kernel_bytes", Of: record.Step.BelievedKernelBytes,
			In:    func(p *record.PerConnection) **float64 { return &p.KernelBytes },
			Chart: &Points{Name: "kernel", Title: "Kernel memory above the empty server's", Above: true},
		},
		Depends: KernelMemory, Tolerance: 0.05,
		Tables:    []Table{TableCost, TableKernel, TableTrials, TableRepeatability, TableComparison},
		Says:      &Sentence{"In the kernel it takes ", " bytes"},
		Remainder: "other of the kernel",
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.group_kernel_bytes", Title: "kernel, servers' group", Unit: UnitBytes,
		Means: "Kernel memory per connection that is charged to the control group of the servers: their side alone, as far as the kernel charges it. Version 1 of control groups leaves out the socket itself, some 2,600 bytes.",
		Slope: &Slope{
			Key: "group_kernel_bytes", Of: func(s record.Step) *int64 { return s.GroupKernelBytes },
			In:   func(p *record.PerConnection) **float64 { return &p.GroupKernelBytes },
			Rare: true,
		},
		Tables: []Table{TableKernel}, Optional: true,
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.goroutines", Title: "goroutines", Unit: UnitEach,
		Means: "Goroutines of the server per connection.",
		Slope: &Slope{
			Key: "goroutines", Of: func(s record.Step) *int64 { return s.Goroutines },
			In:       func(p *record.PerConnection) **float64 { return &p.Goroutines },
			Reported: true,
		},
	}))
	Add(PlaceMemory, slope(Figure{
		Name: "per_connection.threads", Title: "threads", Unit: UnitEach,
		Means: "Threads of the server per connection.",
		Slope: &Slope{
			Key: "threads", Of: func(s record.Step) *int64 { return s.Threads },
			In: func(p *record.PerConnection) **float64 { return &p.Threads },
		},
	}))
}
