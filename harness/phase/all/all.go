// Package all registers all phases, by importing their packages.
package all

import (
	_ "connbench/harness/phase/comebacks"   // how dropped ones come back
	_ "connbench/harness/phase/connections" // what becomes of connections
	_ "connbench/harness/phase/loads"       // what they carry
	_ "connbench/harness/phase/searches"    // how much they can carry
)
