package figure

// Unit is what a figure is counted in. How its values are written is said here as
// data; package table does the writing.
type Unit struct {
	// Name is the unit in files, "B/conn".
	Name string
	// Shown is the unit that people read, "" for Name, and Scale the factor from one to
	// the other, 0 for 1: a share is read in %.
	Shown string
	Scale float64
	// Whole values are written with all their digits and without a fraction. Finest is
	// the smallest difference that means anything, 0 where three digits say enough.
	Whole  bool
	Finest float64
	// Suffix is how names of such figures end, "_us". In benchmark text that becomes
	// Bench, "-ns", and values are multiplied by BenchScale, 0 for 1.
	Suffix, Bench string
	BenchScale    float64
	// Alone is added to a title outside its table.
	Alone string
}

// The units.
var (
	UnitConnections  = Unit{Name: "conn", Whole: true}
	UnitBytes        = Unit{Name: "B/conn", Finest: 0.1, Suffix: "_bytes", Bench: "-B/conn", Alone: " per connection"}
	UnitMessageBytes = Unit{Name: "B/msg", Finest: 0.1, Suffix: "_message_bytes", Bench: "-B/msg"}
	UnitEach         = Unit{Name: "per conn"}
	UnitShare        = Unit{Name: "share", Shown: "%", Scale: 100}
	UnitCores        = Unit{Name: "cores", Shown: "% of a core", Scale: 100}
	UnitMicroseconds = Unit{Name: "µs", Suffix: "_us", Bench: "-ns", BenchScale: 1e3}
	// UnitEffort is the CPU time that one connection takes in each second.
	UnitEffort       = Unit{Name: "µs/s", Suffix: "_us", Bench: "-ns/s", BenchScale: 1e3}
	UnitInstructions = Unit{Name: "instructions", Suffix: "_instructions", Bench: "-instructions"}
	UnitSeconds      = Unit{Name: "s", Suffix: "_seconds", Bench: "-ns", BenchScale: 1e9}
	UnitCount        = Unit{} // things that are left or lost
)

// PerSecond is the unit of a rate, "msg/s" for "msg".
func PerSecond(event string) Unit {
	return Unit{Name: event + "/s", Suffix: "_per_second", Bench: "/s"}
}
