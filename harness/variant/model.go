package variant

import (
	"slices"
	"strings"
)

// Models are the I/O models, in the order in which tables show them. A variant's Model
// begins with one of them; what follows after a colon is how the variant does it.
var Models = []string{
	"goroutine per connection", // blocking reads, the runtime's poller below
	"thread per connection",    // blocking reads, the kernel's scheduler below
	"reactor",                  // readiness (epoll), handlers inline or in a pool
	"completion",               // the kernel reads into buffers by itself (io_uring)
	"process per core",         // several single-threaded processes on one port
	"event loop of a runtime",  // JavaScript, Python: one thread for all
	"actors",                   // a lightweight process per connection, messages between them
	"user-space TCP",           // no kernel sockets: the server reads and writes packets
}

// ModelOf returns the I/O model at the beginning of a variant's Model. It returns "" if that
// is not one of [Models], as in runs that are older than the list.
func ModelOf(text string) string {
	model, _, _ := strings.Cut(text, ":")
	if !slices.Contains(Models, model) {
		return ""
	}
	return model
}

// byModel are variants in the order of [Models], those of none at the end, and those of one
// in their own order.
func byModel(all []Variant) []Variant {
	place := func(v Variant) int {
		if at := slices.Index(Models, ModelOf(v.Model)); at >= 0 {
			return at
		}
		return len(Models)
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Variant) int { return place(a) - place(b) })
	return sorted
}
