package conform

import (
	"fmt"
	"maps"
	"slices"

	"connbench/servers/conform/exam"
	"connbench/servers/contract"
)

// strict says whether the waivers of a program must all be needed: they are written for
// WebSocket over TCP. Over TLS, compressed, or in another protocol, bytes go another way through a library.
func strict(p Program) bool {
	return !p.Secure && p.Options.Compression == "" && (p.Options.Protocol == "" || p.Options.Protocol == contract.ProtocolWebSocket)
}

// waive applies a variant's waivers, which are reasons by the name of a check, to results:
// a failed check that is waived is as good as passed, and Waived says why. A check that
// passes although it is waived fails, and so does a waiver of no check at all: the tables
// would say of the variant what is not true. If not strict, it may pass.
func waive(results []Result, waivers map[string]string, strict bool) []Result {
	results = slices.Clone(results)
	for _, name := range slices.Sorted(maps.Keys(waivers)) {
		i := slices.IndexFunc(results, func(r Result) bool { return r.Check == name })
		switch {
		case i < 0 && isCheck(name): // of another protocol
		case i < 0:
			results = append(results, Result{Check: name, Title: "is waived in variant.toml", Detail: fmt.Sprintf("waives.%s: there is no such check: remove the line", name)})
		case results[i].Passed && (!strict || results[i].Detail != ""): // or it was not carried out
		case results[i].Passed:
			results[i].Passed = false
			results[i].Detail = fmt.Sprintf("waives.%s: the check passes after all: remove the line", name)
		default:
			results[i].Passed, results[i].Waived = true, waivers[name]
		}
	}
	return results
}

// isCheck says whether there is such a check of servers of any protocol or compression.
func isCheck(name string) bool {
	var all []exam.Case
	for _, spoken := range contract.Protocols {
		all = append(all, checksOf(contract.Options{Protocol: spoken}, true)...)
	}
	for _, way := range contract.Compressions {
		all = append(all, checksOf(contract.Options{Compression: way}, true)...)
	}
	return slices.ContainsFunc(all, func(check exam.Case) bool { return check.Name == name })
}
